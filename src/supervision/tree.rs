//! The actor behind a supervisor's handle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Running, WeakAddr};
use actix_rt::ArbiterHandle;
use tokio::time::Instant;

use super::caught::contained;
use super::{ChildReport, Exit, Follows, Stopper};
use crate::limits;

pub(super) type OnExit = Arc<dyn Fn(&ChildReport) + Send + Sync>;

/// Keeps the children, and stops them one after the other.
pub(super) struct Tree {
    on_exit: OnExit,
    children: Children,
    last_id: u64,
    stopping: bool,
    at_once: bool,
    gave_up: Arc<OnceLock<String>>,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StartChild {
    pub(super) child: Child,
    pub(super) start: Box<dyn FnOnce(Reporter) + Send>,
}

/// Stops the children, then the supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop {
    /// Whether actors of extensions get no time for it.
    pub(super) at_once: bool,
}

/// A child has ended, or was terminated and should have reported its end by now.
#[derive(Message)]
#[rtype(result = "()")]
struct Ended {
    id: u64,
    /// Why its supervisor can't go on without the child.
    gives_up: Option<String>,
}

impl Tree {
    pub(super) fn new(on_exit: OnExit, children: Children, gave_up: Arc<OnceLock<String>>) -> Self {
        Self { on_exit, children, last_id: 0, stopping: false, at_once: false, gave_up }
    }

    /// Stops the child that was started last, or the supervisor itself if there is none.
    fn stop_next(&self, ctx: &mut Context<Self>) {
        let table = &mut *self.children.table();
        let Some((&id, child)) = table.children.last_key_value() else { return ctx.stop() };
        if table.awaited.is_none_or(|(awaited, _)| awaited != id) {
            table.awaited = Some((id, Instant::now()));
            self.order(id, child, ctx);
        }
    }

    /// Orders a child to stop. A second order can only shorten its time.
    fn order(&self, id: u64, child: &Child, ctx: &mut Context<Self>) {
        if let Some((tree, _)) = &child.below {
            child.stopper.stop(child.stop_within);
            if self.at_once
                && let Some(tree) = tree.upgrade()
            {
                tree.do_send(Stop { at_once: true });
            }
            return;
        }
        let ends_now = self.at_once && child.is_extension;
        let within = if ends_now { Duration::ZERO } else { child.stop_within };
        child.stopper.stop(within);
        // If its arbiter is blocked, it may never end, and the other children must not wait for it.
        ctx.notify_later(Ended { id, gives_up: None }, within + limits::TERMINATED_WITHIN);
    }
}

impl Actor for Tree {
    type Context = Context<Self>;

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        self.stopping = true;
        self.stop_next(ctx);
        if self.children.table().children.is_empty() { Running::Stop } else { Running::Continue }
    }
}

impl Drop for Tree {
    /// The arbiter ended: children on other arbiters must not go on alone.
    fn drop(&mut self) {
        for child in self.children.table().children.values().rev() {
            child.stopper.stop(child.stop_within);
        }
    }
}

impl Handler<StartChild> for Tree {
    type Result = ();

    fn handle(&mut self, StartChild { child, start }: StartChild, ctx: &mut Self::Context) {
        if self.stopping {
            return;
        }
        self.last_id += 1;
        let reporter = Reporter {
            id: self.last_id,
            name: child.name,
            is_permanent: child.is_permanent,
            stopper: child.stopper.clone(),
            on_exit: Arc::clone(&self.on_exit),
            tree: ctx.address(),
            own_arbiter: None,
        };
        self.children.table().children.insert(self.last_id, child);
        start(reporter);
    }
}

impl Handler<Stop> for Tree {
    type Result = ();

    fn handle(&mut self, Stop { at_once }: Stop, ctx: &mut Self::Context) {
        self.at_once |= at_once;
        let table = self.children.table();
        match table.awaited.and_then(|(id, _)| Some((id, table.children.get(&id)?))) {
            Some((id, child)) if at_once => self.order(id, child, ctx),
            _ => ctx.stop(),
        }
    }
}

impl Handler<Ended> for Tree {
    type Result = ();

    fn handle(&mut self, Ended { id, gives_up }: Ended, ctx: &mut Self::Context) {
        self.children.table().children.remove(&id);
        if self.stopping {
            self.stop_next(ctx);
        } else if let Some(why) = gives_up {
            // The cell is empty: a supervisor gives up once.
            let _ = self.gave_up.set(why);
            ctx.stop();
        }
    }
}

/// Reports the exits of one child.
pub(super) struct Reporter {
    id: u64,
    name: &'static str,
    pub(super) is_permanent: bool,
    stopper: Stopper,
    pub(super) on_exit: OnExit,
    tree: Addr<Tree>,
    /// An arbiter that ends with the child.
    pub(super) own_arbiter: Option<ArbiterHandle>,
}

impl Reporter {
    pub(super) fn exited(&mut self, exit: Exit, follows: Follows) {
        let is_end = follows == Follows::End;
        let fails = is_end && self.is_permanent && !self.stopper.is_used();
        let gives_up = fails.then(|| format!("the {} {exit}", self.name));
        let follows = if fails { Follows::GiveUp } else { follows };
        let report = ChildReport { child: self.name, exit, follows };
        // The hook is the program's code; a panic in it must not change what follows.
        contained(|| (self.on_exit)(&report));
        if is_end {
            // Not `try_send`: no end may be lost, and there are no more of these messages than
            // children.
            self.tree.do_send(Ended { id: self.id, gives_up });
            // This has no effect if the arbiter has already ended.
            if let Some(arbiter) = &self.own_arbiter {
                arbiter.stop();
            }
        }
    }
}

/// The children of a supervisor. The tree changes them; handles read them, even if the tree's
/// arbiter is blocked.
#[derive(Debug, Clone, Default)]
pub(super) struct Children(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
pub(super) struct Table {
    /// In the order of their start.
    pub(super) children: BTreeMap<u64, Child>,
    /// The child that the supervisor waits for, and since when.
    pub(super) awaited: Option<(u64, Instant)>,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: &'static str,
    /// Whether the supervisor can't go on without it.
    pub(super) is_permanent: bool,
    pub(super) stopper: Stopper,
    pub(super) stop_within: Duration,
    /// Whether the child belongs to an extension, not to the supervisor's owner, such as a server.
    /// The owner limits the time of its own children together.
    pub(super) is_extension: bool,
    /// For a supervisor: its tree. Weak, so that an unused supervisor ends.
    pub(super) below: Option<(WeakAddr<Tree>, Children)>,
}

impl Children {
    // A supervisor is never its own child, so no table is locked twice by one thread.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the actors of extensions may take to end, with at most `each_max` for each. They
    /// end one after the other, and one with a blocked arbiter takes a little longer.
    pub(super) fn extensions_allowed(&self, each_max: Duration) -> Duration {
        let allowed = |child: &Child| match &child.below {
            Some((_, children)) => children.extensions_allowed(each_max),
            None if child.is_extension => {
                each_max.min(child.stop_within).saturating_add(limits::TERMINATED_WITHIN)
            }
            None => Duration::ZERO,
        };
        self.table().children.values().map(allowed).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The name of the child that is waited for, and since when. If that is a supervisor, the child
    /// that it waits for.
    pub(super) fn awaited(&self) -> Option<(&'static str, Instant)> {
        let table = self.table();
        let (id, since) = table.awaited?;
        let child = table.children.get(&id)?;
        child.below.as_ref().map_or(Some((child.name, since)), |(_, children)| children.awaited())
    }
}
