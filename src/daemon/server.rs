//! A running server: its sockets, arbiters and actors.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use actix::{Addr, Arbiter};
use slog::{Drain, Logger, info, warn};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::actors::supervision::{Exit, RestartLimit, start_permanent};
use crate::actors::{
    Listener, LivePeers, Pause, Registry, Service, SessionSupervisor, Stop, Supervisors, Worker,
};
use crate::limits;
use crate::net::{BindError, RequestSocket};
use crate::observe::{Counters, Fact, LogObserver, Observer};
use crate::policy::Rules;
use crate::settings::{Required, Settings};
use crate::store::{Directory, RootError};

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
    /// The operating system has no thread, or no signal, to give.
    #[error("the operating system refused: {0}")]
    Runtime(io::Error),
}

/// A running server. It must be made, and stopped, inside an actix `System`.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    counters: Arc<Counters>,
    live_peers: Arc<LivePeers>,
    registry: Addr<Registry>,
    listeners: Vec<Addr<Listener>>,
    workers: Vec<Worker>,
    arbiters: Vec<Arbiter>,
    ends: mpsc::UnboundedReceiver<End>,
    /// For listeners that are started later; kept, so that `ends` never closes.
    ended: mpsc::UnboundedSender<End>,
}

/// A permanent actor has ended for good.
#[derive(Debug)]
struct End {
    actor: &'static str,
    exit: Exit,
}

impl Server {
    /// Opens the root, binds every address, and starts to serve.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(settings: &Settings, log: &Logger) -> Result<Self, StartError> {
        let directory = Arc::new(Directory::open(&settings.root, settings.directory)?);
        let sockets = bind(settings, log)?;
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
        let mut server = Self::assemble(settings, &service, counters)?;
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
    ) -> Result<Self, StartError> {
        let (ended, ends) = mpsc::unbounded_channel();
        let here = Arbiter::current();
        let registry = permanent(&here, "registry", &ended, |_| Registry::default());
        let mut arbiters = Vec::with_capacity(settings.arbiters);
        let mut workers = Vec::with_capacity(settings.arbiters);
        for _ in 0..settings.arbiters.max(1) {
            let arbiter = Arbiter::try_with_tokio_rt(runtime).map_err(StartError::Runtime)?;
            let (service, registry) = (Arc::clone(service), registry.clone());
            let supervisor = permanent(&arbiter.handle(), SESSION_SUPERVISOR, &ended, move |_| {
                SessionSupervisor::new(service, registry)
            });
            workers.push(Worker { supervisor, sessions: Arc::new(AtomicUsize::new(0)) });
            arbiters.push(arbiter);
        }
        registry.do_send(Supervisors(workers.iter().map(|worker| worker.supervisor.clone()).collect()));
        let live_peers = LivePeers::new(settings.transfers_max);
        let (addresses, listeners) = (Vec::new(), Vec::new());
        Ok(Self { addresses, counters, live_peers, registry, listeners, workers, arbiters, ends, ended })
    }

    fn listen(&mut self, service: &Arc<Service>, socket: Arc<UdpSocket>, address: SocketAddr) {
        let (live_peers, workers) = (Arc::clone(&self.live_peers), self.workers.clone());
        let observed = Arc::clone(service);
        let service = Arc::clone(service);
        self.listeners.push(permanent(&Arbiter::current(), "listener", &self.ended, move |_| {
            Listener::new(socket, service, live_peers, workers)
        }));
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

    /// Transfers under way.
    #[must_use]
    pub fn live_transfers(&self) -> usize {
        self.live_peers.live()
    }

    /// Waits until a part of the server can't be kept alive, and says which and why.
    pub async fn failed(&mut self) -> String {
        match self.ends.recv().await {
            Some(End { actor, exit }) => format!("the {actor} {exit}"),
            // The server holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Takes no further request, ends every live transfer with an ERROR to its peer, then everything else.
    pub async fn stop(&mut self) {
        for listener in self.listeners.drain(..) {
            let _ = listener.try_send(Pause);
        }
        for worker in &self.workers {
            let _ = worker.supervisor.try_send(Stop);
        }
        let mut supervisors = self.workers.len();
        let all_gone = async {
            while supervisors > 0 {
                let Some(end) = self.ends.recv().await else { break };
                supervisors -= usize::from(end.actor == SESSION_SUPERVISOR);
            }
        };
        // Sessions that don't end in time end with their arbiter.
        let _ = timeout(limits::STOP_WITHIN, all_gone).await;
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
        }
    }
}

const SESSION_SUPERVISOR: &str = "session supervisor";

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
) -> Addr<A>
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

/// Binds every address that the settings name.
fn bind(settings: &Settings, log: &Logger) -> Result<Vec<(Arc<UdpSocket>, SocketAddr)>, StartError> {
    let mut sockets: Vec<(Arc<UdpSocket>, SocketAddr)> = Vec::new();
    for (mut address, required) in settings.listen.addresses() {
        if address.port() == 0 {
            // A port of the kernel's choice is the same for all addresses.
            address.set_port(sockets.first().map_or(0, |(_, bound)| bound.port()));
        }
        let socket = match (RequestSocket::open(address), required) {
            (Ok(socket), _) => socket,
            (
                Err(error @ (BindError::NotAvailable { .. } | BindError::Other { .. })),
                Required::IfPossible,
            ) => {
                warn!(log, "serving without IPv6"; "why" => %error);
                continue;
            }
            (Err(error), _) => return Err(error.into()),
        };
        let bound = socket.local_addr().map_err(StartError::Runtime)?;
        sockets.push((socket, bound));
    }
    Ok(sockets)
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
