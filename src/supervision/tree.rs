//! The actor behind a supervisor's handle.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Running, WeakAddr};
use tokio::sync::watch;

use super::caught::contained;
use super::ends::{Ending, Ends, Takes};
use super::lives::Witness;
use super::stopper::Orders;
use super::{ChildReport, Exit, Follows, Stopper};
use crate::limits;

pub(super) type OnExit = Arc<dyn Fn(&ChildReport) + Send + Sync>;

/// Keeps the children, and stops them one after the other.
pub(super) struct Tree {
    on_exit: OnExit,
    children: BTreeMap<u64, Child>,
    last_id: u64,
    stopping: bool,
    at_once: bool,
    ends: Ends,
    awaited: Option<u64>,
    gave_up: Arc<OnceLock<String>>,
}

pub(super) struct Child {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) stopper: Stopper,
    pub(super) stop_within: Duration,
    /// Whether the child belongs to an extension, not to the owner of the supervisor, such as a
    /// server.
    pub(super) is_guest: bool,
    /// For a supervisor: its tree. Weak, so that an unused supervisor ends.
    pub(super) below: Option<(WeakAddr<Tree>, Ends)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Permanent,
    Temporary,
    Supervisor,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StartChild {
    pub(super) child: Child,
    pub(super) orders: Orders,
    pub(super) start: Box<dyn FnOnce(Reporter) + Send>,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// Stops the children, then the supervisor; guests get no time for it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopNow;

#[derive(Message)]
#[rtype(result = "()")]
struct Ended {
    id: u64,
    /// Why its supervisor can't go on without the child.
    gives_up: Option<String>,
}

/// A child was terminated, and its net should have reported that by now.
#[derive(Message)]
#[rtype(result = "()")]
struct Overdue(u64);

impl Tree {
    pub(super) fn new(on_exit: OnExit, ends: Ends, gave_up: Arc<OnceLock<String>>) -> Self {
        let children = BTreeMap::new();
        Self { on_exit, children, last_id: 0, stopping: false, at_once: false, ends, awaited: None, gave_up }
    }

    /// Stops the child that was started last, or the supervisor itself if there is none.
    fn stop_next(&mut self, ctx: &mut Context<Self>) {
        let Some((&id, child)) = self.children.last_key_value() else { return ctx.stop() };
        if self.awaited == Some(id) {
            return;
        }
        self.awaited = Some(id);
        self.ends.wait_for(id);
        self.order(id, child, ctx);
    }

    /// Orders a child to stop. A second order can only shorten its time.
    fn order(&self, id: u64, child: &Child, ctx: &mut Context<Self>) {
        let ends_now = self.at_once && child.is_guest && child.kind != Kind::Supervisor;
        let within = if ends_now { Duration::ZERO } else { child.stop_within };
        match &child.below {
            Some((tree, _)) => {
                child.stopper.stop(within);
                if self.at_once
                    && let Some(tree) = tree.upgrade()
                {
                    tree.do_send(StopNow);
                }
            }
            None => {
                child.stopper.stop(within);
                ctx.notify_later(Overdue(id), within + limits::TERMINATED_WITHIN);
            }
        }
    }

    fn forget(&mut self, id: u64, ctx: &mut Context<Self>) {
        self.children.remove(&id);
        self.ends.leave(id);
        if self.stopping {
            self.stop_next(ctx);
        }
    }
}

impl Actor for Tree {
    type Context = Context<Self>;

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        self.stopping = true;
        self.stop_next(ctx);
        if self.children.is_empty() { Running::Stop } else { Running::Continue }
    }
}

impl Drop for Tree {
    /// The arbiter ended: children on other arbiters must not go on alone.
    fn drop(&mut self) {
        for child in self.children.values().rev() {
            child.stopper.stop(child.stop_within);
        }
    }
}

impl Handler<StartChild> for Tree {
    type Result = ();

    fn handle(&mut self, StartChild { child, orders, start }: StartChild, ctx: &mut Self::Context) {
        if self.stopping {
            return;
        }
        self.last_id += 1;
        let (id, name, kind) = (self.last_id, child.name, child.kind);
        let takes = match &child.below {
            Some((_, ends)) => Takes::Supervisor(ends.clone()),
            None if child.is_guest => Takes::Guest(child.stop_within),
            None => Takes::Own,
        };
        self.ends.enter(id, Ending { name, takes });
        self.children.insert(id, child);
        let (on_exit, tree) = (Arc::clone(&self.on_exit), ctx.address());
        start(Reporter { id, name, kind, orders, on_exit, tree });
    }
}

impl Handler<Stop> for Tree {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<StopNow> for Tree {
    type Result = ();

    fn handle(&mut self, _: StopNow, ctx: &mut Self::Context) {
        self.at_once = true;
        match self.awaited.and_then(|id| Some((id, self.children.get(&id)?))) {
            Some((id, child)) => self.order(id, child, ctx),
            None => ctx.stop(),
        }
    }
}

impl Handler<Ended> for Tree {
    type Result = ();

    fn handle(&mut self, Ended { id, gives_up }: Ended, ctx: &mut Self::Context) {
        self.forget(id, ctx);
        if let Some(why) = gives_up
            && !self.stopping
        {
            // The cell is empty: a supervisor gives up once.
            let _ = self.gave_up.set(why);
            ctx.stop();
        }
    }
}

impl Handler<Overdue> for Tree {
    type Result = ();

    /// The child's arbiter is blocked. It may never end, and the other children must not wait for
    /// it.
    fn handle(&mut self, Overdue(id): Overdue, ctx: &mut Self::Context) {
        self.forget(id, ctx);
    }
}

pub(super) struct Reporter {
    id: u64,
    name: &'static str,
    kind: Kind,
    orders: Orders,
    on_exit: OnExit,
    tree: Addr<Tree>,
}

impl Reporter {
    pub(super) fn on_exit(&self) -> &OnExit {
        &self.on_exit
    }

    fn report(&self, exit: Exit, follows: Follows) {
        let report = ChildReport { child: self.name, exit, follows };
        // The hook is the program's code; a panic in it must not change what follows.
        contained(|| (self.on_exit)(&report));
    }

    fn gives_up(&self, exit: &Exit) -> bool {
        let failed = match self.kind {
            Kind::Permanent => true,
            Kind::Temporary => false,
            // The supervisor's own handle may have stopped it.
            Kind::Supervisor => *exit != Exit::Normal,
        };
        failed && !self.orders.given()
    }
}

impl Witness for Reporter {
    fn restarts(&mut self, exit: Exit, after: Duration) {
        self.report(exit, Follows::Restart { after });
    }

    fn ended(self, exit: Exit) {
        let gives_up = self.gives_up(&exit).then(|| format!("the {} {exit}", self.name));
        self.report(exit, if gives_up.is_some() { Follows::GiveUp } else { Follows::End });
        // Not `try_send`: no end may be lost, and there are no more of these messages than
        // children.
        self.tree.do_send(Ended { id: self.id, gives_up });
    }
}

/// Reports a supervisor's own end, to its parent and to callers that wait for it.
pub(super) struct TreeEnd {
    pub(super) gave_up: Arc<OnceLock<String>>,
    pub(super) parent: Option<Reporter>,
    pub(super) end: watch::Sender<Option<Exit>>,
}

impl Witness for TreeEnd {
    /// A supervisor is temporary.
    fn restarts(&mut self, _: Exit, _: Duration) {}

    fn ended(self, exit: Exit) {
        let exit = match (exit, self.gave_up.get()) {
            (Exit::Normal, Some(why)) => Exit::GaveUp(why.clone()),
            (exit, _) => exit,
        };
        if let Some(parent) = self.parent {
            parent.ended(exit.clone());
        }
        self.end.send_replace(Some(exit));
    }
}
