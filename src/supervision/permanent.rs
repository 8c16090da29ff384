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
/// `mailbox` is how many messages `try_send` may leave waiting for it. `on_exit` hears of each life that ends, and of what follows: another, or
/// once, and last, [`Follows::End`], when it ended for good: as it was told, past its `limit`, by a panic of the factory, or with its arbiter.
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
