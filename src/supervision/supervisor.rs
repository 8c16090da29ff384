//! The handle of a supervisor.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::dev::channel::{self, AddressReceiver, AddressSender};
use actix::{Actor, Addr, Context};
use actix_rt::Arbiter;
use tokio::sync::watch;

use super::apart::start_apart;
use super::child_spec::Place;
use super::ends::{Awaited, Ends};
use super::lives::Lives;
use super::mail::Mail;
use super::restart_pauses::RestartPause;
use super::stopper::Orders;
use super::tree::{Child, Kind, OnExit, Reporter, StartChild, Stop, StopNow, Tree, TreeEnd};
use super::{ChildReport, ChildSpec, Exit, Stopper};
use crate::limits;

/// A supervisor: it starts children, stops them in order, and gives up if a permanent child fails
/// too often. This is its handle, which can be used on any thread; clones refer to the same
/// supervisor. A supervisor with children goes on when all handles are dropped.
#[derive(Debug, Clone)]
pub struct Supervisor {
    name: &'static str,
    tree: Addr<Tree>,
    ended: watch::Receiver<Option<Exit>>,
    ends: Ends,
    /// Whether children that this handle starts are guests: they have arbiters of their own by
    /// default, and the end waits for each as long as its specification says.
    starts_apart: bool,
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
        let (supervisor, seed) = Self::sow(name);
        let (_, no_orders) = Stopper::new();
        seed.start(Arc::new(on_exit), no_orders, None);
        supervisor
    }

    /// A handle to the same supervisor. Children that it starts run [on an arbiter of their
    /// own](ChildSpec::on_own_arbiter), unless their specification says otherwise.
    #[must_use]
    pub fn starting_apart(&self) -> Self {
        Self { starts_apart: true, ..self.clone() }
    }

    /// A handle to the same supervisor, for its owner: children that it starts are not guests.
    pub(crate) fn for_owner(&self) -> Self {
        Self { starts_apart: false, ..self.clone() }
    }

    /// Starts a child. Messages can be sent to its address at once. Children of one arbiter start
    /// in the order of the calls.
    ///
    /// If the supervisor is stopping or has ended, nothing starts, and the address is closed.
    pub fn start_child<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> Addr<A> {
        let (stopper, orders) = Stopper::new();
        let kind = if spec.restart.is_some() { Kind::Permanent } else { Kind::Temporary };
        let mailbox = channel::channel(spec.mailbox);
        let address = Addr::new(mailbox.0.clone());
        let restart = spec.restart.map(|restart| (spec.limit, restart));
        let restart_pause = restart.is_some().then(|| RestartPause::enter(spec.name, &address));
        let (orders_heard, mail) = (orders.clone(), spec.mail);
        let lives =
            Lives { mailbox, factory: spec.factory, restart, orders: orders_heard, mail, restart_pause };
        let usual = if self.starts_apart { Place::Own } else { Place::WithSupervisor };
        let place = spec.place.unwrap_or(usual);
        let start = move |reporter| match place {
            Place::WithSupervisor => drop(lives.start(&Arbiter::current(), reporter)),
            Place::Own => start_apart(lives, reporter),
            Place::On(arbiter) => drop(lives.start(&arbiter, reporter)),
        };
        let is_guest = self.starts_apart;
        let child =
            Child { name: spec.name, kind, stopper, stop_within: spec.stop_within, is_guest, below: None };
        self.tree.do_send(StartChild { child, orders, start: Box::new(start) });
        address
    }

    /// Starts a supervisor as a child, on the same arbiter. It is stopped like any child, and may
    /// take as long as its own children. If it gives up, so does its parent.
    #[must_use]
    pub fn start_supervisor(&self, name: &'static str) -> Self {
        let (mut supervisor, seed) = Self::sow(name);
        supervisor.starts_apart = self.starts_apart;
        let (stopper, orders) = Stopper::new();
        let heard = orders.clone();
        let start = |reporter: Reporter| seed.start(Arc::clone(reporter.on_exit()), heard, Some(reporter));
        let child = Child {
            name,
            kind: Kind::Supervisor,
            stopper,
            stop_within: limits::STOP_WITHIN_MAX,
            is_guest: self.starts_apart,
            below: Some((supervisor.tree.downgrade(), supervisor.ends.clone())),
        };
        self.tree.do_send(StartChild { child, orders, start: Box::new(start) });
        supervisor
    }

    /// Orders the supervisor to stop, and returns at once. Its children end one after the other, in
    /// reverse order of their start. Each has the time of its specification, after which it is
    /// terminated. Then the supervisor ends.
    pub fn stop(&self) {
        self.tree.do_send(Stop);
    }

    /// The same, but guests are terminated at once, including the one that is waited for.
    pub(crate) fn stop_now(&self) {
        self.tree.do_send(StopNow);
    }

    /// How long the guests may take to end, one after the other, with at most `each_max` for each.
    pub(crate) fn guests_allowed(&self, each_max: Duration) -> Duration {
        self.ends.allowed(each_max)
    }

    pub(crate) fn awaited(&self) -> Option<Awaited> {
        self.ends.awaited()
    }

    /// Waits until the supervisor and its children have ended. The result is [`Exit::Normal`] after
    /// an order to stop, [`Exit::GaveUp`] with the reason if it gave up, and [`Exit::Killed`] if
    /// its arbiter ended, or if its parent was already stopping at its start. Any number of callers
    /// may wait.
    pub fn ended(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap_or(Exit::Killed),
                Err(_) => Exit::Killed,
            }
        }
    }

    /// The name of the supervisor.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn sow(name: &'static str) -> (Self, Seed) {
        let (sender, receiver) = channel::channel(limits::MAILBOX_BUSY);
        let tree = Addr::new(sender.clone());
        let (end, ended) = watch::channel(None);
        let ends = Ends::default();
        let seed = Seed { mailbox: (sender, receiver), end, ends: ends.clone() };
        (Self { name, tree, ended, ends, starts_apart: false }, seed)
    }
}

/// A supervisor that has a handle, but is not started yet.
struct Seed {
    mailbox: (AddressSender<Tree>, AddressReceiver<Tree>),
    end: watch::Sender<Option<Exit>>,
    ends: Ends,
}

impl Seed {
    fn start(self, on_exit: OnExit, orders: Orders, parent: Option<Reporter>) {
        let gave_up = Arc::new(OnceLock::new());
        let tree = Tree::new(on_exit, self.ends, Arc::clone(&gave_up));
        let lives = Lives {
            mailbox: self.mailbox,
            factory: Box::new(|_| tree),
            // Only the supervisor knows its children, so a restart would lose them.
            restart: None,
            orders,
            mail: Mail::Left,
            restart_pause: None,
        };
        lives.start(&Arbiter::current(), TreeEnd { gave_up, parent, end: self.end });
    }
}
