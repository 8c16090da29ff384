//! The handle of a supervisor.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::dev::channel;
use actix::{Actor, Addr, Context};
use actix_rt::Arbiter;
use tokio::sync::watch;
use tokio::time::Instant;

use super::child_spec::Place;
use super::lives::Lives;
use super::restart_pauses::RestartPause;
use super::stopper::Orders;
use super::tree::{Child, Children, OnExit, Reporter, StartChild, Stop, Tree};
use super::{ChildReport, ChildSpec, Exit, Follows, Stopper};
use crate::limits;

/// A supervisor: it starts children, stops them in order, and gives up if a permanent child fails
/// too often. This is its handle, which can be used on any thread; clones refer to the same
/// supervisor. A supervisor with children goes on when all handles are dropped.
#[derive(Debug, Clone)]
pub struct Supervisor {
    name: &'static str,
    tree: Addr<Tree>,
    ended: watch::Receiver<Option<Exit>>,
    children: Children,
    /// Whether children that this handle starts belong to extensions: they have arbiters of their
    /// own by default, and the end waits for each as long as its specification says.
    for_extensions: bool,
}

impl Supervisor {
    /// Starts a supervisor without a parent, the root of a tree, on the current arbiter.
    ///
    /// `on_exit` gets every exit in the tree exactly once, including those of nested supervisors'
    /// children. It runs on the arbiter of the exit, before anything follows. It should be quick,
    /// as the arbiter waits for it. If it panics, only that report is lost.
    ///
    /// # Panics
    /// If called outside of an actix [`System`](actix::System).
    #[must_use]
    pub fn start(name: &'static str, on_exit: impl Fn(&ChildReport) + Send + Sync + 'static) -> Self {
        let (supervisor, start) = Self::new(name);
        let (_, no_orders) = Stopper::new();
        start(Arc::new(on_exit), no_orders, None);
        supervisor
    }

    /// A handle to the same supervisor. Children that it starts run [on an arbiter of their
    /// own](ChildSpec::on_own_arbiter), unless their specification says otherwise.
    #[must_use]
    pub fn starting_apart(&self) -> Self {
        Self { for_extensions: true, ..self.clone() }
    }

    /// A handle to the same supervisor, for its owner: children that it starts are its own.
    pub(crate) fn for_owner(&self) -> Self {
        Self { for_extensions: false, ..self.clone() }
    }

    /// Starts a child. Messages can be sent to its address at once. Children of one arbiter start
    /// in the order of the calls.
    ///
    /// If the supervisor is stopping or has ended, nothing starts, and the address is closed.
    pub fn start_child<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> Addr<A> {
        let (stopper, orders) = Stopper::new();
        let mailbox = channel::channel(spec.mailbox);
        let address = Addr::new(mailbox.0.clone());
        let child = Child {
            name: spec.name,
            is_permanent: spec.restart.is_some(),
            stopper,
            stop_within: spec.stop_within,
            is_extension: self.for_extensions,
            below: None,
        };
        let lives = Lives {
            restart_pause: spec.restart.map(|_| RestartPause::enter(spec.name, &address)).unwrap_or_default(),
            mailbox,
            factory: spec.factory,
            restart: spec.restart.map(|restart| (spec.limit, restart)),
            orders,
            leaves_mail: spec.leaves_mail,
        };
        let usual = if self.for_extensions { Place::Own } else { Place::WithSupervisor };
        let place = spec.place.unwrap_or(usual);
        let start = move |mut reporter: Reporter| {
            let arbiter = match place {
                Place::WithSupervisor => Arbiter::current(),
                Place::On(arbiter) => arbiter,
                Place::Own => match Arbiter::try_new() {
                    Ok(arbiter) => reporter.own_arbiter.insert(arbiter.handle()).clone(),
                    Err(error) => {
                        let why = format!("there is no thread for it: {error}");
                        return reporter.exited(Exit::Panicked(why), Follows::End);
                    }
                },
            };
            lives.start(&arbiter, move |exit, follows| reporter.exited(exit, follows));
        };
        self.tree.do_send(StartChild { child, start: Box::new(start) });
        address
    }

    /// Starts a supervisor as a child, on the same arbiter. It is stopped like any child, and may
    /// take as long as its own children. If it gives up, so does its parent.
    #[must_use]
    pub fn start_supervisor(&self, name: &'static str) -> Self {
        let (supervisor, start) = Self::new(name);
        let (stopper, orders) = Stopper::new();
        let start = |reporter: Reporter| start(Arc::clone(&reporter.on_exit), orders, Some(reporter));
        let child = Child {
            name,
            is_permanent: true,
            stopper,
            stop_within: limits::STOP_WITHIN_MAX,
            is_extension: self.for_extensions,
            below: Some((supervisor.tree.downgrade(), supervisor.children.clone())),
        };
        self.tree.do_send(StartChild { child, start: Box::new(start) });
        Self { for_extensions: self.for_extensions, ..supervisor }
    }

    /// Orders the supervisor to stop, and returns at once. Its children end one after the other, in
    /// reverse order of their start; then the supervisor ends.
    pub fn stop(&self) {
        self.tree.do_send(Stop { at_once: false });
    }

    /// The same, but actors of extensions are terminated at once, including the one that is waited
    /// for.
    pub(crate) fn stop_now(&self) {
        self.tree.do_send(Stop { at_once: true });
    }

    /// How long the actors of extensions may take to end, with at most `each_max` for each.
    pub(crate) fn extensions_allowed(&self, each_max: Duration) -> Duration {
        self.children.extensions_allowed(each_max)
    }

    /// The name of the child that a stop waits for, and since when.
    pub(crate) fn awaited(&self) -> Option<(&'static str, Instant)> {
        self.children.awaited()
    }

    /// Waits until the supervisor and its children have ended. The result is [`Exit::Normal`] after
    /// an order to stop, [`Exit::GaveUp`] with the reason if it gave up, and [`Exit::Killed`] if
    /// its arbiter ended, or if its parent was already stopping at its start. Any number of callers
    /// may wait.
    pub fn ended(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            let exit = ended.wait_for(Option::is_some).await;
            exit.ok().and_then(|exit| exit.clone()).unwrap_or(Exit::Killed)
        }
    }

    /// The name of the supervisor.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The handle of a supervisor, and what starts it.
    fn new(name: &'static str) -> (Self, impl FnOnce(OnExit, Orders, Option<Reporter>) + Send) {
        let mailbox = channel::channel(limits::MAILBOX_BUSY);
        let (tree, children) = (Addr::new(mailbox.0.clone()), Children::default());
        let (end, ended) = watch::channel(None);
        let supervisor = Self { name, tree, ended, children: children.clone(), for_extensions: false };
        let start = move |on_exit, orders, mut parent: Option<Reporter>| {
            let gave_up = Arc::new(OnceLock::new());
            let tree = Tree::new(on_exit, children, Arc::clone(&gave_up));
            let lives = Lives {
                restart_pause: RestartPause::default(),
                mailbox,
                factory: Box::new(|_| tree),
                // Only the supervisor knows its children, so a restart would lose them.
                restart: None,
                orders,
                leaves_mail: true,
            };
            lives.start(&Arbiter::current(), move |exit, _| {
                let exit = match (exit, gave_up.get()) {
                    (Exit::Normal, Some(why)) => Exit::GaveUp(why.clone()),
                    (exit, _) => exit,
                };
                if let Some(parent) = &mut parent {
                    // The supervisor's own handle may have stopped it.
                    parent.is_permanent = exit != Exit::Normal;
                    parent.exited(exit.clone(), Follows::End);
                }
                end.send_replace(Some(exit));
            });
        };
        (supervisor, start)
    }
}
