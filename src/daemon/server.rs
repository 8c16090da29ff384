//! A running server: its sockets, arbiters and actors.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use actix::{Addr, Arbiter, Recipient};
use slog::{Drain, Logger, info, warn};
use tokio::sync::{mpsc, watch};

use super::ServerHandle;
use super::handle::{Order, Stage};
use super::sockets;
use crate::actors::{Listener, LivePeers, Ping, Registry, Service, SessionSupervisor, Supervisors, Worker};
use crate::limits;
use crate::net::BindError;
use crate::observe::{Counters, Fact, LogObserver, Observer};
use crate::policy::Rules;
use crate::settings::Settings;
use crate::store::{Directory, RootError};
use crate::supervision::{Exit, Permanent, RestartLimit, Stopper, start_permanent};

/// Why a server can't start. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory can't be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What the service manager passed can't be listened on.
    #[error(
        "socket {number} of those that were passed to this program can't take requests ({why}): pass bound UDP sockets only, \
         ListenDatagram= in a .socket unit"
    )]
    Passed {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system has no thread, or no signal, to give.
    #[error("the operating system refused: {0}")]
    Runtime(io::Error),
}

/// A running server. It must be made, and stopped, inside an actix `System`.
#[derive(Debug)]
pub struct Server {
    pub(super) log: Logger,
    addresses: Vec<SocketAddr>,
    /// Where requests arrive; open for as long as anybody may be waiting for an answer.
    pub(super) sockets: Vec<Arc<UdpSocket>>,
    pub(super) counters: Arc<Counters>,
    pub(super) live_peers: Arc<LivePeers>,
    pub(super) registry: Addr<Registry>,
    pub(super) listeners: Vec<Addr<Listener>>,
    pub(super) workers: Vec<Worker>,
    pub(super) arbiters: Vec<Arbiter>,
    /// Of the workers' supervisors.
    pub(super) worker_stoppers: Vec<Stopper>,
    /// Of the registry and the listeners.
    pub(super) stoppers: Vec<Stopper>,
    pub(super) ends: mpsc::UnboundedReceiver<End>,
    /// For listeners that are started later; kept, so that `ends` never closes.
    ended: mpsc::UnboundedSender<End>,
    pub(super) handle: ServerHandle,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) stage: watch::Sender<Stage>,
}

/// A permanent actor has ended for good.
#[derive(Debug)]
pub(super) struct End {
    pub(super) actor: &'static str,
    pub(super) exit: Exit,
}

impl Server {
    /// Opens the root, binds every address, and starts to serve.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(settings: &Settings, log: &Logger) -> Result<Self, StartError> {
        Self::start_on(settings, Vec::new(), log)
    }

    /// The same on `sockets` that are bound already; where there are any, the settings' addresses are left alone.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(settings: &Settings, sockets: Vec<UdpSocket>, log: &Logger) -> Result<Self, StartError> {
        let directory = Arc::new(Directory::open(&settings.root, settings.directory)?);
        let sockets = sockets::open(settings, sockets, log)?;
        let counters = Arc::new(Counters::default());
        let observers: Vec<Arc<dyn Observer>> =
            vec![Arc::new(LogObserver::new(log.clone())), Arc::<Counters>::clone(&counters)];
        let service = Arc::new(Service {
            store: Arc::<Directory>::clone(&directory),
            observers,
            rules: Rules { read_only: settings.read_only, strict: settings.strict },
            offer: settings.offer,
            windows: Arc::default(),
            timeouts: settings.timeouts,
            on_abort: settings.on_abort,
            ports: settings.ports,
            packet_log: log.is_enabled(slog::Level::Trace).then(|| log.clone()),
            last_transfer: 0.into(),
        });
        let mut server = Self::assemble(settings, &service, counters, log)?;
        for (socket, address) in sockets {
            server.listen(&service, socket, address);
        }
        if !settings.read_only {
            sweep(directory, log.clone());
        }
        Ok(server)
    }

    /// Everything but the listeners.
    fn assemble(
        settings: &Settings,
        service: &Arc<Service>,
        counters: Arc<Counters>,
        log: &Logger,
    ) -> Result<Self, StartError> {
        let (ended, ends) = mpsc::unbounded_channel();
        let here = Arbiter::current();
        let Permanent { addr: registry, stopper } =
            permanent(&here, "registry", &ended, |_| Registry::default());
        let (stoppers, mut worker_stoppers) = (vec![stopper], Vec::with_capacity(settings.arbiters));
        let mut arbiters = Vec::with_capacity(settings.arbiters);
        let mut workers = Vec::with_capacity(settings.arbiters);
        for _ in 0..settings.arbiters.max(1) {
            let arbiter = Arbiter::try_with_tokio_rt(runtime).map_err(StartError::Runtime)?;
            let (service, registry) = (Arc::clone(service), registry.clone());
            let supervisor = permanent(&arbiter.handle(), SESSION_SUPERVISOR, &ended, move |_| {
                SessionSupervisor::new(service, registry)
            });
            worker_stoppers.push(supervisor.stopper);
            workers.push(Worker { supervisor: supervisor.addr, sessions: Arc::new(AtomicUsize::new(0)) });
            arbiters.push(arbiter);
        }
        registry.do_send(Supervisors(workers.iter().map(|worker| worker.supervisor.clone()).collect()));
        let live_peers = LivePeers::new(settings.transfers_max);
        let (ordered, orders) = mpsc::unbounded_channel();
        let stage = watch::Sender::new(Stage::Serving);
        Ok(Self {
            log: log.clone(),
            addresses: Vec::new(),
            sockets: Vec::new(),
            counters,
            live_peers,
            registry,
            listeners: Vec::new(),
            workers,
            arbiters,
            worker_stoppers,
            stoppers,
            ends,
            ended,
            handle: ServerHandle::new(ordered, stage.subscribe()),
            orders,
            stage,
        })
    }

    fn listen(&mut self, service: &Arc<Service>, socket: Arc<UdpSocket>, address: SocketAddr) {
        let (live_peers, workers) = (Arc::clone(&self.live_peers), self.workers.clone());
        let observed = Arc::clone(service);
        self.sockets.push(Arc::clone(&socket));
        let service = Arc::clone(service);
        let listener = permanent(&Arbiter::current(), LISTENER, &self.ended, move |_| {
            Listener::new(socket, service, live_peers, workers)
        });
        self.listeners.push(listener.addr);
        self.stoppers.push(listener.stopper);
        self.addresses.push(address);
        observed.observe(&Fact::Listening { address });
    }

    /// The addresses that it listens on, with the ports that were really bound.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The actor that knows every transfer: ask it with [`List`](crate::actors::List), [`Describe`](crate::actors::Describe),
    /// [`Cancel`](crate::actors::Cancel).
    #[must_use]
    pub fn registry(&self) -> &Addr<Registry> {
        &self.registry
    }

    /// How often what happened.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Transfers under way, and those that are done but still answer repeats.
    #[must_use]
    pub fn live_transfers(&self) -> usize {
        self.live_peers.live()
    }

    /// For those who want a sign of life.
    pub(super) fn arbiters(&self) -> Vec<Recipient<Ping>> {
        self.workers.iter().map(|worker| worker.supervisor.clone().recipient()).collect()
    }

    /// What it does, for people.
    pub(super) fn status(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!("listening on {}", addresses.join(", "))
    }
}

/// What supervised actors are called in an [`End`].
pub(super) const SESSION_SUPERVISOR: &str = "session supervisor";
pub(super) const LISTENER: &str = "listener";

/// The runtime of one arbiter.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::BLOCKING_THREADS)
        .build()
}

fn permanent<A, F>(
    arbiter: &actix_rt::ArbiterHandle,
    actor: &'static str,
    ended: &mpsc::UnboundedSender<End>,
    factory: F,
) -> Permanent<A>
where
    A: actix::Actor<Context = actix::Context<A>> + actix::Supervised,
    F: FnOnce(&mut actix::Context<A>) -> A + Send + 'static,
{
    let ended = ended.clone();
    start_permanent(arbiter, RestartLimit::default(), limits::MAILBOX_BUSY, factory, move |exit| {
        // Nobody listens any more once the server is gone.
        let _ = ended.send(End { actor, exit });
    })
}

/// Removes what a crash has left of uploads, beside the serving.
fn sweep(directory: Arc<Directory>, log: Logger) {
    actix_rt::task::spawn_blocking(move || match directory.sweep_stale() {
        Ok(sweep) if sweep.removed == 0 && sweep.complete => {}
        Ok(sweep) => {
            info!(log, "removed what was left of uploads"; "files" => sweep.removed, "complete" => sweep.complete);
        }
        Err(fault) => warn!(log, "can't look for what was left of uploads"; "why" => %fault),
    });
}
