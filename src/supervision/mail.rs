//! What an actor does with waiting messages when it is told to stop.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mail {
    /// It handles them before it stops.
    Finished,
    /// It drops them and stops at once.
    Left,
}

/// Stops its actor once no message waits and none is being handled. actix polls an actor's futures
/// when its mailbox is empty, or when a message that is being handled makes the others wait.
pub(super) struct StopWhenRead;

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for StopWhenRead {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut A, ctx: &mut Context<A>, _: &mut TaskContext<'_>) -> Poll<()> {
        if ctx.waiting() {
            return Poll::Pending;
        }
        ctx.stop();
        Poll::Ready(())
    }
}
