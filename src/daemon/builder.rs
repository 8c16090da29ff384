//! Assembles a server from settings and extensions.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use actix::{Actor, Addr, Context};
use slog::{Drain, Logger, o};

use super::current::{Current, Opened};
use super::extensions::{Extensions, interface_mtu};
use super::root::Root;
use super::server::Server;
use super::startup::{log_serving, sweep, warn_of_root};
use super::{StartError, sockets};
use crate::actors::Service;
use crate::extend::{Asked, NegotiatorStep, OpcodeStep, RouteStep};
use crate::observe::{LogObserver, Observer};
use crate::settings::Settings;
use crate::store::Store;
use crate::supervision::{ChildSpec, RestartLimit};
#[cfg(feature = "testkit")]
use crate::testkit::Kit;

/// The entry point: [`Stagecoach::builder`].
#[derive(Debug, Clone, Copy)]
pub struct Stagecoach;

impl Stagecoach {
    /// Begins a server that isn't started yet. By default it serves the current directory on port
    /// 9069, and logs nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use stagecoach::Stagecoach;
    /// use stagecoach::extend::{Asked, Routing};
    ///
    /// # actix::System::new().block_on(async {
    /// let mut server = Stagecoach::builder()
    ///     .root("/")
    ///     .listen(([127, 0, 0, 1], 0).into())
    ///     .route(|asked: &Asked<'_>| match &*asked.name() {
    ///         "hello" => Routing::octets(format!("hello, {}\n", asked.peer.ip())),
    ///         _ => Routing::Pass,
    ///     })
    ///     .start()?;
    /// let handle = server.handle();
    /// // At any time, on any thread: live transfers get ten seconds to end.
    /// std::thread::spawn(move || handle.drain(Duration::from_secs(10)));
    /// // Carries out the handle's orders, and returns when the server has ended.
    /// server.serve(|| Ok(())).await?;
    /// # Ok::<(), stagecoach::daemon::RunError>(())
    /// # })?;
    /// # Ok::<(), stagecoach::daemon::RunError>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// A server that isn't started yet. It shares nothing with other servers of the process.
#[derive(Debug)]
#[must_use = "nothing is served before it is started"]
pub struct Builder {
    settings: Settings,
    /// Values that replace those in the settings, whether set before or after them.
    root_path: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    sockets: Vec<UdpSocket>,
    store: Option<Arc<dyn Store>>,
    extensions: Extensions,
    observers: Vec<Arc<dyn Observer>>,
    hear_start: HearStart,
    root: Option<Root>,
    log: Logger,
}

/// Functions to call when the server has started.
#[derive(Default)]
struct HearStart(Vec<OnStart>);

type OnStart = Box<dyn FnOnce(&Server) + Send + Sync>;

impl fmt::Debug for HearStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} closures", self.0.len())
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings::default(),
            root_path: None,
            listen: Vec::new(),
            sockets: Vec::new(),
            store: None,
            extensions: Extensions::default(),
            observers: Vec::new(),
            hear_start: HearStart::default(),
            root: None,
            log: Logger::root(slog::Discard, o!()),
        }
    }

    /// Replaces all settings: they have everything that the flags of `stagecoach` can say.
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The settings, which can be read and changed before the start. An extension of the program
    /// finds the values of the flags here.
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

    /// Sets the directory to serve.
    pub fn root(self, root: impl Into<PathBuf>) -> Self {
        Self { root_path: Some(root.into()), ..self }
    }

    /// Adds an address to listen on. If the settings name no address, these replace the default,
    /// which is every address on port 9069.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Takes requests from sockets that are bound already. If there are any, the server binds no
    /// address.
    pub fn sockets(mut self, sockets: impl IntoIterator<Item = UdpSocket>) -> Self {
        self.sockets.extend(sockets);
        self
    }

    /// Serves files from this store instead of a directory.
    pub fn store(self, store: impl Store) -> Self {
        Self { store: Some(Arc::new(store)), ..self }
    }

    /// Puts a store in front of the store: in front of the directory, or of the one set with
    /// [`store`](Self::store). A [`Layer`](crate::store::Layer) is the shortest way to write one.
    /// If this is called several times, each `wrap` gets the store that the previous one returned.
    ///
    /// `wrap` is called for each request that no [route](Self::route) has answered, and the store
    /// that it returns serves that request. `wrap` knows the client of the request; a store itself
    /// does not. A store that a route serves isn't wrapped: wrap it in the route with
    /// [`Layered::new`](crate::store::Layered::new).
    /// The listener calls `wrap`, as it calls a [`Route`](crate::extend::Route): it must not block,
    /// and if it panics, a read gets no answer.
    pub fn wrap_store<S: Store>(
        mut self,
        wrap: impl Fn(&Asked<'_>, Arc<dyn Store>) -> S + Send + Sync + 'static,
    ) -> Self {
        self.extensions.wraps.0.push(Arc::new(move |asked, store| Arc::new(wrap(asked, store))));
        self
    }

    /// Adds a route: a [`Route`](crate::extend::Route), a closure, the `Recipient` of an actor, or
    /// a [`RouteStep`] with further settings. Routes are asked in the order in which they were
    /// added.
    pub fn route(mut self, route: impl Into<RouteStep>) -> Self {
        self.extensions.routes.push(route.into());
        self
    }

    /// Adds a negotiator of options: a [`Negotiator`](crate::extend::Negotiator), a closure, the
    /// `Recipient` of an actor, or a [`NegotiatorStep`] with further settings.
    pub fn negotiator(mut self, negotiator: impl Into<NegotiatorStep>) -> Self {
        self.extensions.negotiators.push(negotiator.into());
        self
    }

    /// Answers datagrams with this opcode by `answers`: an [`Opcode`](crate::extend::Opcode), a
    /// closure, the `Recipient` of an actor, or an [`OpcodeStep`] with further settings. An earlier
    /// step for the opcode is replaced.
    ///
    /// # Panics
    /// If the opcode is one of TFTP's own, 1 to 6.
    pub fn opcode(mut self, opcode: u16, answers: impl Into<OpcodeStep>) -> Self {
        assert!(!(1..=6).contains(&opcode), "opcode {opcode} is TFTP's own: take one beyond 6");
        self.extensions.opcodes.insert(opcode, answers.into());
        self
    }

    /// Adds an observer: an [`Observer`], an `Arc` of one that the caller keeps, a closure, or an
    /// actor by a [`ActorObserver`](crate::extend::ActorObserver). An observer is called directly,
    /// and must not block; an observer that needs to block is an actor.
    ///
    /// A handler of the actor that awaits something should return
    /// [`AtomicResponse`](actix::AtomicResponse): the actor then handles one message at a time, and
    /// the server waits for all of them at its end. Futures of `ResponseFuture`,
    /// `ResponseActFuture` or `ctx.spawn` are dropped at the end, and their facts are not counted
    /// as lost (unless the future owns the [`Observed`](crate::extend::Observed)).
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Starts an actor in the server's tree at once, on [a thread of its
    /// own](ChildSpec::on_own_arbiter). It may block that thread, for example on a disk or another
    /// server, without delaying anything else. An actor that never blocks can share the thread of
    /// the listeners ([`with_supervisor`](ChildSpec::with_supervisor)), which saves a thread and
    /// makes messages to it cheaper.
    /// Its panics are reported to observers. A [permanent](ChildSpec::permanent) actor is
    /// restarted; if it fails more often than its [limit](ChildSpec::limit) allows, the server
    /// ends. If a client's request can make the actor panic, give it an
    /// [endless](crate::supervision::RestartLimit::endless) limit. It is stopped after the server's
    /// own actors, so that transfers can use it until they end. It also runs if the server is never
    /// started.
    ///
    /// # Panics
    /// If called outside of an actix `System`.
    pub fn start_child<A: Actor<Context = Context<A>>>(&mut self, spec: ChildSpec<A>) -> Addr<A> {
        let supervisor = &self.root.get_or_insert_with(Root::start).supervisor;
        #[cfg(feature = "testkit")]
        if Kit::is_in_virtual_time() {
            // An arbiter of its own would have another clock than the test's virtual time.
            return supervisor.start_child(spec);
        }
        supervisor.starting_apart().start_child(spec)
    }

    /// Calls `hear` when the server has started, before [`start`](Self::start) returns the server.
    /// With it, an extension of the program gets the server's [handle](Server::handle),
    /// [registry](Server::registry) and [addresses](Server::addresses). To keep counters, add an
    /// [`Arc<Counters>`](crate::observe::Counters) as an [observer](Self::observer). `hear`
    /// runs on the thread of the listeners and must not block. A kit for tests has no server,
    /// and doesn't call `hear`.
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

    /// The server's log. By default it discards all lines.
    pub fn logger(&self) -> &Logger {
        &self.log
    }

    /// Sets the server's log.
    pub fn log(self, log: Logger) -> Self {
        Self { log, ..self }
    }

    /// Opens the root unless there is a [store](Self::store), binds every address, and starts to
    /// serve. Call it inside an actix `System`.
    ///
    /// # Errors
    /// [`StartError`]; in that case nothing is left running.
    pub fn start(mut self) -> Result<Server, StartError> {
        let opened = self.open()?;
        let sockets = sockets::open(&self.settings, std::mem::take(&mut self.sockets), &self.log)?;
        log_serving(&self.settings, opened.directory.as_deref(), &self.log);
        if opened.directory.is_some() && rustix::process::geteuid().is_root() {
            warn_of_root(&self.settings, &self.log);
        }
        // From here on, every failure ends what was started.
        self.observers.insert(0, Arc::new(LogObserver::new(self.log.clone())));
        let service = self.service(&opened);
        let Self { settings, extensions, hear_start, root, log, .. } = self;
        let root = root.unwrap_or_else(Root::start);
        let restarts = RestartLimit::default();
        let current = Current::new(settings, opened);
        let server = Server::start_below(root, service, sockets, current, extensions, restarts, &log)?;
        sweep(&server.current, &log);
        hear_start.0.into_iter().for_each(|hear| hear(&server));
        Ok(server)
    }

    /// Makes a [`Kit`] for tests instead of a server: it has no network and listens on no address.
    /// This needs the Cargo feature `testkit`, which is off by default. Call it inside an actix
    /// `System`, as [`Kit::in_virtual_time`] makes it.
    ///
    /// # Errors
    /// [`StartError::Root`].
    #[cfg(feature = "testkit")]
    pub fn kit(mut self) -> Result<Kit, StartError> {
        let opened = self.open()?;
        let kit = Kit::new(self.service(&opened));
        if let Some(root) = self.root {
            // The kit's observers hear when children end.
            root.into_supervisor(kit.service(), &Arc::default());
        }
        Ok(kit)
    }

    /// Opens what is served, unless there is a [store](Self::store).
    fn open(&mut self) -> Result<Opened, StartError> {
        self.settings.listen.hosts.append(&mut self.listen);
        if let Some(root) = self.root_path.take() {
            self.settings.root = root;
        }
        match self.store.take() {
            Some(store) => Ok(Opened { store, directory: None }),
            None => Ok(Opened::root_of(&self.settings, &self.log)?),
        }
    }

    fn service(&mut self, opened: &Opened) -> Service {
        if self.extensions.needs_actor(&self.settings) {
            self.extensions.interface_mtu = Some(self.start_child(interface_mtu()).recipient());
        }
        let mut service = Service::new(self.extensions.config(&self.settings, &opened.store));
        service.observers = std::mem::take(&mut self.observers);
        service.single_port = self.settings.single_port;
        service.packet_log = self.log.is_enabled(slog::Level::Trace).then(|| self.log.clone());
        service.chaos = self.settings.chaos.clone();
        service
    }
}

impl Server {
    /// Opens the root, binds every address, and starts to serve. A [`Builder`](super::Builder) does
    /// the same with extensions.
    ///
    /// # Errors
    /// [`StartError`]; in that case nothing is left running.
    pub fn start(settings: &Settings, log: &Logger) -> Result<Self, StartError> {
        Builder::new().settings(settings.clone()).log(log.clone()).start()
    }
}
