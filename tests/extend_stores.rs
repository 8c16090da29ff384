//! Stores that are actors: their files, and the transfers when a store is slow, wrong, has stopped
//! or panics.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use common::client::{self, Failed};
use common::extended::Extended;
use common::raw::{ack, data, error, rrq, wrq};
use stagecoach::error::{Failure, Fault};
use stagecoach::extend::{
    ActorStore, AppendSlab, CloseFile, CreateFile, CreatedFile, FetchSlab, FileId, OpenFile, OpenedFile,
    PublishFile,
};
use stagecoach::store::Slab;
use stagecoach::supervision::ChildSpec;

const OCTETS: usize = 200_000;

fn content() -> Vec<u8> {
    (0..OCTETS).map(|at| (at % 251) as u8).collect()
}

/// The part of the store that outlives a restart of the actor.
#[derive(Debug, Default)]
struct StoreRecord {
    uploads: HashMap<String, Vec<u8>>,
    open: HashMap<FileId, String>,
    /// Files that were open too late: the client had been given up.
    unwanted: u32,
}

/// Has the same content under every name. Some names cause a failure.
struct StoreActor {
    record: Arc<Mutex<StoreRecord>>,
    drafts: HashMap<FileId, (String, Vec<u8>)>,
}

impl StoreActor {
    fn enter(&mut self, file: FileId, name: &str) {
        assert_eq!(self.record.lock().unwrap().open.insert(file, name.to_owned()), None);
    }

    fn name(&self, file: FileId) -> String {
        self.record.lock().unwrap().open.get(&file).cloned().unwrap_or_default()
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;
}

impl Supervised for StoreActor {}

impl Handler<OpenFile> for StoreActor {
    type Result = ResponseActFuture<Self, Result<OpenedFile, Fault>>;

    fn handle(&mut self, OpenFile { file, name, .. }: OpenFile, _: &mut Self::Context) -> Self::Result {
        let name = name.to_string();
        if name == "missing" {
            return Box::pin(fut::ready(Err(Failure::NotFound.into())));
        }
        self.enter(file, &name);
        assert!(name != "panics-at-open", "the secret of the store");
        let time = Duration::from_millis(if name == "opens-late" { 2000 } else { 0 });
        Box::pin(tokio::time::sleep(time).into_actor(self).map(move |(), store, _| {
            if !store.record.lock().unwrap().open.contains_key(&file) {
                store.record.lock().unwrap().unwanted += 1;
            }
            let size = (name != "unsized").then_some(OCTETS as u64);
            Ok(OpenedFile::new(size, format!("shelf:{name}")))
        }))
    }
}

impl Handler<FetchSlab> for StoreActor {
    type Result = ResponseFuture<Result<Slab, Fault>>;

    fn handle(
        &mut self,
        FetchSlab { file, offset, length, .. }: FetchSlab,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (name, all, start) = (self.name(file), content(), offset as usize);
        let until = (start + length).min(all.len());
        let mut slab = Slab::new(Bytes::copy_from_slice(&all[start..until]), until == all.len());
        match &*name {
            "more-than-asked" => slab.bytes = vec![0; length + 1].into(),
            "more-than-said" => slab = Slab::new(vec![0; length], false),
            "fewer-than-said" if slab.end => slab.bytes.truncate(10),
            "nothing" => slab = Slab::new(Bytes::new(), false),
            "fails" if offset > 0 => return Box::pin(std::future::ready(Err(Failure::Io.into()))),
            "panics" if offset > 0 => panic!("the secret of the store"),
            "slow" if offset > 0 => return Box::pin(std::future::pending()),
            _ => {}
        }
        Box::pin(std::future::ready(Ok(slab)))
    }
}

impl Handler<CloseFile> for StoreActor {
    type Result = ();

    fn handle(&mut self, CloseFile { file, .. }: CloseFile, _: &mut Self::Context) {
        self.drafts.remove(&file);
        self.record.lock().unwrap().open.remove(&file).expect("it was asked for");
    }
}

impl Handler<CreateFile> for StoreActor {
    type Result = Result<CreatedFile, Fault>;

    fn handle(&mut self, CreateFile { file, name, .. }: CreateFile, _: &mut Self::Context) -> Self::Result {
        let name = name.to_string();
        if name == "taken" {
            return Err(Failure::Exists.into());
        }
        self.enter(file, &name);
        let path = format!("shelf:{name}");
        self.drafts.insert(file, (name, Vec::new()));
        Ok(CreatedFile::new(path))
    }
}

impl Handler<AppendSlab> for StoreActor {
    type Result = Result<(), Fault>;

    fn handle(&mut self, AppendSlab { file, octets, .. }: AppendSlab, _: &mut Self::Context) -> Self::Result {
        let (name, draft) = self.drafts.get_mut(&file).ok_or(Failure::Internal)?;
        assert!(name != "panics", "the secret of the store");
        draft.extend_from_slice(&octets);
        if name == "full" { Err(Failure::DiskFull.into()) } else { Ok(()) }
    }
}

impl Handler<PublishFile> for StoreActor {
    type Result = Result<(), Fault>;

    fn handle(&mut self, PublishFile(file): PublishFile, _: &mut Self::Context) -> Self::Result {
        let (name, draft) = self.drafts.remove(&file).ok_or(Failure::Internal)?;
        let mut record = self.record.lock().unwrap();
        record.open.remove(&file);
        record.uploads.insert(name, draft);
        Ok(())
    }
}

/// A server whose files all come from a store actor, which is restarted after a panic.
fn extended(within_ms: u64) -> (Extended, Arc<Mutex<StoreRecord>>) {
    let record = Arc::<Mutex<StoreRecord>>::default();
    let shared = Arc::clone(&record);
    let served = Extended::start(move |mut builder| {
        let make = |_: &mut _| StoreActor { record: shared, drafts: HashMap::new() };
        let store = builder.start_child(ChildSpec::permanent("shelf", make));
        builder.store(ActorStore::new(&store).within(Duration::from_millis(within_ms)))
    });
    (served, record)
}

fn get(served: &Extended, name: &str) -> Result<Vec<u8>, String> {
    let mut got = Vec::new();
    let ask = client::Ask::window(1428, 8);
    match client::get(served.address, name, ask, |_, octets| got.extend_from_slice(octets)) {
        Ok(_) => Ok(got),
        Err(Failed::Refused { code, text }) => Err(format!("{code} {text}")),
        Err(other) => panic!("{name}: {other:?}"),
    }
}

/// Checks that every file that the actor opened was closed.
fn all_closed(served: &Extended, record: &Mutex<StoreRecord>) {
    served.settle();
    let until = Instant::now() + Duration::from_secs(10);
    while !record.lock().unwrap().open.is_empty() {
        assert!(Instant::now() < until, "{:?}", record.lock().unwrap().open);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_store_actor_reads_and_closes_files() {
    let (served, record) = extended(30_000);
    for name in ["any", "unsized", "any"] {
        assert_eq!(get(&served, name), Ok(content()), "{name}");
    }
    assert_eq!(get(&served, "missing"), Err("1 File not found".to_owned()));
    all_closed(&served, &record);
    assert_eq!(served.settle().misbehaved, [""; 0]);
}

#[test]
fn a_store_actor_drops_unfinished_uploads() {
    let (served, record) = extended(30_000);
    let mut client = served.client();
    client.send(&wrq("config", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, &[7; 512]));
    client.expect_ack(1);
    client.send(&data(2, b"end"));
    client.expect_ack(2);
    let saved = record.lock().unwrap().uploads.get("config").cloned();
    assert_eq!(saved, Some([&[7; 512][..], b"end"].concat()));

    let mut client = served.client();
    client.send(&wrq("given-up", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, &[7; 512]));
    client.expect_ack(1);
    client.send(&error(0, "never mind"));
    for (name, code) in [("taken", 6), ("full", 3), ("panics", 0)] {
        let mut client = served.client();
        client.send(&wrq(name, "octet", &[]));
        if name != "taken" {
            client.expect_ack(0);
            client.send(&data(1, b"end"));
        }
        client.expect_error(code);
    }
    all_closed(&served, &record);
    assert_eq!(record.lock().unwrap().uploads.len(), 1);
    assert_eq!(get(&served, "any"), Ok(content()));
}

#[test]
fn a_store_with_a_wrong_size_ends_in_an_error() {
    let (served, record) = extended(30_000);
    for (name, ends) in [
        ("more-than-asked", "0 Internal error"),
        ("nothing", "0 Internal error"),
        ("more-than-said", "0 File changed during the transfer"),
        ("fewer-than-said", "0 File changed during the transfer"),
        ("fails", "0 Input/output error"),
        ("panics", "0 Internal error"),
    ] {
        assert_eq!(get(&served, name), Err(ends.to_owned()), "{name}");
        assert_eq!(get(&served, "any"), Ok(content()), "after {name}");
    }
    // The others have had their OACK.
    served.leaves_unanswered("panics-at-open");
    all_closed(&served, &record);
    let facts = served.settle();
    assert_eq!(
        facts.misbehaved,
        [
            "store: it gave more octets than it was asked for",
            "store: it gave no octets before the end",
            "store: it gave more octets than it had said",
            "store: it gave fewer octets than it had said",
        ]
    );
    assert_eq!(facts.crashed, ["shelf of 0: the secret of the store"; 2]);
}

#[test]
fn a_slow_store_actor_delays_no_other_file() {
    let (served, _) = extended(30_000);
    let mut waiting: Vec<_> = (0..100).map(|_| served.client()).collect();
    for client in &mut waiting {
        client.send(&rrq("slow", "octet", &[("blksize", "1428")]));
        client.expect_oack();
        client.send(&ack(0));
        client.expect_data(1);
    }
    assert_eq!(get(&served, "any"), Ok(content()));
    for client in &waiting {
        client.send(&error(0, "never mind"));
    }
    served.settle();
}

#[test]
fn a_file_opened_too_late_is_closed_again() {
    let (served, record) = extended(100);
    for _ in 0..3 {
        served.leaves_unanswered("opens-late");
    }
    assert_eq!(get(&served, "any"), Ok(content()));
    all_closed(&served, &record);
    let until = Instant::now() + Duration::from_secs(10);
    while record.lock().unwrap().unwanted < 3 {
        assert!(Instant::now() < until, "{} of 3 opened too late", record.lock().unwrap().unwanted);
        std::thread::sleep(Duration::from_millis(5));
    }
    let detail = served.settle().finished[0].detail.clone().unwrap_or_default();
    assert!(detail.starts_with("the store's actor did not answer"), "{detail}");
}

#[test]
fn a_silent_store_actor_is_given_up() {
    let (served, record) = extended(100);
    // The first slab arrives, the others never.
    assert_eq!(get(&served, "slow"), Err("0 Internal error".to_owned()));
    assert_eq!(get(&served, "any"), Ok(content()));
    all_closed(&served, &record);
}

#[test]
fn a_full_store_mailbox_loses_no_close() {
    /// Opens files slowly, and has room for one more message.
    struct SlowStore(Arc<Mutex<StoreRecord>>);

    impl Actor for SlowStore {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.set_mailbox_capacity(1);
        }
    }

    impl Handler<OpenFile> for SlowStore {
        type Result = AtomicResponse<Self, Result<OpenedFile, Fault>>;

        fn handle(&mut self, OpenFile { file, name, .. }: OpenFile, _: &mut Self::Context) -> Self::Result {
            self.0.lock().unwrap().open.insert(file, name.to_string());
            let waiting = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
            let opened = OpenedFile::new(None, "narrow");
            AtomicResponse::new(Box::pin(waiting.map(move |(), _, _| Ok(opened))))
        }
    }

    impl Handler<FetchSlab> for SlowStore {
        type Result = Result<Slab, Fault>;

        fn handle(&mut self, _: FetchSlab, _: &mut Self::Context) -> Self::Result {
            Ok(Slab::new(&b"in turn"[..], true))
        }
    }

    impl Handler<CloseFile> for SlowStore {
        type Result = ();

        fn handle(&mut self, CloseFile { file, .. }: CloseFile, _: &mut Self::Context) {
            self.0.lock().unwrap().open.remove(&file).expect("it was asked for");
        }
    }

    let record = Arc::<Mutex<StoreRecord>>::default();
    let shared = Arc::clone(&record);
    let served =
        Extended::start(|builder| builder.store(ActorStore::for_reading(&SlowStore(shared).start())));
    let mut clients: Vec<_> = (0..20).map(|_| served.client()).collect();
    for client in &clients {
        client.send(&rrq("any", "octet", &[]));
    }
    for client in &mut clients {
        assert_eq!(client.expect_data(1), b"in turn");
        client.send(&ack(1));
    }
    all_closed(&served, &record);
}

#[test]
fn a_stopped_store_actor_leaves_reads_unanswered() {
    struct Gone;

    impl Actor for Gone {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    impl Handler<OpenFile> for Gone {
        type Result = Result<OpenedFile, Fault>;

        fn handle(&mut self, _: OpenFile, _: &mut Self::Context) -> Self::Result {
            Err(Failure::NotFound.into())
        }
    }

    impl Handler<FetchSlab> for Gone {
        type Result = Result<Slab, Fault>;

        fn handle(&mut self, _: FetchSlab, _: &mut Self::Context) -> Self::Result {
            Err(Failure::NotFound.into())
        }
    }

    impl Handler<CloseFile> for Gone {
        type Result = ();

        fn handle(&mut self, _: CloseFile, _: &mut Self::Context) {}
    }

    let served = Extended::start(|builder| builder.store(ActorStore::for_reading(&Gone.start())));
    std::thread::sleep(Duration::from_millis(50));
    served.leaves_unanswered("any");
    let mut client = served.client();
    client.send(&wrq("any", "octet", &[]));
    assert_eq!(client.expect_error(2), "Server is read-only");
}
