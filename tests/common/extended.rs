//! A server with extensions of a test, on a thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::{Addr, System};
use stagecoach::Stagecoach;
use stagecoach::daemon::{Builder, Cancel, List, Registry, ServerHandle, Snapshot};
use stagecoach::internals::actors::PeerTable;
use stagecoach::observe::{Outcome, TransferId};
use stagecoach::store::{Memory, MemoryOptions, Name};

use super::engine::{FactRecorder, Facts, hide_expected_panics};
use super::raw::{Client, ack, rrq};

/// The content of the file `file` in the server's store.
pub(crate) const FILE: &[u8] = b"from the server's own store";

pub(crate) struct Extended {
    pub(crate) address: SocketAddr,
    pub(crate) store: Memory,
    recorder: Arc<FactRecorder>,
    peer_table: Arc<PeerTable>,
    registry: Addr<Registry>,
    pub(crate) handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Extended {
    /// A server that `extend` builds. `extend` runs inside of the `System`, where it may start
    /// actors.
    pub(crate) fn start(extend: impl FnOnce(Builder) -> Builder + Send + 'static) -> Self {
        hide_expected_panics();
        let store = Memory::new(MemoryOptions::default());
        store.insert(Name::from_request(b"file").unwrap(), FILE);
        let recorder = Arc::<FactRecorder>::default();
        let (served, observer_copy) = (store.clone(), Arc::clone(&recorder));
        let (started, parts) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                let builder = Stagecoach::builder()
                    .listen((Ipv4Addr::LOCALHOST, 0).into())
                    .store(served)
                    .observer(observer_copy);
                let mut server = extend(builder).start().unwrap();
                let (address, peer_table) = (server.addresses()[0], Arc::clone(server.peer_table()));
                started.send((address, peer_table, server.registry().clone(), server.handle())).unwrap();
                server.serve(|| Ok(())).await.unwrap();
            });
        });
        let (address, peer_table, registry, handle) = parts.recv().expect("a server that starts");
        Self { address, store, recorder, peer_table, registry, handle, thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// Waits until no transfer is live. Returns the facts.
    pub(crate) fn settle(&self) -> Facts {
        let until = Instant::now() + Duration::from_secs(10);
        while self.peer_table.live() > 0 {
            assert!(Instant::now() < until, "{} transfers are left", self.peer_table.live());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.recorder.facts()
    }

    /// The registry's list of transfers.
    pub(crate) fn registry(&self) -> Snapshot {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.registry.send(List)).unwrap()
    }

    /// Makes the registry end a transfer. `false` if the registry has no transfer of this number.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.registry.send(Cancel(TransferId(id)))).unwrap()
    }

    /// Reads a file of less than a block.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let mut client = self.client();
        client.send(&rrq(name, "octet", &[]));
        let octets = client.expect_data(1);
        client.send(&ack(1));
        octets
    }

    /// The text of the ERROR that refuses a read of this name.
    pub(crate) fn refusal(&self, name: &str, code: u16) -> String {
        let mut client = self.client();
        client.send(&rrq(name, "octet", &[]));
        client.expect_error(code)
    }

    /// The outcomes of a client's transfers.
    fn ends(&self, client: &Client) -> Vec<Outcome> {
        let finished = self.recorder.facts().finished.into_iter();
        let of_client = finished.filter(|report| report.peer.port() == client.port());
        of_client.map(|report| report.outcome).collect()
    }

    /// Sends a request that stays without an answer, whatever `then` does. Returns the outcome of
    /// the transfer.
    pub(crate) fn unanswered_although(
        &self,
        client: &Client,
        request: &[u8],
        then: impl FnOnce(),
    ) -> Outcome {
        let (before, until) = (self.ends(client).len(), Instant::now() + Duration::from_secs(10));
        client.send(request);
        then();
        while self.ends(client).len() == before {
            assert!(Instant::now() < until, "the request is not heard of");
            std::thread::sleep(Duration::from_millis(5));
        }
        // A transfer that has ended sends nothing more.
        client.expect_silence(Duration::from_millis(10));
        self.ends(client).swap_remove(before)
    }

    /// The same without anything else to do.
    pub(crate) fn unanswered(&self, client: &Client, request: &[u8]) -> Outcome {
        self.unanswered_although(client, request, || {})
    }

    /// Checks that a read of this name stays without an answer, as nobody knows whether the file
    /// exists.
    pub(crate) fn leaves_unanswered(&self, name: &str) {
        let outcome = self.unanswered(&self.client(), &rrq(name, "octet", &[]));
        assert!(matches!(outcome, Outcome::Outage(_)), "{name}: {outcome:?}");
    }

    /// Checks that the server serves others.
    pub(crate) fn still_serves(&self) {
        assert_eq!(self.read("file"), FILE);
    }
}

impl Drop for Extended {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}
