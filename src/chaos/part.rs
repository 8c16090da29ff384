//! Who asks for faults: an actor, or whoever calls a seam.

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

/// What an actor has, to ask for the faults that are planned for it. The default has none. To drop it is the point `drop`.
#[derive(Debug, Default)]
pub(crate) struct Part(Option<Seam>);

/// What calls at a seam ask; it may go to another thread. It also stands for its actor in what the actor spawns.
#[derive(Debug, Clone)]
pub(crate) struct Seam {
    chaos: Chaos,
    owner: &'static str,
    subject: Arc<str>,
}

impl Chaos {
    /// What an actor asks.
    pub(crate) fn part(&self, actor: &'static str, subject: impl Display) -> Part {
        Part(Some(self.seam_of(actor, subject)))
    }

    /// What others ask.
    pub(crate) fn seam(&self, name: &'static str) -> Seam {
        self.seam_of(name, "")
    }

    /// The same, for what is called for a request.
    pub(crate) fn seam_of(&self, name: &'static str, subject: impl Display) -> Seam {
        Seam { chaos: self.clone(), owner: name, subject: subject.to_string().into() }
    }
}

impl Part {
    /// The actor passes the point `step`.
    #[track_caller]
    pub(crate) fn at<C: ActorContext>(&self, step: &'static str, ctx: &mut C) {
        if let Some(own) = &self.0 {
            own.at_with(step, ctx);
        }
    }

    /// The actor passes `started`; from now on there is somebody to pass `future` and `scheduled` whenever a plan wants that, even if
    /// the actor itself spawns and schedules nothing.
    #[track_caller]
    pub(crate) fn started<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>) {
        if let Some(own) = &self.0 {
            ctx.spawn(Understudy::new(own.clone()));
            own.at_with(STARTED, ctx);
        }
    }

    /// The same for an actor that has this one's subject.
    pub(crate) fn child(&self, actor: &'static str) -> Self {
        Self(self.0.as_ref().map(|own| own.named(actor)))
    }

    /// Whether `actor` of this one's subject is to fail: where it is done without as a rule, it has to be there.
    pub(crate) fn strikes(&self, actor: &'static str) -> bool {
        self.0.as_ref().is_some_and(|own| own.chaos.strikes(actor, &own.subject))
    }

    /// What the actor asks where it calls others.
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

    /// Somebody passes the point `step`, where nothing can be stopped.
    #[track_caller]
    pub(crate) fn at(&self, step: &'static str) {
        // A stop can't have been planned here.
        let _ = self.pass(step);
    }

    #[track_caller]
    fn at_with<C: ActorContext>(&self, step: &'static str, ctx: &mut C) {
        if self.pass(step) {
            ctx.stop();
        }
    }

    /// Panics or waits if that is planned. `true` if the actor is to stop.
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

/// Passes `future` and `scheduled` for actors that would not do so by themselves. It rests while no plan wants that, and ends when
/// nobody has the actor's address: it keeps none from ending.
struct Understudy {
    own: Seam,
    news: Pin<Box<dyn Future<Output = watch::Receiver<()>>>>,
    /// Runs while there is such a plan.
    nap: Option<Pin<Box<Sleep>>>,
    /// When what it scheduled last is due.
    scheduled: Option<Instant>,
}

impl Understudy {
    fn new(own: Seam) -> Self {
        let mut news = own.chaos.news();
        // What was planned before is news too.
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

    /// Sees to it that it is woken again: soon, if a plan wants that. `true` if it has been already.
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
        // The sender can't be gone: whoever has this has a `Chaos`.
        let _ = news.changed().await;
        news
    })
}
