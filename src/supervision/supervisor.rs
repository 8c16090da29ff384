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

/// A supervisor: starts children, stops them in order, and gives up when one of them can't be kept alive. This is its handle: it may be
/// used on any thread, and its clones mean the same supervisor. A supervisor with children lives on when all of them are dropped.
#[derive(Debug, Clone)]
pub struct Supervisor {
    name: &'static str,
    tree: Addr<Tree>,
    ended: watch::Receiver<Option<Exit>>,
    ends: Ends,
    /// Children that this handle starts are guests: they have arbiters of their own, unless told
    /// otherwise, and the end waits for them as long as their specifications say.
    starts_apart: bool,
}

impl Supervisor {
    /// Starts a supervisor without a parent, the root of a tree, on the current arbiter.
    ///
    /// `on_exit` hears of every exit in the tree exactly once, nested supervisors' children included, on the arbiter where it happened and
    /// before anything comes of it. It should be quick, as the arbiter waits for it. If it panics, that report is lost and nothing else.
    ///
    /// # Panics
    /// Outside of an actix [`System`](actix::System).
    #[must_use]
    pub fn start(name: &'static str, on_exit: impl Fn(&ChildReport) + Send + Sync + 'static) -> Self {
        let (supervisor, seed) = Self::sow(name);
        let (_, no_orders) = Stopper::new();
        seed.start(Arc::new(on_exit), no_orders, None);
        supervisor
    }

    /// The same supervisor; of the children that this handle starts each lives [on an arbiter of
    /// its own](ChildSpec::on_own_arbiter), unless its specification says otherwise.
    #[must_use]
    pub fn starting_apart(&self) -> Self {
        Self { starts_apart: true, ..self.clone() }
    }

    /// The same supervisor, for its owner: of the children that this handle starts none is a guest.
    pub(crate) fn for_owner(&self) -> Self {
        Self { starts_apart: false, ..self.clone() }
    }

    /// Starts a child. Its address is good at once, and messages wait for it. The children of one arbiter start in the order of the calls.
    ///
    /// A supervisor that is stopping, or has ended, starts nothing: the address is closed then.
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

    /// Starts a supervisor as a child, on the same arbiter. It is stopped like any child, and given as long as its own children take. If
    /// it gives up, so does its parent.
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

    /// Orders it to stop: its children end one after the other, the one that was started last first. Each is waited for until it has
    /// ended, or the time in its specification is over and it is terminated. Then the supervisor ends. The call returns at once.
    pub fn stop(&self) {
        self.tree.do_send(Stop);
    }

    /// The same, and guests are terminated at once, also the one that is waited for.
    pub(crate) fn stop_now(&self) {
        self.tree.do_send(StopNow);
    }

    /// How long the guests may take to end, one after the other, if each has this time at most.
    pub(crate) fn guests_allowed(&self, each_max: Duration) -> Duration {
        self.ends.allowed(each_max)
    }

    /// The child that it waits for while it stops.
    pub(crate) fn awaited(&self) -> Option<Awaited> {
        self.ends.awaited()
    }

    /// Waits until it has ended, and its children before it: [`Exit::Normal`] if it was told to stop, [`Exit::GaveUp`] with the reason if
    /// it gave up, [`Exit::Killed`] if its arbiter ended, or if its parent was stopping when it should have started. Any number may wait.
    pub fn ended(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap_or(Exit::Killed),
                Err(_) => Exit::Killed,
            }
        }
    }

    /// What it is called.
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

/// A supervisor that has a handle already, and is to be started.
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
            // Its children are known to it alone: another life could not answer for them.
            restart: None,
            orders,
            mail: Mail::Left,
            restart_pause: None,
        };
        lives.start(&Arbiter::current(), TreeEnd { gave_up, parent, end: self.end });
    }
}
