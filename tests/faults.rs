//! A store or an observer that panics ends one transfer with an ERROR from the transfer's port, and
//! nothing else.

mod common;

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::engine::Engine;
use common::raw::{Client, Packet, ack, data, error, rrq, wrq};
use stagecoach::daemon::Capacity;
use stagecoach::error::{Failure, Fault};
use stagecoach::observe::{Fact, Observer};
use stagecoach::settings::Timeouts;
use stagecoach::store::{Name, Sink, Slab, Source, Store};

/// Octets of every served file: a few blocks.
const FILE_OCTETS: usize = 2000;

fn octet(offset: usize) -> u8 {
    (offset % 251) as u8
}

/// A store with calls that panic: the name of a file is the name of the call.
#[derive(Debug, Default)]
struct PanickingStore {
    published: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct PanickingFile {
    name: String,
    published: Arc<AtomicUsize>,
}

impl PanickingFile {
    fn step(&self, call: &str) {
        assert!(self.name != call, "the secret of {call}");
    }
}

impl PanickingStore {
    fn file(&self, name: &Name) -> PanickingFile {
        PanickingFile { name: name.to_string(), published: Arc::clone(&self.published) }
    }
}

impl Store for PanickingStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let file = self.file(name);
        file.step("open");
        Ok(Arc::new(file))
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        // `ManuallyDrop`, because `open_cached` has opened nothing that could be dropped.
        ManuallyDrop::new(self.file(name)).step("open_cached");
        None
    }

    fn create(&self, name: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let file = self.file(name);
        file.step("create");
        Ok(Box::new(file))
    }
}

impl Source for PanickingFile {
    fn size(&self) -> Option<u64> {
        Some(FILE_OCTETS as u64)
    }

    fn path(&self) -> &str {
        &self.name
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        let from = usize::try_from(offset).unwrap();
        if from > 0 {
            self.step("fetch");
        }
        let until = FILE_OCTETS.min(from + length);
        let bytes: Bytes = (from..until).map(octet).collect();
        Ok(Slab::new(bytes, until == FILE_OCTETS))
    }

    fn fetch_cached(&self, offset: u64, _: usize) -> Result<Option<Slab>, Fault> {
        if offset > 0 {
            self.step("fetch_cached");
        }
        Ok(None)
    }
}

impl Sink for PanickingFile {
    fn path(&self) -> &str {
        &self.name
    }

    fn write(&mut self, _: &[u8]) -> Result<(), Fault> {
        self.step("write");
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<(), Fault> {
        self.step("publish");
        self.published.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for PanickingFile {
    fn drop(&mut self) {
        self.step("drop");
    }
}

/// Timeouts of a server in which a second transfer waits until others have failed.
fn patient_timeouts() -> Timeouts {
    let mut patient_timeouts = Timeouts::default();
    patient_timeouts.ack = Duration::from_secs(30);
    (patient_timeouts.unproven, patient_timeouts.idle) = (Duration::from_secs(60), Duration::from_secs(60));
    patient_timeouts.dally = Duration::ZERO;
    patient_timeouts
}

/// Panics at the end of every transfer.
#[derive(Debug)]
struct PanickingObserver;

impl Observer for PanickingObserver {
    fn observe(&self, fact: &Fact<'_>) {
        assert!(!matches!(fact, Fact::Finished(_)), "the secret of observe");
    }
}

/// A log that panics when a session logs DATA 9.
#[derive(Debug)]
struct PanickingLog;

impl slog::Drain for PanickingLog {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        struct Values(String);
        impl slog::Serializer for Values {
            fn emit_arguments(&mut self, _: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                self.0 += &value.to_string();
                Ok(())
            }
        }
        let mut values = Values(String::new());
        slog::KV::serialize(&record.kv(), record, &mut values).unwrap();
        assert!(!values.0.contains("DATA 9 "), "the secret of the log");
        Ok(())
    }
}

/// A server with the store that panics.
struct Server {
    engine: Engine,
    published: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let store = PanickingStore::default();
        let published = Arc::clone(&store.published);
        let observers: Vec<Arc<dyn Observer>> = vec![Arc::new(PanickingObserver)];
        let capacity = Capacity::default();
        let engine =
            Engine::with_observers(Arc::new(store), PanickingLog, capacity, patient_timeouts(), observers);
        Self { engine, published }
    }

    fn client(&self) -> Client {
        self.engine.client()
    }

    /// The actors that panicked, without the observer, which always panics.
    fn crashed(&self) -> Vec<String> {
        let crashed = self.engine.facts().crashed;
        crashed.into_iter().filter(|crash| !crash.starts_with("observer")).collect()
    }

    /// Checks that every transfer has ended and left nothing, and that all permanent actors live.
    fn assert_sound(&self) {
        self.engine.settle();
        let mut client = self.client();
        client.send(&rrq("good", "octet", &[]));
        finish_reading(&mut client, Vec::new());
    }
}

/// The payload of block `due`. Skips repeats of earlier blocks, which a slow machine may cause.
fn due(client: &mut Client, due: u16) -> Vec<u8> {
    loop {
        match client.next() {
            Packet::Data { block, .. } if block < due => {}
            Packet::Data { block, payload } if block == due => return payload,
            other => panic!("DATA {due} expected, {} came", other.brief()),
        }
    }
}

/// Reads the rest of the file, from the end of `content` on.
fn finish_reading(client: &mut Client, mut content: Vec<u8>) {
    loop {
        let block = u16::try_from(content.len() / 512 + 1).unwrap();
        let payload = due(client, block);
        client.send(&ack(block));
        content.extend_from_slice(&payload);
        if payload.len() < 512 {
            break;
        }
    }
    assert!(content.iter().copied().eq((0..FILE_OCTETS).map(octet)), "{} octets", content.len());
}

/// Expects ERROR 0 from the transfer's port, without the text of the panic.
fn expect_internal_error(client: &mut Client, server: &Server) {
    assert_eq!(client.expect_error(0), Failure::Internal.to_string());
    assert_ne!(client.tid(), server.engine.address, "a TID is not the well-known port");
    client.expect_silence(Duration::from_millis(100));
}

#[test]
fn a_store_panic_during_a_read_ends_one_transfer() {
    let server = Server::start();
    let mut neighbour = server.client();
    neighbour.send(&rrq("good", "octet", &[]));
    let first = neighbour.expect_data(1);
    for call in ["open_cached", "open", "fetch", "fetch_cached"] {
        let mut client = server.client();
        client.send(&rrq(call, "octet", &[]));
        if call.starts_with("open") {
            // The server must not say that the file does not exist.
            client.expect_silence(Duration::from_millis(100));
            continue;
        }
        assert_eq!(client.expect_data(1), first);
        client.send(&ack(1));
        expect_internal_error(&mut client, &server);
    }
    neighbour.send(&ack(1));
    finish_reading(&mut neighbour, first);
    server.assert_sound();
    // A panic in the pool, which waits for the disk, ends the call only. A panic on the reader's
    // thread ends the reader, which is replaced three times.
    let readers = ["reader of 5: the secret of fetch_cached"; 4];
    let stores = [
        "store of 2: the secret of open_cached",
        "store of 3: the secret of open",
        "store of 4: the secret of fetch",
    ];
    assert_eq!(server.crashed(), [&stores[..], &readers].concat());
}

#[test]
fn a_store_panic_during_an_upload_ends_one_transfer() {
    let server = Server::start();
    let mut neighbour = server.client();
    neighbour.send(&wrq("good", "octet", &[]));
    neighbour.expect_ack(0);
    for call in ["create", "write", "publish"] {
        let mut client = server.client();
        client.send(&wrq(call, "octet", &[]));
        if call != "create" {
            client.expect_ack(0);
            client.send(&data(1, b"short"));
        }
        expect_internal_error(&mut client, &server);
    }
    assert_eq!(server.published.load(Ordering::SeqCst), 0);
    neighbour.send(&data(1, b"short"));
    neighbour.expect_ack(1);
    assert_eq!(server.published.load(Ordering::SeqCst), 1);
    server.assert_sound();
    let crashed = ["create", "write", "publish"].into_iter().zip(2..);
    let crashed: Vec<_> = crashed.map(|(call, id)| format!("store of {id}: the secret of {call}")).collect();
    assert_eq!(server.crashed(), crashed, "each once");
}

#[test]
fn a_source_that_panics_on_drop_harms_no_transfer() {
    let server = Server::start();
    for request in [rrq("drop", "octet", &[]), wrq("drop", "octet", &[])] {
        let mut client = server.client();
        client.send(&request);
        client.next();
        client.send(&error(0, "no longer wanted"));
        client.expect_silence(Duration::from_millis(100));
    }
    server.assert_sound();
}

#[test]
fn a_crash_loop_is_told_from_the_transfers_port() {
    let server = Server::start();
    let mut neighbour = server.client();
    neighbour.send(&rrq("good", "octet", &[]));
    let first = neighbour.expect_data(1);
    let mut client = server.client();
    client.send(&wrq("half", "octet", &[]));
    client.expect_ack(0);
    for _ in 0..2 {
        client.send(&data(9, b"short"));
        client.expect_ack(0);
    }
    // The client has sent nothing that a session accepts. The server sends such a client no fourth
    // datagram (D8) but the ERROR.
    client.send(&data(9, b"short"));
    client.expect_silence(Duration::from_millis(50));
    client.send(&data(9, b"short"));
    expect_internal_error(&mut client, &server);
    neighbour.send(&ack(1));
    finish_reading(&mut neighbour, first);
    server.assert_sound();
    assert_eq!(server.crashed(), ["session of 2: the secret of the log"; 4]);
    let crashed = server.engine.facts().crashed;
    assert!(
        crashed.contains(&"observer of 0: the secret of observe".to_owned()),
        "the others hear of a bad observer"
    );
}
