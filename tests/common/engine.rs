//! A server made of the actors' public parts, whose sessions panic when a packet of the test's choice is shown to the log.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::{Addr, Arbiter, System};
use stagecoach::actors::{
    Cancel, List, Listener, LivePeers, Registry, Service, SessionSupervisor, Snapshot, Worker,
};
use stagecoach::net::RequestSocket;
use stagecoach::observe::{Fact, Observer, Report, TransferId};
use stagecoach::policy::Rules;
use stagecoach::store::Store;
use stagecoach::supervision::{RestartLimit, start_permanent};
use stagecoach::transfer::{Offer, OnAbort, Timeouts};

use super::raw::Client;

/// The option that makes the server's timer too slow to help anyone.
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

    /// No option at all, so that the server's timer runs on the round trips that it measures.
    pub(crate) fn is_plain(self) -> bool {
        self.windowsize == 1 && !self.netascii
    }

    /// A timer that never runs out, and a window.
    pub(crate) fn options(self) -> Vec<(&'static str, &'static str)> {
        match self.windowsize {
            1 if self.is_plain() => Vec::new(),
            1 => vec![TIMEOUT],
            _ => vec![TIMEOUT, ("windowsize", "4")],
        }
    }
}

/// A packet log that panics.
#[derive(Debug, Default)]
pub(crate) struct Tripwire {
    /// The transfer, or all.
    transfer: Option<u64>,
    /// How the line begins that trips it; `None`: none does.
    line: Option<String>,
    /// The first so many such lines pass.
    pass: usize,
    /// So many panics at most, for each transfer.
    panics: usize,
    /// Such lines so far, by transfer.
    count: Mutex<HashMap<String, usize>>,
}

impl Tripwire {
    /// Panics once, when `transfer` logs a line that begins so; after `second `, at the second such line.
    pub(crate) fn once(transfer: u64, line: &str) -> Self {
        Self { transfer: Some(transfer), ..Self::each_once(line) }
    }

    /// Panics once in each transfer.
    pub(crate) fn each_once(line: &str) -> Self {
        let (line, pass) = line.strip_prefix("second ").map_or((line, 0), |line| (line, 1));
        Self { line: Some(line.to_owned()), pass, panics: 1, ..Self::default() }
    }

    /// Panics whenever `transfer` logs such a line.
    pub(crate) fn always(transfer: u64, line: &str) -> Self {
        Self { panics: usize::MAX, ..Self::once(transfer, line) }
    }
}

impl slog::Drain for Tripwire {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        #[derive(Default)]
        struct Values(HashMap<String, String>);
        impl slog::Serializer for Values {
            fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                self.0.insert(key.to_string(), value.to_string());
                Ok(())
            }
        }
        let mut values = Values::default();
        slog::KV::serialize(&record.kv(), record, &mut values).unwrap();
        let (transfer, packet) = (&values.0["transfer"], &values.0["packet"]);
        // One blank more, so that "ACK 1 " is not the beginning of ACK 10.
        let shown = format!("{} {packet} ", record.msg());
        let Some(line) = &self.line else { return Ok(()) };
        if self.transfer.is_none_or(|wanted| wanted.to_string() == *transfer)
            && shown.starts_with(&format!("{} ", line.trim_end()))
        {
            let count = {
                let mut counts = self.count.lock().unwrap();
                let count = counts.entry(transfer.clone()).or_default();
                *count += 1;
                *count
            };
            assert!(count <= self.pass || count - self.pass > self.panics, "the secret of the log");
        }
        Ok(())
    }
}

/// What the observers heard.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    pub(crate) crashed: Vec<String>,
    pub(crate) resumed: Vec<String>,
    pub(crate) finished: Vec<Report>,
}

#[derive(Debug, Default)]
struct Witness(Mutex<Facts>);

impl Observer for Witness {
    fn observe(&self, fact: &Fact<'_>) {
        let mut facts = self.0.lock().unwrap();
        match fact {
            Fact::Crashed { actor, transfer, panic } => {
                let transfer = transfer.map_or(0, |transfer| transfer.0);
                facts.crashed.push(format!("{actor} of {transfer}: {panic}"));
            }
            Fact::Resumed { transfer, resumption } => facts.resumed.push(format!("{transfer}: {resumption}")),
            Fact::Finished(report) => facts.finished.push((*report).clone()),
            _ => {}
        }
    }
}

/// A server on a thread of its own. Its own timers are too long to help anyone.
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    witness: Arc<Witness>,
    live_peers: Arc<LivePeers>,
    registry: Addr<Registry>,
    arbiter: actix::ArbiterHandle,
    /// Ends of actors that should live as long as the server.
    ends: mpsc::Receiver<String>,
    system: System,
    thread: Option<JoinHandle<()>>,
}

/// Panics that a test means to happen are not printed.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let payload = panic.payload();
            let fixed = payload.downcast_ref::<&str>().copied();
            let text = fixed.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if text.is_none_or(|text| !text.starts_with("the secret of")) {
                others(panic);
            }
        }));
    });
}

impl Engine {
    pub(crate) fn start(store: Arc<dyn Store>, tripwire: Tripwire) -> Self {
        hush();
        let socket = RequestSocket::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let (witness, live_peers) = (Arc::<Witness>::default(), LivePeers::new(64));
        let hour = Duration::from_secs(3600);
        let service = Arc::new(Service {
            store,
            observers: vec![Arc::<Witness>::clone(&witness)],
            rules: Rules::default(),
            offer: Offer::default(),
            windows: Arc::default(),
            timeouts: Timeouts { ack: hour, unproven: hour, idle: hour, dally: hour },
            on_abort: OnAbort::default(),
            ports: None,
            packet_log: Some(slog::Logger::root(tripwire, slog::o!())),
            last_transfer: 0.into(),
        });
        let (started, parts) = mpsc::channel();
        let (ended, ends) = mpsc::channel();
        let peers = Arc::clone(&live_peers);
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                let (limit, mailbox, here) = (RestartLimit::default(), 64, Arbiter::current());
                let end = |actor: &'static str| {
                    let ended = ended.clone();
                    // Nobody listens once the test is over.
                    move |exit| drop(ended.send(format!("the {actor} {exit}")))
                };
                let registry =
                    start_permanent(&here, limit, mailbox, |_| Registry::default(), end("registry")).addr;
                let (shared, told) = (Arc::clone(&service), registry.clone());
                let make = move |_: &mut _| SessionSupervisor::new(shared, told);
                let supervisor = start_permanent(&here, limit, mailbox, make, end("supervisor")).addr;
                let worker = Worker { supervisor, sessions: Arc::default() };
                let make = move |_: &mut _| Listener::new(socket, service, peers, vec![worker]);
                let listener = start_permanent(&here, limit, mailbox, make, end("listener"));
                started.send((System::current(), here, registry)).unwrap();
                // Until the test ends, which stops the system.
                std::future::pending::<()>().await;
                drop(listener);
            });
        });
        let (system, arbiter, registry) = parts.recv().unwrap();
        Self { address, witness, live_peers, registry, arbiter, ends, system, thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// What the registry knows.
    pub(crate) fn registry(&self) -> Snapshot {
        let (registry, (answer, answered)) = (self.registry.clone(), mpsc::channel());
        self.arbiter.spawn(async move { answer.send(registry.send(List).await.unwrap()).unwrap() });
        answered.recv_timeout(Duration::from_secs(5)).unwrap()
    }

    /// Has the registry end a transfer.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let (registry, (answer, answered)) = (self.registry.clone(), mpsc::channel());
        self.arbiter.spawn(async move {
            answer.send(registry.send(Cancel(TransferId(id))).await.unwrap()).unwrap();
        });
        answered.recv_timeout(Duration::from_secs(5)).unwrap()
    }

    /// Waits until every transfer is over and has left nothing, while all that should live does. What was heard.
    pub(crate) fn settle(&self) -> Facts {
        let until = Instant::now() + Duration::from_secs(5);
        while self.live_peers.live() > 0 || !self.registry().live.is_empty() {
            assert!(Instant::now() < until, "{} transfers are left", self.live_peers.live());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.ends.try_iter().next(), None);
        self.witness.0.lock().unwrap().clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.system.stop();
        drop(self.thread.take());
    }
}
