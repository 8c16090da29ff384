//! Temporary actors without a supervisor.

use actix::dev::channel;
use actix::{Actor, Addr, Context, Recipient};

use super::net::Net;
use super::{ChildExited, Exit};

/// Starts an actor on the current arbiter. `parent` gets one [`ChildExited`] with `id`, whatever
/// ends the actor: its own stop, a panic anywhere in it (also in the factory), or the end of the
/// arbiter.
///
/// After a panic nothing of the actor runs except its drop: neither `stopping` nor `stopped`. Clean
/// up in the `Drop` of what the actor owns.
///
/// `mailbox` is the capacity for `try_send`.
pub fn start_temporary<A, F>(id: u64, mailbox: usize, parent: Recipient<ChildExited>, factory: F) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
    F: FnOnce(&mut Context<A>) -> A + 'static,
{
    let (sender, receiver) = channel::channel(mailbox);
    let mut obituary = Obituary { id, parent: Some(parent) };
    actix::spawn(async move {
        let exit = match Net::make(receiver, factory) {
            Err(panic) => panic,
            Ok(mut net) => {
                let exit = (&mut net).await;
                net.bury(exit)
            }
        };
        obituary.send(exit);
    });
    Addr::new(sender)
}

/// Reports the end to the parent, even if the task is dropped with its arbiter.
struct Obituary {
    id: u64,
    parent: Option<Recipient<ChildExited>>,
}

impl Obituary {
    fn send(&mut self, exit: Exit) {
        if let Some(parent) = self.parent.take() {
            // Not `try_send`: no end may be lost, and there are no more of these messages than
            // children.
            parent.do_send(ChildExited { id: self.id, exit });
        }
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        self.send(Exit::Killed);
    }
}
