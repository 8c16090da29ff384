//! Points of actors and of seams.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};
use tokio::time::sleep;

use super::plan::{Fault, is_point};
use super::state::Chaos;
use crate::limits;

/// An actor's access to its planned faults. Dropping it is the point `drop`.
#[derive(Debug)]
pub(crate) struct Part(Seam);

/// Access to the faults of a seam, also for other threads and for futures that an actor spawns.
#[derive(Debug, Clone)]
pub(crate) struct Seam {
    chaos: Chaos,
    owner: &'static str,
    subject: Arc<str>,
}

impl Chaos {
    pub(crate) fn part(&self, actor: &'static str, subject: impl Display) -> Part {
        Part(self.seam(actor, subject))
    }

    pub(crate) fn seam(&self, name: &'static str, subject: impl Display) -> Seam {
        Seam { chaos: self.clone(), owner: name, subject: subject.to_string().into() }
    }
}

impl Part {
    #[track_caller]
    pub(crate) fn at<C: ActorContext>(&self, step: &'static str, ctx: &mut C) {
        self.0.at_with(step, ctx);
    }

    /// The actor passes `started`; a timer passes `future` and `scheduled` for it.
    #[track_caller]
    pub(crate) fn started<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>) {
        ctx.spawn(PointTimer { seam: self.0.clone(), due: Box::pin(self.0.chaos.clone().wait_for_plan()) });
        self.0.at_with("started", ctx);
    }

    /// The part of another actor with the same subject.
    pub(crate) fn child(&self, actor: &'static str) -> Self {
        Self(self.seam(actor))
    }

    /// Whether a fault is planned for `actor`, so that it can't be optimised away.
    pub(crate) fn strikes(&self, actor: &'static str) -> bool {
        self.0.chaos.strikes(actor, &self.0.subject)
    }

    pub(crate) fn seam(&self, name: &'static str) -> Seam {
        Seam { owner: name, ..self.0.clone() }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A second panic in the middle of unwinding would abort the process.
        if !std::thread::panicking() {
            self.0.at("drop");
        }
    }
}

impl Seam {
    /// Passes the point `step`, where no actor can be stopped.
    #[track_caller]
    pub(crate) fn at(&self, step: &'static str) {
        // A planned stop is refused here.
        let _ = self.pass(step);
    }

    #[track_caller]
    fn at_with<C: ActorContext>(&self, step: &'static str, ctx: &mut C) {
        if self.pass(step) {
            ctx.stop();
        }
    }

    fn is_named(&self, step: &str) -> bool {
        self.chaos.names(self.owner, step)
    }

    /// Panics or sleeps if that is planned. Returns `true` if the actor has to stop.
    #[track_caller]
    fn pass(&self, step: &'static str) -> bool {
        let owner = self.owner;
        debug_assert!(is_point(owner, step), "{owner}.{step} is missing in the list of points");
        let fault = self.chaos.pass(owner, step, &self.subject, Instant::now());
        match fault {
            Some(Fault::Panic) => panic!("chaos at {owner}.{step}"),
            Some(Fault::Delay(time)) => std::thread::sleep(time),
            Some(Fault::Stop) | None => {}
        }
        fault == Some(Fault::Stop)
    }
}

/// Passes `future` and `scheduled` while a plan names them: the actor itself may spawn and schedule
/// nothing. This ends with the last address of the actor, so it keeps no actor alive.
struct PointTimer {
    seam: Seam,
    due: Pin<Box<dyn Future<Output = ()>>>,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for PointTimer {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        _: &mut A,
        ctx: &mut Context<A>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        while ctx.connected() {
            ready!(self.due.as_mut().poll(task));
            if self.seam.is_named("future") {
                self.seam.at_with("future", ctx);
            }
            if self.seam.is_named("scheduled") {
                let seam = self.seam.clone();
                ctx.run_later(limits::CHAOS_PASS_EVERY, move |_, ctx| seam.at_with("scheduled", ctx));
            }
            let chaos = self.seam.chaos.clone();
            self.due = Box::pin(async move {
                sleep(limits::CHAOS_PASS_EVERY).await;
                chaos.wait_for_plan().await;
            });
        }
        Poll::Ready(())
    }
}
