//! Permanent actors without a supervisor.

use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::{Actor, Addr, Context, Supervised};
use actix_rt::ArbiterHandle;

use super::lives::{Lives, Witness};
use super::mail::Mail;
use super::{Exit, Follows, RestartLimit, Stopper};

/// A permanent actor.
#[derive(Debug)]
#[non_exhaustive]
pub struct Permanent<A: Actor> {
    /// Its address, which stays the same after restarts.
    pub addr: Addr<A>,
    /// Ends the actor for good.
    pub stopper: Stopper,
}

/// Starts an actor on `arbiter` that runs until its [`Stopper`] ends it. After a panic (also in
/// `started` or `restarting`), and after a stop without an order, it pauses. Then its
/// [`restarting`](Supervised::restarting) and [`started`](Actor::started) run: `restarting` must
/// restore every field to the state that the factory made. The address stays valid, and the actor
/// runs even if nobody has its address. Only the message that panicked is lost. After a panic
/// neither `stopping` nor `stopped` runs.
///
/// Such an actor must not call [`cancel_future`](actix::AsyncContext::cancel_future). A panic may
/// leave a cancellation pending, and actix reuses its handles after a restart: the cancellation
/// would then end a future of the next life.
///
/// `mailbox` is the capacity for `try_send`. `on_exit` gets the exit of each life, and what
/// follows. [`Follows::End`] is reported once, as the last: the actor ended by order, exceeded its
/// `limit`, panicked in its factory, or ended with its arbiter.
pub fn start_permanent<A, F, E>(
    arbiter: &ArbiterHandle,
    limit: RestartLimit,
    mailbox: usize,
    factory: F,
    on_exit: E,
) -> Permanent<A>
where
    A: Actor<Context = Context<A>> + Supervised,
    F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    E: FnMut(&Exit, Follows) + Send + 'static,
{
    let (stopper, orders) = Stopper::new();
    let lives = Lives {
        mailbox: channel::channel(mailbox),
        factory: Box::new(factory),
        restart: Some((limit, ContextFut::restart)),
        orders,
        mail: Mail::Left,
        restart_pause: None,
    };
    Permanent { addr: lives.start(arbiter, OnExit(on_exit)), stopper }
}

struct OnExit<E>(E);

impl<E: FnMut(&Exit, Follows) + Send + 'static> Witness for OnExit<E> {
    fn restarts(&mut self, exit: Exit, after: Duration) {
        (self.0)(&exit, Follows::Restart { after });
    }

    fn ended(mut self, exit: Exit) {
        (self.0)(&exit, Follows::End);
    }
}
