//! The arbiters that sessions run on, and the actor that keeps them alive.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use actix::{
    Actor, ActorContext, Addr, Arbiter, AsyncContext, Context, Handler, Recipient, Running, Supervised,
};
use actix_rt::ArbiterHandle;
use tokio::time::Instant;

use crate::actors::session_supervisor::{Heartbeat, Ping, Serve, SessionSupervisor};
use crate::chaos::Part;
use crate::engine::service::Service;
use crate::engine::transfers::{PendingRequest, SessionTable};
use crate::error::Failure;
use crate::limits;
use crate::observe::Fact;
use crate::supervision::{
    ChildSpec, Exit, Follows, Permanent, RestartLimit, Stopper, Supervisor, start_permanent,
};

/// The arbiters of a server. Those that fail are replaced by others.
#[derive(Debug, Default)]
pub struct Workers {
    /// The restart limit of a supervisor of sessions.
    limit: RestartLimit,
    local: OnceLock<Local>,
    list: RwLock<Vec<Arc<Worker>>>,
    /// The number of the last arbiter.
    last: AtomicU64,
    stopping: AtomicBool,
}

/// A supervisor of sessions on the thread of the listeners: for a short transfer the way to another
/// thread would cost more than the transfer.
#[derive(Debug)]
struct Local {
    supervisor: Addr<SessionSupervisor>,
    sessions: Arc<SessionTable>,
}

/// An arbiter, the supervisor on it, and what the two share.
#[derive(Debug)]
struct Worker {
    /// Counted from 1 since the server started.
    number: u64,
    arbiter: ArbiterHandle,
    supervisor: Addr<SessionSupervisor>,
    stopper: Stopper,
    sessions: Arc<SessionTable>,
    heartbeat: Arc<Heartbeat>,
}

impl Worker {
    /// Whether its supervisor has ended.
    fn has_ended(&self) -> bool {
        self.heartbeat.ended.load(Ordering::Acquire)
    }
}

/// Reports that the supervisor of a [`Worker`] has ended.
#[derive(Debug, Clone, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerEnded {
    number: u64,
    exit: Exit,
}

impl Workers {
    /// No arbiters yet. An arbiter whose supervisor exceeds `limit` will be replaced.
    #[must_use]
    pub fn new(limit: RestartLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds `count` arbiters without sessions. Fails if the operating system has no threads to
    /// give.
    pub(crate) fn start_all(
        &self,
        count: usize,
        service: &Arc<Service>,
        parent: &Recipient<WorkerEnded>,
    ) -> io::Result<()> {
        for _ in 0..count {
            self.start(start_arbiter()?, SessionTable::default(), service, parent);
        }
        Ok(())
    }

    /// Starts the supervisor of short transfers on this thread, as a child of `supervisor`.
    pub(crate) fn start_local(&self, service: &Arc<Service>, supervisor: &Supervisor) {
        let (sessions, heartbeat) = (Arc::<SessionTable>::default(), Arc::default());
        let (service, table) = (Arc::clone(service), Arc::clone(&sessions));
        let make = move |_: &mut _| SessionSupervisor::new(service, table, heartbeat);
        let supervisor = supervisor.start_child(
            ChildSpec::permanent("session supervisor", make)
                .leaving_mail()
                .limit(self.limit)
                .mailbox(limits::MAILBOX_BUSY)
                .stop_within(limits::STOP_WITHIN),
        );
        // A second supervisor would have nothing to do.
        let _ = self.local.set(Local { supervisor, sessions });
    }

    /// Assigns a request to the least busy arbiter, or to this thread if its transfer is short and
    /// few such transfers are running. `false` if no arbiter has room.
    pub(super) fn assign(&self, request: &Arc<PendingRequest>) -> bool {
        if request.is_short
            && let Some(local) = self.local.get()
            && local.sessions.load() < limits::LOCAL_TRANSFERS_MAX
            && send(&local.sessions, &local.supervisor, request)
        {
            return true;
        }
        let workers = self.read();
        let least_busy = workers.iter().min_by_key(|worker| worker.sessions.load());
        // The least busy arbiter has no room if it was just given up: then any other one will do.
        let mut by_choice = least_busy.into_iter().chain(workers.iter());
        by_choice.any(|worker| send(&worker.sessions, &worker.supervisor, request))
    }

    /// The recipients of pings that show whether every arbiter is alive.
    #[must_use]
    pub fn alive(&self) -> Vec<Recipient<Ping>> {
        self.read().iter().map(|worker| worker.supervisor.clone().recipient()).collect()
    }

    fn list(&self) -> Vec<Arc<Worker>> {
        self.read().clone()
    }

    /// Starts a supervisor on `arbiter` that takes over the entries of `sessions`.
    fn start(
        &self,
        arbiter: ArbiterHandle,
        sessions: SessionTable,
        service: &Arc<Service>,
        parent: &Recipient<WorkerEnded>,
    ) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sessions, heartbeat) = (Arc::new(sessions), Arc::<Heartbeat>::default());
        let shared = (Arc::clone(service), Arc::clone(&sessions), Arc::clone(&heartbeat));
        let make = move |_: &mut _| SessionSupervisor::new(shared.0, shared.1, shared.2);
        let (service, ending, parent) = (Arc::clone(service), Arc::clone(&heartbeat), parent.clone());
        let on_exit = move |exit: &Exit, follows| {
            if let Exit::Panicked(panic) = exit {
                service.crashed("session supervisor", None, panic);
            }
            if follows == Follows::End {
                ending.ended.store(true, Ordering::Release);
                parent.do_send(WorkerEnded { number, exit: exit.clone() });
            }
        };
        let Permanent { addr: supervisor, stopper } =
            start_permanent(&arbiter, self.limit, limits::MAILBOX_BUSY, make, on_exit);
        self.write().push(Arc::new(Worker { number, arbiter, supervisor, stopper, sessions, heartbeat }));
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(local) = self.local.get() {
            local.sessions.set_stopping();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn remove(&self, number: u64) -> Option<Arc<Worker>> {
        let mut workers = self.write();
        let at = workers.iter().position(|worker| worker.number == number)?;
        Some(workers.remove(at))
    }

    /// Ends the arbiters and their transfers at once.
    pub(crate) fn end(&self, service: &Service) {
        let bury_all = |sessions: &SessionTable| {
            let (children, _) = sessions.close();
            for child in &children {
                service.bury(&child.shared, Failure::ShuttingDown, "it did not end in time");
            }
        };
        for worker in self.write().drain(..) {
            bury_all(&worker.sessions);
            worker.arbiter.stop();
        }
        self.local.get().into_iter().for_each(|local| bury_all(&local.sessions));
    }

    #[cfg(test)]
    pub(crate) fn stop_all(&self) {
        for worker in self.list() {
            worker.arbiter.stop();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Worker>>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Worker>>> {
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request to a supervisor, unless too many wait for it.
fn send(
    sessions: &SessionTable,
    supervisor: &Addr<SessionSupervisor>,
    request: &Arc<PendingRequest>,
) -> bool {
    let has_room = sessions.push_waiting(request);
    if has_room {
        // Not `try_send`: a full mailbox would leave the request waiting. The table bounds the
        // number of these messages.
        supervisor.do_send(Serve(Arc::clone(request)));
    }
    has_room
}

/// Starts a thread for sessions, if the operating system has one to give.
fn start_arbiter() -> io::Result<ArbiterHandle> {
    Ok(Arbiter::try_with_tokio_rt(arbiter_runtime)?.handle())
}

pub(crate) fn arbiter_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::BLOCKING_THREADS)
        .build()
}

/// Replaces the arbiters that stop, whose sessions continue, and those that are blocked, whose
/// sessions end. Beyond its limits it gives up: the server must not stay up without serving.
pub struct ArbiterSupervisor {
    service: Arc<Service>,
    workers: Arc<Workers>,
    /// When arbiters failed within [`limits::ARBITERS_FAILED_WITHIN`].
    failures: Vec<Instant>,
    /// The replaced arbiters that are still blocked: their threads are lost.
    abandoned: Vec<u64>,
    give_up: Box<dyn Fn(String) + Send>,
    is_ending: bool,
    chaos: Part,
}

impl ArbiterSupervisor {
    /// Calls `give_up`, with the reason, when the arbiters can't be kept alive.
    pub fn new(
        service: Arc<Service>,
        workers: Arc<Workers>,
        give_up: impl Fn(String) + Send + 'static,
    ) -> Self {
        let (failures, abandoned) = (Vec::new(), Vec::new());
        let chaos = service.chaos.part("arbiter_supervisor", "");
        Self { service, workers, failures, abandoned, give_up: Box::new(give_up), is_ending: false, chaos }
    }

    /// Not an interval: after a pause of this thread all missed checks would follow at once.
    fn watch_later(ctx: &mut Context<Self>) {
        ctx.run_later(limits::ARBITER_ASKED_EVERY, |supervisor, ctx| {
            Self::watch_later(ctx);
            supervisor.chaos.at("scheduled", ctx);
            if !supervisor.is_ending {
                supervisor.watch(ctx);
            }
        });
    }

    fn watch(&mut self, ctx: &Context<Self>) {
        for worker in self.workers.list() {
            if worker.has_ended() {
                // The report of its end was lost, because this actor was restarting.
                self.replace(&worker, "its supervisor has ended", false, ctx);
            } else if worker.heartbeat.missed.fetch_add(1, Ordering::Relaxed) >= limits::ARBITER_SILENCE_MAX {
                self.replace(&worker, "blocked", true, ctx);
            } else {
                // Not `try_send`: a full mailbox doesn't mean that the arbiter is blocked.
                worker.supervisor.do_send(Ping);
            }
        }
    }

    /// Replaces an arbiter. If it ended, its sessions continue on the new one. If it hangs, they
    /// end here, and a session that wakes up later can't send any more.
    fn replace(&mut self, worker: &Worker, why: &str, hangs: bool, ctx: &Context<Self>) {
        let Some(arbiter) = self.start_replacement(worker, why) else { return };
        let (children, waiting) = worker.sessions.close();
        let (moved, ended) = if hangs { (Vec::new(), children) } else { (children, Vec::new()) };
        self.service.observe(&Fact::ArbiterReplaced {
            arbiter: worker.number,
            why: why.into(),
            moved: moved.len(),
            ended: ended.len(),
        });
        for child in &ended {
            self.service.bury(&child.shared, Failure::Internal, "its arbiter was blocked");
        }
        let sessions = SessionTable::adopting(moved, waiting);
        self.workers.start(arbiter, sessions, &self.service, &ctx.address().recipient());
        if hangs {
            self.abandoned.push(worker.number);
            if self.abandoned.len() > limits::ARBITERS_ABANDONED_MAX {
                (self.give_up)(format!("{} arbiters are blocked", self.abandoned.len()));
            }
        }
    }

    /// Starts a new arbiter, and stops the old one, which ends when it wakes up. `None` if no
    /// thread can be started now: the next check tries again.
    fn start_replacement(&mut self, worker: &Worker, why: &str) -> Option<ArbiterHandle> {
        let now = Instant::now();
        self.failures.push(now);
        self.failures.retain(|&at| now - at <= limits::ARBITERS_FAILED_WITHIN);
        if self.failures.len() > limits::ARBITERS_FAILED_MAX {
            (self.give_up)(format!("arbiters fail too often and the last one was {why}"));
        }
        let arbiter = start_arbiter().ok()?;
        self.workers.remove(worker.number)?;
        worker.arbiter.stop();
        Some(arbiter)
    }

    fn have_all_ended(&self) -> bool {
        self.workers.list().iter().all(|worker| worker.has_ended())
    }
}

impl Actor for ArbiterSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        Self::watch_later(ctx);
    }

    /// Ends the sessions of every arbiter first, if the server is stopping.
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if !self.workers.is_stopping() {
            return Running::Stop;
        }
        if !std::mem::replace(&mut self.is_ending, true) {
            for worker in self.workers.list() {
                worker.sessions.set_stopping();
                worker.stopper.stop(limits::STOP_WITHIN);
            }
        }
        if self.have_all_ended() { Running::Stop } else { Running::Continue }
    }
}

impl Supervised for ArbiterSupervisor {
    /// The arbiters live on, and `started` goes on watching them.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
    }
}

impl Handler<WorkerEnded> for ArbiterSupervisor {
    type Result = ();

    fn handle(&mut self, WorkerEnded { number, exit }: WorkerEnded, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.abandoned.retain(|&abandoned| abandoned != number);
        if self.is_ending {
            if self.have_all_ended() {
                ctx.stop();
            }
            return;
        }
        let ended = self.workers.list().into_iter().find(|worker| worker.number == number);
        if let Some(worker) = ended {
            let why = match exit {
                Exit::Killed => "stopped".to_owned(),
                exit => format!("its supervisor {exit}"),
            };
            self.replace(&worker, &why, false, ctx);
        }
    }
}
