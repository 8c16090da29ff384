//! Actors without a supervisor.

use actix::dev::{ContextFut, channel};
use actix::{Actor, Addr, Context, Recipient, Supervised};
use actix_rt::ArbiterHandle;

use super::lives::{Lives, Monitor};
use super::net::Net;
use super::restart_pauses::RestartPause;
use super::{ChildExited, Exit, Follows, RestartLimit, Stopper};

/// A permanent actor.
#[derive(Debug)]
#[non_exhaustive]
pub struct Permanent<A: Actor> {
    /// Its address, which stays the same after restarts.
    pub addr: Addr<A>,
    /// Ends the actor for good.
    pub stopper: Stopper,
}

/// Starts an actor on `arbiter` that runs until its [`Stopper`] ends it, even if nobody has its
/// address. After a panic (also in `started` or `restarting`), and after a stop without an order,
/// it pauses. Then its [`restarting`](Supervised::restarting) and [`started`](Actor::started) run:
/// `restarting` must restore every field to the state that the factory made. The address stays
/// valid, and only the message that panicked is lost. After a panic neither `stopping` nor
/// `stopped` runs.
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
    mut on_exit: E,
) -> Permanent<A>
where
    A: Actor<Context = Context<A>> + Supervised,
    F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    E: FnMut(&Exit, Follows) + Send + 'static,
{
    let (stopper, orders) = Stopper::new();
    let lives = Lives {
        restart_pause: RestartPause::default(),
        mailbox: channel::channel(mailbox),
        factory: Box::new(factory),
        restart: Some((limit, ContextFut::restart)),
        orders,
        leaves_mail: true,
    };
    Permanent { addr: lives.start(arbiter, move |exit, follows| on_exit(&exit, follows)), stopper }
}

/// Starts an actor on the current arbiter. `parent` gets one [`ChildExited`] with `id`, whatever
/// ends the actor: its own stop, a panic anywhere in it (also in the factory), or the end of the
/// arbiter. After a panic nothing of the actor runs except its drop.
///
/// `mailbox` is the capacity for `try_send`.
pub fn start_temporary<A, F>(id: u64, mailbox: usize, parent: Recipient<ChildExited>, factory: F) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
    F: FnOnce(&mut Context<A>) -> A + 'static,
{
    let (sender, receiver) = channel::channel(mailbox);
    // Not `try_send`: no end may be lost, and there are no more of these messages than children.
    let mut monitor = Monitor(Some(move |exit, _| parent.do_send(ChildExited { id, exit })));
    actix::spawn(async move {
        let exit = match Net::make(receiver, factory) {
            Err(panic) => panic,
            Ok(mut net) => {
                let exit = (&mut net).await;
                net.drop_actor(exit)
            }
        };
        monitor.ended(exit);
    });
    Addr::new(sender)
}
