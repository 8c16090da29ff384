//! How a program puts a server together.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Recipient};
use slog::{Logger, o};

use super::extensions::{Extensions, HearStart, Wraps, service};
use super::root::Root;
use super::server::{Capacity, Server};
use super::startup::{log_root, log_serving, sweep, warn_of_root};
use super::{StartError, sockets};
use crate::extend::{
    Asked, Closure, InterfaceMtu, Negotiator, NegotiatorStep, Observed, OpcodeStep, Route, RouteStep,
    Routing, Served, Tell,
};
use crate::limits;
use crate::net::Mtu;
use crate::observe::{Fact, LogObserver, Observer};
use crate::settings::Settings;
use crate::store::{Directory, Store};
use crate::supervision::ChildSpec;
#[cfg(feature = "testkit")]
use crate::testkit::Kit;

/// The way in: [`Stagecoach::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Stagecoach;

impl Stagecoach {
    /// A server that isn't started yet: it serves the current directory on port 9069, and tells nobody what it does.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use stagecoach::Stagecoach;
    /// use stagecoach::extend::Routing;
    ///
    /// # actix::System::new().block_on(async {
    /// let mut server = Stagecoach::builder()
    ///     .root("/")
    ///     .listen(([127, 0, 0, 1], 0).into())
    ///     .route(|asked| match &*asked.name() {
    ///         "hello" => Routing::octets(format!("hello, {}\n", asked.peer.ip())),
    ///         _ => Routing::Pass,
    ///     })
    ///     .start()?;
    /// let handle = server.handle();
    /// // Whenever it is time, on any thread: live transfers get ten seconds to end.
    /// std::thread::spawn(move || handle.drain(Duration::from_secs(10)));
    /// // Obeys the handle, and returns when the server has ended.
    /// server.serve(|| Ok(())).await?;
    /// # Ok::<(), stagecoach::daemon::RunError>(())
    /// # })?;
    /// # Ok::<(), stagecoach::daemon::RunError>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// A server that isn't started yet. Nothing of it is shared with other servers of the process.
#[derive(Debug)]
#[must_use = "nothing is served before it is started"]
pub struct Builder {
    settings: Settings,
    /// What was said beside the settings, whichever came first.
    root_path: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    sockets: Vec<UdpSocket>,
    store: Option<Arc<dyn Store>>,
    wraps: Wraps,
    extensions: Extensions,
    hear_start: HearStart,
    root: Option<Root>,
    log: Logger,
}

/// Where files are.
struct Opened {
    store: Arc<dyn Store>,
    /// The same, if it is a directory.
    directory: Option<Arc<Directory>>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings::default(),
            root_path: None,
            listen: Vec::new(),
            sockets: Vec::new(),
            store: None,
            wraps: Wraps::default(),
            extensions: Extensions::default(),
            hear_start: HearStart::default(),
            root: None,
            log: Logger::root(slog::Discard, o!()),
        }
    }

    /// Everything that the program `stagecoach` has a flag for.
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The settings, to be read and changed before the start. An extension of the program finds
    /// there what its flags say.
    ///
    /// ```
    /// use stagecoach::daemon::Builder;
    ///
    /// fn extend(mut builder: Builder) -> Builder {
    ///     let root = builder.settings_mut().root.clone();
    ///     builder.settings_mut().read_only = true;
    ///     slog::info!(builder.logger(), "firmware is read only"; "root" => %root.display());
    ///     builder
    /// }
    /// ```
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The directory that is served.
    pub fn root(self, root: impl Into<PathBuf>) -> Self {
        Self { root_path: Some(root.into()), ..self }
    }

    /// Listens here too, beside where the settings say; if they say nothing, instead of everywhere on port 9069.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Sockets that are bound already: where there are any, no other address is listened on.
    pub fn sockets(mut self, sockets: impl IntoIterator<Item = UdpSocket>) -> Self {
        self.sockets.extend(sockets);
        self
    }

    /// Files come from here instead of from a directory.
    pub fn store(self, store: impl Store) -> Self {
        Self { store: Some(Arc::new(store)), ..self }
    }

    /// Has `wrap` put something in front of the store: in front of the directory, or of what
    /// [`store`](Self::store) said. It is asked for each request that no [route](Self::route) has
    /// answered, and what it makes serves that request: it knows the client. A store itself never
    /// learns its client. A store that a route serves isn't wrapped: put
    /// [`Layered::new`](crate::store::Layered::new) around it there. A
    /// [`Layer`](crate::store::Layer) is the shortest way to make it. If this is called several
    /// times, each `wrap` gets the store that the one before has made.
    ///
    /// `wrap` is called by the listener, as a [`Route`] is: it must not wait, and if it panics, a
    /// reader is left without an answer.
    pub fn wrap_store<S: Store>(
        mut self,
        wrap: impl Fn(&Asked<'_>, Arc<dyn Store>) -> S + Send + Sync + 'static,
    ) -> Self {
        self.wraps.0.push(Box::new(move |asked, store| Arc::new(wrap(asked, store))));
        self
    }

    /// Asks this closure what answers a request, after the routes that were added before.
    pub fn route(self, route: impl Fn(&Asked<'_>) -> Routing + Send + Sync + 'static) -> Self {
        self.route_step(RouteStep::from_fn(route))
    }

    /// Asks this [`Route`], after the routes that were added before.
    pub fn route_by(self, route: impl Route) -> Self {
        self.route_step(RouteStep::new(route))
    }

    /// Asks this step, after the routes that were added before: an actor, by [`RouteStep::asking`].
    pub fn route_step(mut self, step: RouteStep) -> Self {
        self.extensions.routes.push(step);
        self
    }

    /// Has this [`Negotiator`] answer options.
    pub fn negotiator(self, negotiator: impl Negotiator) -> Self {
        self.negotiator_step(NegotiatorStep::new(negotiator))
    }

    /// The same by a step: an actor, by [`NegotiatorStep::asking`].
    pub fn negotiator_step(mut self, step: NegotiatorStep) -> Self {
        self.extensions.negotiators.push(step);
        self
    }

    /// Has `answers` take the datagrams with this opcode, in place of whoever took them before.
    ///
    /// # Panics
    /// If the opcode is one of TFTP's own, 1 to 6.
    pub fn opcode(mut self, opcode: u16, answers: OpcodeStep) -> Self {
        assert!(!(1..=6).contains(&opcode), "opcode {opcode} is TFTP's own: take one beyond 6");
        self.extensions.opcodes.insert(opcode, answers);
        self
    }

    /// Tells this observer what happens. It is called, and must not wait: one that waits is an actor
    /// ([`tell`](Self::tell)).
    pub fn observer(self, observer: impl Observer) -> Self {
        self.shared_observer(Arc::new(observer))
    }

    /// Tells this closure what happens.
    pub fn on_fact(self, hear: impl Fn(&Fact<'_>) + Send + Sync + 'static) -> Self {
        self.observer(Closure(hear))
    }

    /// Tells an observer that the caller keeps a hold of.
    pub fn shared_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.extensions.observers.push(observer);
        self
    }

    /// Tells this actor what happens. A handler that waits returns
    /// [`AtomicResponse`](actix::AtomicResponse): it takes one message after the other, and all are
    /// waited for. What `ResponseFuture`, `ResponseActFuture` or `ctx.spawn` have begun is dropped at
    /// the end, and not counted (unless the future owns the [`Observed`]).
    pub fn tell(self, actor: Recipient<Observed>) -> Self {
        self.observer(Tell::new(actor))
    }

    /// Starts an actor of your own in the server's tree, at once, on [a thread of its
    /// own](ChildSpec::on_own_arbiter): it may block that thread, as for a disk or another server,
    /// and keeps nobody else waiting. One that never blocks may share the thread of the listeners
    /// ([`with_supervisor`](ChildSpec::with_supervisor)), which spares a thread, and the way there.
    ///
    /// Its panics are told to observers; a [permanent](ChildSpec::permanent) one is started again,
    /// and ends the server if it can't be kept alive (within its [limit](ChildSpec::limit): one
    /// that a client's request may make panic had better have an
    /// [endless](crate::supervision::RestartLimit::endless) one). It is stopped after the server's
    /// own actors, so that it is there for as long as transfers may need it. (It is there too if
    /// the server is not started after all.)
    ///
    /// # Panics
    /// Outside of an actix `System`.
    pub fn start_child<A: Actor<Context = Context<A>>>(&mut self, spec: ChildSpec<A>) -> Addr<A> {
        let supervisor = &self.root.get_or_insert_with(Root::start).supervisor;
        #[cfg(feature = "testkit")]
        if Kit::is_in_virtual_time() {
            // (Another thread would have another time.)
            return supervisor.start_child(spec);
        }
        supervisor.starting_apart().start_child(spec)
    }

    /// How long transfers have to end when a signal ends the server.
    #[cfg(feature = "program")]
    pub(super) fn drain_timeout(&self) -> Duration {
        self.settings.drain_timeout
    }

    /// Calls this when the server has started, before [`start`](Self::start) returns it: with it, an
    /// extension of the program has the server's [handle](Server::handle), its
    /// [registry](Server::registry) and its [addresses](Server::addresses). (Counters that it can
    /// keep are an [`Arc<Counters>`](crate::observe::Counters), which is an
    /// [observer](Self::shared_observer).) It is called on the thread of the listeners: it must not
    /// wait. In a [kit](Self::kit) there is no server, and nothing is called.
    ///
    /// ```
    /// use stagecoach::Stagecoach;
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let builder = Stagecoach::builder().on_start(move |server| drop(tell.send(server.handle())));
    /// ```
    pub fn on_start(mut self, hear: impl FnOnce(&Server) + Send + Sync + 'static) -> Self {
        self.hear_start.0.push(Box::new(hear));
        self
    }

    /// Where the server's log goes; nowhere, unless it was said.
    pub fn logger(&self) -> &Logger {
        &self.log
    }

    /// Where the server's log goes.
    pub fn log(self, log: Logger) -> Self {
        Self { log, ..self }
    }

    /// Opens the root, unless there is a [store](Self::store), binds every address, and starts to serve. To be called inside an actix `System`.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(mut self) -> Result<Server, StartError> {
        self.settings.listen.hosts.append(&mut self.listen);
        let Opened { store, directory } = self.open_store()?;
        let sockets = sockets::open(&self.settings, std::mem::take(&mut self.sockets), &self.log)?;
        log_serving(&self.settings, directory.as_deref(), &self.log);
        if directory.is_some() && rustix::process::geteuid().is_root() {
            warn_of_root(&self.settings, &self.log);
        }
        // (From here on whatever fails ends what was started.)
        self.add_built_in_negotiators();
        self.add_wraps(&store);
        let Self { settings, mut extensions, hear_start, root, log, .. } = self;
        extensions.observers.insert(0, Arc::new(LogObserver::new(log.clone())));
        let Settings { arbiters, transfers_max, transfers_per_client_max, read_only, .. } = settings;
        let capacity = Capacity { arbiters, transfers_max, transfers_per_client_max, ..Capacity::default() };
        let service = service(settings, store, extensions, &log);
        let root = root.unwrap_or_else(Root::start);
        let mut server = Server::start_below(root, service, sockets, capacity, &log)?;
        server.directory.clone_from(&directory);
        if let Some(directory) = directory.filter(|_| !read_only) {
            sweep(directory, log);
        }
        hear_start.0.into_iter().for_each(|hear| hear(&server));
        Ok(server)
    }

    /// The same without a network, for tests: no address is listened on. It needs the feature
    /// `testkit`, which is off by default. To be called inside an actix `System`, as
    /// [`Kit::in_virtual_time`] makes it.
    ///
    /// # Errors
    /// [`StartError::Root`].
    #[cfg(feature = "testkit")]
    pub fn kit(mut self) -> Result<Kit, StartError> {
        let Opened { store, .. } = self.open_store()?;
        self.add_built_in_negotiators();
        self.add_wraps(&store);
        let kit = Kit::new(service(self.settings, store, self.extensions, &self.log));
        if let Some(root) = self.root {
            // Its children live on; and of their ends the kit's observers hear.
            root.into_supervisor(kit.service(), &Arc::default());
        }
        Ok(kit)
    }

    /// What of the settings says something about options is asked like any other negotiator, and
    /// before them.
    fn add_built_in_negotiators(&mut self) {
        let mtu = match self.settings.mtu {
            Mtu::Unbounded => None,
            Mtu::OfInterface => {
                let spec = ChildSpec::permanent("interface mtu", |_| InterfaceMtu);
                // (It has nothing to finish.)
                let spec = spec.leaving_mail().stop_within(Duration::ZERO);
                let actor = self.start_child(spec.mailbox(limits::MAILBOX_BUSY));
                let asking = NegotiatorStep::asking(actor.recipient());
                Some(asking.for_option("blksize").for_option("blksize2"))
            }
            octets @ Mtu::Octets(_) => Some(NegotiatorStep::new(octets)),
        };
        let refused = self.settings.refused_options.iter().cloned().map(NegotiatorStep::new);
        self.extensions.negotiators.splice(0..0, refused.chain(mtu));
    }

    /// What stands in front of the store is asked as a route is, after all others.
    fn add_wraps(&mut self, store: &Arc<dyn Store>) {
        let wraps = std::mem::take(&mut self.wraps.0);
        if wraps.is_empty() {
            return;
        }
        let store = Arc::clone(store);
        self.extensions.routes.push(RouteStep::from_fn(move |asked| {
            let wrapped = wraps.iter().fold(Arc::clone(&store), |store, wrap| wrap(asked, store));
            Served::from_store(wrapped).into()
        }));
    }

    /// Opens the root, unless there is a store.
    fn open_store(&mut self) -> Result<Opened, StartError> {
        if let Some(store) = self.store.take() {
            return Ok(Opened { store, directory: None });
        }
        let root = self.root_path.as_ref().unwrap_or(&self.settings.root);
        let log = self.log.clone();
        let directory = Directory::open(root, self.settings.directory)?;
        let directory = Arc::new(directory.telling(move |change| log_root(&log, change)));
        Ok(Opened { store: Arc::<Directory>::clone(&directory), directory: Some(directory) })
    }
}

/// Without extensions.
impl Server {
    /// Opens the root, binds every address, and starts to serve. A [`Builder`](super::Builder) does the same with extensions.
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
        Builder::new().settings(settings.clone()).sockets(sockets).log(log.clone()).start()
    }
}
