//! Actors that are not started again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::dev::channel;
use actix::{Actor, ActorContext, Addr, Context, Recipient};
use futures_util::FutureExt;

use super::{ChildExited, Exit};

/// Starts an actor on the current arbiter. `parent` gets one [`ChildExited`] with `id`, whatever ends the actor: its own stop, a panic
/// anywhere in it (the factory's included), or the end of the arbiter.
///
/// After a panic nothing of the actor runs but what drops it: neither `stopping` nor `stopped`. Cleaning up belongs in the `Drop` of what it owns.
///
/// `mailbox` is how many messages `try_send` may leave waiting for it.
pub fn start_temporary<A, F>(id: u64, mailbox: usize, parent: Recipient<ChildExited>, factory: F) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
    F: FnOnce(&mut Context<A>) -> A + 'static,
{
    let (sender, receiver) = channel::channel(mailbox);
    let mut obituary = Obituary { id, parent: Some(parent) };
    actix::spawn(async move {
        let made = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_receiver(receiver);
            let actor = factory(&mut context);
            context.into_future(actor)
        }));
        let exit = match made {
            Err(panic) => Exit::from_panic(&*panic),
            Ok(life) => {
                // The future stays outside of what is caught: dropped while unwinding, a second panic in what the actor owns would
                // abort the process.
                let mut life = Box::pin(life);
                let lived = AssertUnwindSafe(&mut life).catch_unwind().await;
                if lived.is_err() {
                    // Dropped as it is, actix would ask it whether to stop; one that says no would go on with its messages, in a
                    // state that nobody knows.
                    life.ctx().terminate();
                }
                let buried = catch_unwind(AssertUnwindSafe(|| drop(life)));
                match (lived, buried) {
                    (Ok(()), Ok(())) => Exit::Normal,
                    (Err(panic), _) | (_, Err(panic)) => Exit::from_panic(&*panic),
                }
            }
        };
        obituary.send(exit);
    });
    Addr::new(sender)
}

/// Tells the parent, also when the task is dropped with its arbiter.
struct Obituary {
    id: u64,
    parent: Option<Recipient<ChildExited>>,
}

impl Obituary {
    fn send(&mut self, exit: Exit) {
        if let Some(parent) = self.parent.take() {
            // Not `try_send`: a death must not be lost, and there are no more of them than children.
            parent.do_send(ChildExited { id: self.id, exit });
        }
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        self.send(Exit::Killed);
    }
}
