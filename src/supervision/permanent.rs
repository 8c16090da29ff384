//! Actors that are started again after a panic, at the same address.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::{Actor, ActorContext, Addr, Context, Supervised};
use actix_rt::ArbiterHandle;
use tokio::time::{Instant, Sleep, sleep};

use super::Exit;
use crate::limits;

/// How many restarts a permanent actor gets in how long a time, and how long it pauses before each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts that are put up with...
    pub restarts_max: usize,
    /// ...within this time.
    pub within: Duration,
    /// Pause before the first; it doubles with each further one within that time.
    pub pause: Duration,
}

impl Default for RestartLimit {
    fn default() -> Self {
        Self {
            restarts_max: limits::RESTARTS_MAX,
            within: limits::RESTARTS_WITHIN,
            pause: limits::RESTART_PAUSE,
        }
    }
}

/// Starts an actor on `arbiter`. After a panic (also in `started` or `restarting`) it pauses, then its
/// [`restarting`](Supervised::restarting) and [`started`](Actor::started) run again: `restarting` must bring every field back to how the
/// factory made it. Its address stays good meanwhile; only the message that panicked is lost. Neither `stopping` nor `stopped` runs
/// for a life that panicked.
///
/// Such an actor must not call [`cancel_future`](actix::AsyncContext::cancel_future): a cancellation that a panic leaves pending would hit whatever
/// the next life spawns under the same handle, for actix counts handles anew.
///
/// `on_end` is called once, with how the actor's life ended for good: it stopped, it panicked past its `limit` (or in the factory), or its arbiter ended.
pub fn start_permanent<A, F, E>(
    arbiter: &ArbiterHandle,
    limit: RestartLimit,
    mailbox: usize,
    factory: F,
    on_end: E,
) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
    F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    E: FnOnce(Exit) + Send + 'static,
{
    let (sender, receiver) = channel::channel(mailbox);
    let mut end = End(Some(on_end));
    arbiter.spawn_fn(move || {
        let made = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_receiver(receiver);
            let actor = factory(&mut context);
            context.into_future(actor)
        }));
        match made {
            Err(panic) => end.call(Exit::from_panic(&*panic)),
            Ok(life) => {
                actix::spawn(async move {
                    let mut lives =
                        Lives { life: Box::pin(life), limit, panics: VecDeque::new(), pause: None };
                    let exit = (&mut lives).await;
                    // Outside of any unwinding, for what the actor owns is dropped here, and may panic too.
                    let buried = catch_unwind(AssertUnwindSafe(|| drop(lives)));
                    end.call(match (exit, buried) {
                        (Exit::Normal, Err(panic)) => Exit::from_panic(&*panic),
                        (exit, _) => exit,
                    });
                });
            }
        }
    });
    Addr::new(sender)
}

struct End<E: FnOnce(Exit)>(Option<E>);

impl<E: FnOnce(Exit)> End<E> {
    fn call(&mut self, exit: Exit) {
        if let Some(on_end) = self.0.take() {
            on_end(exit);
        }
    }
}

impl<E: FnOnce(Exit)> Drop for End<E> {
    fn drop(&mut self) {
        self.call(Exit::Killed);
    }
}

/// One life of the actor after the other.
struct Lives<A: Actor<Context = Context<A>> + Supervised> {
    life: Pin<Box<ContextFut<A, Context<A>>>>,
    limit: RestartLimit,
    /// When it panicked lately.
    panics: VecDeque<Instant>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<A: Actor<Context = Context<A>> + Supervised> Lives<A> {
    /// Pauses before the next life, or says that this was the last.
    fn panicked(&mut self, exit: Exit) -> Option<Exit> {
        // Unless it starts again, nothing of it runs any more: dropped as it is, actix would have it stop in a state that nobody
        // knows, or even start, if it was `restarting` that panicked.
        self.life.ctx().terminate();
        let now = Instant::now();
        self.panics.push_back(now);
        while self.panics.front().is_some_and(|&at| now - at > self.limit.within) {
            self.panics.pop_front();
        }
        let restarts = self.panics.len();
        if restarts > self.limit.restarts_max {
            return Some(exit);
        }
        let doublings = u32::try_from(restarts - 1).unwrap_or(u32::MAX).min(16);
        self.pause = Some(Box::pin(sleep(self.limit.pause.saturating_mul(1 << doublings))));
        None
    }
}

impl<A: Actor<Context = Context<A>> + Supervised> Future for Lives<A> {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Exit> {
        loop {
            let restart = match &mut self.pause {
                None => false,
                Some(pause) => {
                    std::task::ready!(pause.as_mut().poll(task));
                    true
                }
            };
            self.pause = None;
            let life = &mut self.life;
            let lived = catch_unwind(AssertUnwindSafe(|| {
                if restart && !life.restart() {
                    return Poll::Ready(());
                }
                life.as_mut().poll(task)
            }));
            match lived {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => return Poll::Ready(Exit::Normal),
                Err(panic) => {
                    if let Some(exit) = self.panicked(Exit::from_panic(&*panic)) {
                        return Poll::Ready(exit);
                    }
                }
            }
        }
    }
}
