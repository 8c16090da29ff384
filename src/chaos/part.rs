//! Points of actors and of seams.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::plan::{DROP, FUTURE, Fault, SCHEDULED, STARTED, is_point};
use super::state::Chaos;
use crate::limits;

/// An actor's access to its planned faults. The default has none. Dropping it is the point `drop`.
#[derive(Debug, Default)]
pub(crate) struct Part(Option<Seam>);

/// Access to the faults of a seam, also for other threads and for futures that an actor spawns.
#[derive(Debug, Clone)]
pub(crate) struct Seam {
    chaos: Chaos,
    owner: &'static str,
    subject: Arc<str>,
}

impl Chaos {
    pub(crate) fn part(&self, actor: &'static str, subject: impl Display) -> Part {
        Part(Some(self.seam_of(actor, subject)))
    }

    pub(crate) fn seam(&self, name: &'static str) -> Seam {
        self.seam_of(name, "")
    }

    pub(crate) fn seam_of(&self, name: &'static str, subject: impl Display) -> Seam {
        Seam { chaos: self.clone(), owner: name, subject: subject.to_string().into() }
    }
}

impl Part {
    #[track_caller]
    pub(crate) fn at<C: ActorContext>(&self, step: &'static str, ctx: &mut C) {
        if let Some(own) = &self.0 {
            own.at_with(step, ctx);
        }
    }

    /// The actor passes `started`. An [`Understudy`] is spawned, so that `future` and `scheduled`
    /// can be passed even if the actor spawns and schedules nothing.
    #[track_caller]
    pub(crate) fn started<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>) {
        if let Some(own) = &self.0 {
            ctx.spawn(Understudy::new(own.clone()));
            own.at_with(STARTED, ctx);
        }
    }

    /// The part of another actor with the same subject.
    pub(crate) fn child(&self, actor: &'static str) -> Self {
        Self(self.0.as_ref().map(|own| own.named(actor)))
    }

    /// Whether a fault is planned for `actor`, so that it can't be optimised away.
    pub(crate) fn strikes(&self, actor: &'static str) -> bool {
        self.0.as_ref().is_some_and(|own| own.chaos.strikes(actor, &own.subject))
    }

    pub(crate) fn seam(&self, name: &'static str) -> Seam {
        self.0.as_ref().map_or_else(|| Chaos::default().seam(name), |own| own.named(name))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A second panic in the middle of unwinding would abort the process.
        if let Some(own) = &self.0
            && !std::thread::panicking()
        {
            own.at(DROP);
        }
    }
}

impl Seam {
    fn named(&self, owner: &'static str) -> Self {
        Self { owner, ..self.clone() }
    }

    /// Passes the point `step`, where no actor can be stopped.
    #[track_caller]
    pub(crate) fn at(&self, step: &'static str) {
        // `Target::new` refuses a planned stop here.
        let _ = self.pass(step);
    }

    #[track_caller]
    fn at_with<C: ActorContext>(&self, step: &'static str, ctx: &mut C) {
        if self.pass(step) {
            ctx.stop();
        }
    }

    /// Panics or sleeps if that is planned. Returns `true` if the actor has to stop.
    #[track_caller]
    fn pass(&self, step: &'static str) -> bool {
        let owner = self.owner;
        debug_assert!(is_point(owner, step), "{owner}.{step} is missing in the list of points");
        match self.chaos.pass(owner, step, &self.subject) {
            None => false,
            Some(Fault::Panic) => panic!("chaos at {owner}.{step}"),
            Some(Fault::Stop) => true,
            Some(Fault::Delay(time)) => {
                std::thread::sleep(time);
                false
            }
        }
    }

    fn is_wanted(&self, step: &str) -> bool {
        self.chaos.waits_for(self.owner, step, &self.subject)
    }
}

/// Passes `future` and `scheduled` for actors that would not do so themselves. It is idle while no
/// plan needs it. It ends with the last address of the actor, so it keeps no actor alive.
struct Understudy {
    own: Seam,
    news: Pin<Box<dyn Future<Output = watch::Receiver<()>>>>,
    /// Runs while a plan needs it.
    nap: Option<Pin<Box<Sleep>>>,
    /// When the last scheduled call is due.
    scheduled: Option<Instant>,
}

impl Understudy {
    fn new(own: Seam) -> Self {
        let mut news = own.chaos.news();
        // Plans made earlier count as news.
        news.mark_changed();
        Self { own, news: next(news), nap: None, scheduled: None }
    }

    fn schedule<A: Actor<Context = Context<A>>>(&mut self, ctx: &mut Context<A>) {
        let now = Instant::now();
        if self.own.is_wanted(SCHEDULED) && self.scheduled.is_none_or(|due| due < now) {
            let own = self.own.clone();
            ctx.run_later(limits::CHAOS_PASS_EVERY, move |_, ctx| own.at_with(SCHEDULED, ctx));
            self.scheduled = Some(now + limits::CHAOS_PASS_EVERY);
        }
    }

    /// Arranges the next wake-up: soon, if a plan needs one. Returns `true` if it is due already.
    fn rest(&mut self, task: &mut TaskContext<'_>) -> bool {
        if let Poll::Ready(news) = self.news.as_mut().poll(task) {
            self.news = next(news);
            return true;
        }
        if !self.own.is_wanted(FUTURE) && !self.own.is_wanted(SCHEDULED) {
            self.nap = None;
            return false;
        }
        let nap = self.nap.get_or_insert_with(|| Box::pin(sleep(limits::CHAOS_PASS_EVERY)));
        let over = nap.as_mut().poll(task).is_ready();
        if over {
            self.nap = None;
        }
        over
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Understudy {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut A, ctx: &mut Context<A>, task: &mut TaskContext<'_>) -> Poll<()> {
        let understudy = self.get_mut();
        loop {
            if !ctx.connected() {
                return Poll::Ready(());
            }
            understudy.own.at_with(FUTURE, ctx);
            understudy.schedule(ctx);
            if !understudy.rest(task) {
                return Poll::Pending;
            }
        }
    }
}

fn next(mut news: watch::Receiver<()>) -> Pin<Box<dyn Future<Output = watch::Receiver<()>>>> {
    Box::pin(async move {
        // The sender can't be gone: its `Chaos` is in the same seam.
        let _ = news.changed().await;
        news
    })
}
