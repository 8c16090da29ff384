//! A server in this process, without the program, with a store and a log of the test's choice.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::{Addr, Arbiter, System};
use stagecoach::daemon::{Cancel, Capacity, List, Registry, Server, ServerHandle, Snapshot};
use stagecoach::internals::actors::{Config, PeerTable, Service};
use stagecoach::internals::net::RequestSocket;
use stagecoach::observe::{Fact, Observer, Report, TransferId};
use stagecoach::settings::Timeouts;
use stagecoach::store::Store;

use super::packet_trigger::PacketTrigger;
use super::raw::Client;

/// An option that makes the server's timer too slow to affect a test.
pub(crate) const TIMEOUT: (&str, &str) = ("timeout", "255");

/// How a client transfers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) windowsize: u16,
    pub(crate) netascii: bool,
}

impl Case {
    pub(crate) fn mode(self) -> &'static str {
        if self.netascii { "netascii" } else { "octet" }
    }

    /// Without options, the server's timer follows the measured round trips.
    pub(crate) fn is_plain(self) -> bool {
        self.windowsize == 1 && !self.netascii
    }

    /// A timer that never expires, and a window.
    pub(crate) fn options(self) -> Vec<(&'static str, &'static str)> {
        match self.windowsize {
            1 if self.is_plain() => Vec::new(),
            1 => vec![TIMEOUT],
            _ => vec![TIMEOUT, ("windowsize", "4")],
        }
    }
}

/// The facts that observers received.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    pub(crate) crashed: Vec<String>,
    pub(crate) resumed: Vec<String>,
    pub(crate) arbiters: Vec<String>,
    pub(crate) misbehaved: Vec<String>,
    pub(crate) finished: Vec<Report>,
}

/// An observer that keeps the facts.
#[derive(Debug, Default)]
pub(crate) struct FactRecorder(Mutex<Facts>);

impl FactRecorder {
    pub(crate) fn facts(&self) -> Facts {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for FactRecorder {
    fn observe(&self, fact: &Fact<'_>) {
        let mut facts = self.0.lock().unwrap();
        match fact {
            Fact::Crashed { actor, transfer, panic } => {
                let transfer = transfer.map_or(0, |transfer| transfer.0);
                facts.crashed.push(format!("{actor} of {transfer}: {panic}"));
            }
            Fact::Resumed { transfer, resumption } => facts.resumed.push(format!("{transfer}: {resumption}")),
            Fact::ArbiterReplaced { arbiter, why, moved, ended } => {
                facts.arbiters.push(format!("arbiter {arbiter} {why}: {moved} moved, {ended} ended"));
            }
            Fact::Misbehaved { extension, why, .. } => facts.misbehaved.push(format!("{extension}: {why}")),
            Fact::Finished(report) => facts.finished.push(report.clone().into_owned()),
            _ => {}
        }
    }
}

/// A server on a thread of its own. Its own timers are too long to affect a test.
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    recorder: Arc<FactRecorder>,
    peer_table: Arc<PeerTable>,
    registry: Addr<Registry>,
    arbiter: actix::ArbiterHandle,
    pub(crate) handle: ServerHandle,
    /// Why the server gave up, if it did.
    ends: mpsc::Receiver<String>,
    system: System,
    thread: Option<JoinHandle<()>>,
    /// Faults that a test plans.
    #[cfg(feature = "chaos")]
    pub(crate) chaos: stagecoach::chaos::Chaos,
}

/// Hides the panics that a test causes on purpose.
pub(crate) fn hide_expected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let payload = panic.payload();
            let fixed = payload.downcast_ref::<&str>().copied();
            let text = fixed.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let meant = |text: &str| text.starts_with("the secret of") || text.starts_with("chaos at ");
            if !text.is_some_and(meant) {
                others(panic);
            }
        }));
    });
}

impl Engine {
    pub(crate) fn start(store: Arc<dyn Store>, trigger: PacketTrigger) -> Self {
        Self::with_capacity(store, trigger, Capacity::default())
    }

    pub(crate) fn with_capacity(store: Arc<dyn Store>, trigger: PacketTrigger, capacity: Capacity) -> Self {
        let hour = Duration::from_secs(3600);
        let mut timeouts = Timeouts::default();
        (timeouts.ack, timeouts.unproven, timeouts.idle, timeouts.dally) = (hour, hour, hour, hour);
        Self::with_observers(store, trigger, capacity, timeouts, Vec::new())
    }

    /// A server with further observers.
    pub(crate) fn with_observers(
        store: Arc<dyn Store>,
        packet_log: impl slog::Drain<Ok = (), Err = slog::Never>
        + Send
        + Sync
        + RefUnwindSafe
        + UnwindSafe
        + 'static,
        capacity: Capacity,
        timeouts: Timeouts,
        mut observers: Vec<Arc<dyn Observer>>,
    ) -> Self {
        hide_expected_panics();
        let socket = RequestSocket::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let recorder = Arc::<FactRecorder>::default();
        observers.push(Arc::<FactRecorder>::clone(&recorder));
        let mut service = Service::new(Config { timeouts, ..Config::new(store) });
        service.observers = observers;
        service.packet_log = Some(slog::Logger::root(packet_log, slog::o!()));
        #[cfg(feature = "chaos")]
        let chaos = stagecoach::chaos::Chaos::default();
        #[cfg(feature = "chaos")]
        service.set_chaos(chaos.clone());
        let (started, parts) = mpsc::channel();
        let (ended, ends) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                let log = slog::Logger::root(slog::Discard, slog::o!());
                let mut server =
                    Server::start_service(service, vec![(socket, address)], capacity, &log).unwrap();
                let (registry, peers) = (server.registry().clone(), Arc::clone(server.peer_table()));
                let parts = (System::current(), Arbiter::current(), registry, peers, server.handle());
                started.send(parts).unwrap();
                if let Err(error) = server.serve(|| Ok(())).await {
                    // The test may be over, and its receiver dropped.
                    let _ = ended.send(error.to_string());
                }
            });
        });
        let (system, arbiter, registry, peer_table, handle) = parts.recv().unwrap();
        Self {
            address,
            recorder,
            peer_table,
            registry,
            arbiter,
            handle,
            ends,
            system,
            thread: Some(thread),
            #[cfg(feature = "chaos")]
            chaos,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// The registry's list of transfers. A registry that panics over the question is asked again.
    pub(crate) fn registry(&self) -> Snapshot {
        let (registry, (answer, answered)) = (self.registry.clone(), mpsc::channel());
        self.arbiter.spawn(async move {
            let snapshot = loop {
                if let Ok(snapshot) = registry.send(List).await {
                    break snapshot;
                }
            };
            answer.send(snapshot).unwrap();
        });
        answered.recv_timeout(Duration::from_secs(5)).unwrap()
    }

    /// Makes the registry end a transfer.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let (registry, (answer, answered)) = (self.registry.clone(), mpsc::channel());
        self.arbiter.spawn(async move {
            answer.send(registry.send(Cancel(TransferId(id))).await.unwrap()).unwrap();
        });
        answered.recv_timeout(Duration::from_secs(5)).unwrap()
    }

    /// Waits until every transfer has ended and left nothing, while all permanent actors live.
    /// Returns the facts.
    pub(crate) fn settle(&self) -> Facts {
        let until = Instant::now() + Duration::from_secs(5);
        while self.peer_table.live() > 0 || !self.registry().live.is_empty() {
            assert!(Instant::now() < until, "{} transfers are left", self.peer_table.live());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.ends.try_iter().next(), None);
        self.facts()
    }

    /// The facts so far.
    pub(crate) fn facts(&self) -> Facts {
        self.recorder.facts()
    }

    /// Why the server gave up.
    pub(crate) fn gave_up(&self) -> String {
        self.ends.recv_timeout(Duration::from_secs(30)).expect("the server to give up")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.system.stop();
        drop(self.thread.take());
    }
}
