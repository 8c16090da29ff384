//! The actor that keeps the arbiters alive.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Running, Supervised};
use tokio::time::Instant;

use crate::actors::arbiters::{Worker, WorkerEnded, Workers, start_arbiter};
use crate::actors::session_supervisor::Ping;
use crate::chaos::Part;
use crate::engine::service::Service;
use crate::engine::transfers::bury::bury;
use crate::engine::transfers::session_table::SessionTable;
use crate::error::Failure;
use crate::limits;
use crate::observe::Fact;
use crate::supervision::Exit;

/// Watches the arbiters that sessions run on. An arbiter that stopped is replaced, and its sessions
/// continue on the new one. An arbiter that is blocked is replaced too, and its sessions end,
/// because the one that blocks may never return. Beyond its limits the supervisor gives up: the
/// server must not stay up without serving.
pub struct ArbiterSupervisor {
    service: Arc<Service>,
    /// Held outside of the actor, so that a restarted supervisor knows the arbiters.
    workers: Arc<Workers>,
    /// When arbiters failed within [`limits::ARBITERS_FAILED_WITHIN`].
    failures: VecDeque<Instant>,
    /// The arbiters that were replaced because they were blocked, and still are: their threads are
    /// lost.
    abandoned: Vec<u64>,
    give_up: Box<dyn Fn(String) + Send>,
    is_ending: bool,
    chaos: Part,
}

/// The next check of the arbiters is due.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Watch;

impl ArbiterSupervisor {
    /// The supervisor of `workers`. `give_up` is called, with the reason, when the arbiters can't
    /// be kept alive.
    pub fn new(
        service: Arc<Service>,
        workers: Arc<Workers>,
        give_up: impl Fn(String) + Send + 'static,
    ) -> Self {
        let (failures, abandoned) = (VecDeque::new(), Vec::new());
        let chaos = service.chaos().part("arbiter_supervisor", "");
        Self { service, workers, failures, abandoned, give_up: Box::new(give_up), is_ending: false, chaos }
    }

    fn watch(&mut self, ctx: &Context<Self>) {
        for worker in self.workers.list() {
            if worker.heartbeat.has_ended() {
                // The report of its end was lost, because this actor was restarting.
                self.on_stopped(&worker, "its supervisor has ended", ctx);
            } else if worker.heartbeat.ask() >= limits::ARBITER_SILENCE_MAX {
                self.on_blocked(&worker, ctx);
            } else {
                // Not `try_send`: a full mailbox doesn't mean that the arbiter is blocked.
                worker.supervisor.do_send(Ping);
            }
        }
    }

    /// Replaces an arbiter that ended. Its sessions continue on the new one.
    fn on_stopped(&mut self, worker: &Worker, why: &str, ctx: &Context<Self>) {
        let Some(arbiter) = self.start_replacement(worker, why) else { return };
        let (children, waiting) = worker.sessions.close();
        let (ended, moved) = (worker.number, children.len());
        self.service.observe(&Fact::ArbiterReplaced { arbiter: ended, why, moved, ended: 0 });
        self.start_worker(arbiter, SessionTable::adopting(children, waiting), ctx);
    }

    /// Replaces an arbiter that hangs. Its transfers end here, and a session that wakes up later
    /// can't send any more.
    fn on_blocked(&mut self, worker: &Worker, ctx: &Context<Self>) {
        let why = "blocked";
        let Some(arbiter) = self.start_replacement(worker, why) else { return };
        let (children, waiting) = worker.sessions.close();
        let ended = children.len();
        self.service.observe(&Fact::ArbiterReplaced { arbiter: worker.number, why, moved: 0, ended });
        for child in &children {
            bury(&child.shared, &self.service, Failure::Internal, "its arbiter was blocked");
        }
        self.abandoned.push(worker.number);
        // Requests that still wait are served by the new arbiter.
        self.start_worker(arbiter, SessionTable::adopting(Vec::new(), waiting), ctx);
        if self.abandoned.len() > limits::ARBITERS_ABANDONED_MAX {
            (self.give_up)(format!("{} arbiters are blocked", self.abandoned.len()));
        }
    }

    /// Starts a new arbiter, and stops the old one, which ends when it wakes up. `None` if no
    /// thread can be started now: the next check tries again.
    fn start_replacement(&mut self, worker: &Worker, why: &str) -> Option<actix_rt::ArbiterHandle> {
        let now = Instant::now();
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|&at| now - at > limits::ARBITERS_FAILED_WITHIN) {
            self.failures.pop_front();
        }
        if self.failures.len() > limits::ARBITERS_FAILED_MAX {
            (self.give_up)(format!("arbiters fail too often and the last one was {why}"));
        }
        let arbiter = start_arbiter().ok()?;
        self.workers.remove(worker.number)?;
        worker.arbiter.stop();
        Some(arbiter)
    }

    fn start_worker(&self, arbiter: actix_rt::ArbiterHandle, sessions: SessionTable, ctx: &Context<Self>) {
        self.workers.start(arbiter, sessions, &self.service, &ctx.address().recipient());
    }

    fn have_all_ended(&self) -> bool {
        self.workers.list().iter().all(|worker| worker.heartbeat.has_ended())
    }
}

impl Actor for ArbiterSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.notify_later(Watch, limits::ARBITER_ASKED_EVERY);
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

impl Handler<Watch> for ArbiterSupervisor {
    type Result = ();

    fn handle(&mut self, _: Watch, ctx: &mut Self::Context) {
        ctx.notify_later(Watch, limits::ARBITER_ASKED_EVERY);
        self.chaos.at("scheduled", ctx);
        if !self.is_ending {
            self.watch(ctx);
        }
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
            self.on_stopped(&worker, &why, ctx);
        }
    }
}

impl fmt::Debug for ArbiterSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, failures, abandoned, .. } = self;
        f.debug_struct("ArbiterSupervisor")
            .field("workers", workers)
            .field("failures", failures)
            .field("abandoned", abandoned)
            .finish_non_exhaustive()
    }
}
