//! A running server: its sockets, arbiters and actors.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use actix::Addr;
use slog::{Logger, warn};
use tokio::sync::{mpsc, watch};

use super::current::Current;
#[cfg(feature = "internals")]
use super::current::Opened;
use super::extensions::Extensions;
use super::handle::{Order, Stage};
use super::reconfigure::Configurator;
use super::root::Root;
use super::sockets::Bound;
use super::{ServerHandle, StartError};
use crate::actors::{ArbiterSupervisor, Listener, PeerTable, Registry, Service, Workers};
use crate::limits;
use crate::observe::{Counters, Fact};
use crate::settings::Settings;
use crate::supervision::{ChildSpec, RestartLimit, Supervisor};

/// A running server. It must be created and stopped inside an actix `System`.
///
/// It serves from its start. [`serve`](Self::serve) carries out the orders of its
/// [handle](Self::handle), and returns when the server has ended. A server that is dropped before
/// that stops serving: live transfers end with ERROR 0, and the address is free again soon.
#[derive(Debug)]
pub struct Server {
    pub(super) log: Logger,
    addresses: Vec<SocketAddr>,
    /// Request sockets that were bound elsewhere: they stay open until the end. Listeners close the
    /// server's own sockets.
    pub(super) passed: Vec<Arc<UdpSocket>>,
    pub(super) service: Arc<Service>,
    pub(super) current: Current,
    pub(super) counters: Arc<Counters>,
    pub(super) peer_table: Arc<PeerTable>,
    pub(super) workers: Arc<Workers>,
    /// The root of the tree. Actors that are added through this handle are kept apart.
    pub(super) supervisor: Supervisor,
    pub(super) registry: Addr<Registry>,
    pub(super) listeners: Vec<Addr<Listener>>,
    /// Why the arbiters fail too often.
    pub(super) failures: mpsc::UnboundedReceiver<String>,
    pub(super) handle: ServerHandle,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) stage: watch::Sender<Stage>,
    /// Why the last reload failed; `None` if it succeeded.
    pub(super) reload_failure: watch::Sender<Option<String>>,
}

/// The capacity of a server, for tests.
#[cfg(feature = "internals")]
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Threads that run sessions.
    pub arbiters: usize,
    /// Concurrent transfers.
    pub transfers_max: usize,
    /// The restart limit of each permanent actor.
    pub restarts: RestartLimit,
}

#[cfg(feature = "internals")]
impl Default for Capacity {
    fn default() -> Self {
        Self { arbiters: 1, transfers_max: limits::TRANSFERS_MAX_DEFAULT, restarts: RestartLimit::default() }
    }
}

impl Server {
    /// Starts a server with its own store, observers and rules, on sockets that are bound already.
    /// Counters are added to the observers.
    ///
    /// While the server drains, these sockets stay open and unread.
    ///
    /// # Errors
    /// [`StartError::Runtime`]; in that case nothing is left running.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn start_service(
        service: Service,
        sockets: Vec<(Arc<UdpSocket>, SocketAddr)>,
        capacity: Capacity,
        log: &Logger,
    ) -> Result<Self, StartError> {
        let Capacity { arbiters, transfers_max, restarts } = capacity;
        let settings = Settings { arbiters, transfers_max, ..Settings::default() };
        let store = Arc::clone(&service.config().store);
        let current = Current::new(settings, Opened { store, directory: None });
        let passed = |(socket, address)| Bound { socket, address, is_own: false };
        let sockets = sockets.into_iter().map(passed).collect();
        Self::start_below(Root::start(), service, sockets, current, Extensions::default(), restarts, log)
    }

    /// The same below a root that may have children already.
    pub(super) fn start_below(
        root: Root,
        mut service: Service,
        sockets: Vec<Bound>,
        current: Current,
        extensions: Extensions,
        restarts: RestartLimit,
        log: &Logger,
    ) -> Result<Self, StartError> {
        let counters = Arc::new(Counters::default());
        service.observers.push(Arc::<Counters>::clone(&counters));
        let restarts = service.restart_limit(restarts);
        let mut server =
            Self::assemble(root, Arc::new(service), counters, current, extensions, restarts, log)?;
        for bound in sockets {
            server.listen(bound, restarts);
        }
        Ok(server)
    }

    /// Starts everything but the listeners.
    fn assemble(
        root: Root,
        service: Arc<Service>,
        counters: Arc<Counters>,
        current: Current,
        extensions: Extensions,
        restarts: RestartLimit,
        log: &Logger,
    ) -> Result<Self, StartError> {
        let Settings { arbiters, transfers_max, transfers_per_client_max, .. } = current.settings();
        let peer_table = PeerTable::bounded(transfers_max, transfers_per_client_max, service.single_port);
        let workers = Arc::new(Workers::new(restarts));
        let supervisor = root.into_supervisor(&service, &workers);
        let registered = Arc::clone(&service);
        let registry = supervisor.start_child(
            ChildSpec::permanent("registry", move |_| Registry::new(&registered))
                .limit(restarts)
                .leaving_mail()
                .mailbox(limits::MAILBOX_BUSY),
        );
        let (gave_up, failures) = mpsc::unbounded_channel();
        let parts = (Arc::clone(&service), Arc::clone(&workers));
        let arbiter_supervisor = supervisor.start_child(
            ChildSpec::permanent("arbiter supervisor", move |_| {
                let (service, workers) = parts;
                // If the server is gone, nobody receives this.
                ArbiterSupervisor::new(service, workers, move |why| drop(gave_up.send(why)))
            })
            .limit(restarts)
            .leaving_mail()
            .stop_within(limits::STOP_WITHIN),
        );
        workers.start_local(&service, &supervisor);
        if let Err(error) = workers.start_all(arbiters.max(1), &service, &arbiter_supervisor.recipient()) {
            workers.end(&service);
            supervisor.stop();
            return Err(StartError::Runtime(error));
        }
        let configurator = Configurator {
            service: Arc::clone(&service),
            peer_table: Arc::clone(&peer_table),
            supervisor: supervisor.clone(),
            extensions,
            current: current.clone(),
            log: log.clone(),
        };
        let configurator = supervisor.start_child(
            ChildSpec::permanent("configurator", move |_| configurator).limit(restarts).leaving_mail(),
        );
        let (ordered, orders) = mpsc::unbounded_channel();
        let stage = watch::Sender::new(Stage::Serving);
        Ok(Self {
            log: log.clone(),
            addresses: Vec::new(),
            passed: Vec::new(),
            service,
            current,
            counters,
            peer_table,
            workers,
            supervisor: supervisor.starting_apart(),
            registry,
            listeners: Vec::new(),
            failures,
            handle: ServerHandle::new(ordered, stage.subscribe(), configurator),
            orders,
            stage,
            reload_failure: watch::Sender::new(None),
        })
    }

    fn listen(&mut self, Bound { socket, address, is_own }: Bound, restarts: RestartLimit) {
        if !is_own {
            self.passed.push(Arc::clone(&socket));
        }
        let (service, peers) = (Arc::clone(&self.service), Arc::clone(&self.peer_table));
        let workers = Arc::clone(&self.workers);
        let make = move |_: &mut _| {
            let listener = Listener::new(socket, service, peers, workers);
            if is_own { listener.of_own_socket() } else { listener }
        };
        let spec = ChildSpec::permanent("listener", make).limit(restarts).leaving_mail();
        self.listeners.push(self.supervisor.for_owner().start_child(spec));
        self.addresses.push(address);
        self.service.observe(&Fact::Listening { address });
    }

    /// The settings in effect.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.current.settings()
    }

    /// The addresses that the server listens on, with the actual ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The actor that knows every transfer. Send it [`List`](crate::actors::List),
    /// [`Describe`](crate::actors::Describe) or [`Cancel`](crate::actors::Cancel).
    #[must_use]
    pub fn registry(&self) -> &Addr<Registry> {
        &self.registry
    }

    /// The counters of events.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The number of facts that observers did not get: an actor that observes by
    /// [`ActorObserver`](crate::extend::ActorObserver) had no room for them, or ended before it
    /// handled them.
    #[must_use]
    pub fn lost_facts(&self) -> u64 {
        self.service.lost_facts()
    }

    /// The root of the server's tree, for actors of your own. They are stopped before the server's
    /// actors, and a permanent one that fails too often ends the server. Observers hear of their
    /// panics. Each runs on [a thread of its own](ChildSpec::on_own_arbiter), unless its
    /// specification says otherwise.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The table of live peers.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn peer_table(&self) -> &Arc<PeerTable> {
        &self.peer_table
    }

    /// The number of transfers that are running, or that are complete and still answer repeats.
    #[must_use]
    pub fn live_transfers(&self) -> usize {
        self.peer_table.live()
    }

    /// A status text for people.
    #[cfg(feature = "program")]
    pub(super) fn status(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!("listening on {}", addresses.join(", "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(*self.stage.borrow(), Stage::Ended(_)) {
            return;
        }
        let transfers = self.peer_table.unfinished();
        warn!(self.log, "the server was dropped while it served: it ends at once"; "transfers" => transfers);
        self.workers.set_stopping();
        self.supervisor.stop();
        // Sessions have no time to report this themselves.
        self.workers.end(&self.service);
        self.service.flush();
    }
}
