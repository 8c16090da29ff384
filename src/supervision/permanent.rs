//! Permanent actors without a supervisor.

use actix::dev::{ContextFut, channel};
use actix::{Actor, Addr, Context, Supervised};
use actix_rt::ArbiterHandle;

use super::lives::{Lives, Witness};
use super::{Exit, RestartLimit, Stopper};

/// A permanent actor.
#[derive(Debug)]
pub struct Permanent<A: Actor> {
    /// Good for all its lives.
    pub addr: Addr<A>,
    /// Ends it for good.
    pub stopper: Stopper,
}

/// Starts an actor on `arbiter` that lives until its [`Stopper`] ends it. After a panic (also in `started` or `restarting`), and
/// after a stop that nobody ordered, it pauses, then its [`restarting`](Supervised::restarting) and [`started`](Actor::started) run again:
/// `restarting` must bring every field back to how the factory made it. Its address stays good meanwhile, and it lives on when nobody
/// else has it; only the message that panicked is lost. Neither `stopping` nor `stopped` runs for a life that panicked.
///
/// Such an actor must not call [`cancel_future`](actix::AsyncContext::cancel_future): a cancellation that a panic leaves pending would hit
/// whatever the next life spawns under the same handle, for actix counts handles anew.
///
/// `mailbox` is how many messages `try_send` may leave waiting for it. `on_end` is called once, with how the actor's life ended for good:
/// as it was told, past its `limit`, by a panic of the factory, or with its arbiter.
pub fn start_permanent<A, F, E>(
    arbiter: &ArbiterHandle,
    limit: RestartLimit,
    mailbox: usize,
    factory: F,
    on_end: E,
) -> Permanent<A>
where
    A: Actor<Context = Context<A>> + Supervised,
    F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    E: FnOnce(Exit) + Send + 'static,
{
    let (stopper, orders) = Stopper::new();
    let lives = Lives {
        mailbox: channel::channel(mailbox),
        factory: Box::new(factory),
        restart: Some((limit, ContextFut::restart)),
        orders,
    };
    Permanent { addr: lives.start(arbiter, OnEnd(on_end)), stopper }
}

/// Hears of the end alone.
struct OnEnd<E>(E);

impl<E: FnOnce(Exit) + Send + 'static> Witness for OnEnd<E> {
    fn restarts(&mut self, _: Exit, _: std::time::Duration) {}

    fn ended(self, exit: Exit) {
        (self.0)(exit);
    }
}
