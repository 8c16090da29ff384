//! The net around one actor: it catches panics, and runs nothing of the actor after one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::dev::ContextFut;
use actix::dev::channel::AddressReceiver;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};

use super::Exit;
use super::caught::{caught, contained};

type Life<A> = ContextFut<A, Context<A>>;

/// [`ContextFut::restart`], which exists only for actors that can be restarted.
pub(super) type Restart<A> = fn(&mut Life<A>) -> bool;

/// An actor, its context and its mailbox. As a future it is one life of the actor, and resolves to
/// its exit.
pub(super) struct Net<A: Actor<Context = Context<A>>> {
    /// `None` after [`drop_actor`](Self::drop_actor). This must be dropped outside of unwinding: a
    /// second panic in what the actor owns would abort the process.
    life: Option<Box<Life<A>>>,
}

impl<A: Actor<Context = Context<A>>> Net<A> {
    pub(super) fn make(
        receiver: AddressReceiver<A>,
        factory: impl FnOnce(&mut Context<A>) -> A,
    ) -> Result<Self, Exit> {
        let made = in_net(|| {
            let mut context = Context::with_receiver(receiver);
            let actor = factory(&mut context);
            context.into_future(actor)
        });
        made.map(|life| Self { life: Some(Box::new(life)) })
    }

    /// Stops the actor: at once if it leaves its mail, else when it has handled its messages.
    pub(super) fn stop(&mut self, leaves_mail: bool) {
        let Some(life) = &mut self.life else { return };
        if leaves_mail {
            life.ctx().stop();
        } else {
            life.ctx().spawn(StopWhenRead);
        }
    }

    /// Begins another life, at the same address and with the same messages.
    pub(super) fn restart(&mut self, restart: Restart<A>) -> Result<(), Exit> {
        // actix refuses only if nobody has the address, and the restarting code has it.
        self.in_life(restart).map(drop)
    }

    /// Drops the actor after its last `exit`. Returns the exit to report: dropping the actor may
    /// panic too.
    pub(super) fn drop_actor(&mut self, exit: Exit) -> Exit {
        let Some(life) = self.ended_life() else { return exit };
        if exit == Exit::Normal {
            return in_net(|| drop(life)).err().unwrap_or(exit);
        }
        contained(|| drop(life));
        exit
    }

    fn ended_life(&mut self) -> Option<Box<Life<A>>> {
        let mut life = self.life.take()?;
        // If a context that is not terminated were dropped, actix would poll it once more, outside
        // of the net and perhaps of the runtime.
        life.ctx().terminate();
        Some(life)
    }

    /// Runs a step of the life, if there is one. After a panic the actor's state is unknown, and
    /// actix would still ask it whether to stop. Only a restart or the drop may follow.
    fn in_life<T>(&mut self, step: impl FnOnce(&mut Life<A>) -> T) -> Result<Option<T>, Exit> {
        let Some(life) = &mut self.life else { return Ok(None) };
        let done = in_net(|| step(life));
        if done.is_err() {
            life.ctx().terminate();
        }
        done.map(Some)
    }
}

impl<A: Actor<Context = Context<A>>> Future for Net<A> {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Exit> {
        match self.in_life(|life| Pin::new(life).poll(task)) {
            Ok(Some(Poll::Pending)) => Poll::Pending,
            Ok(_) => Poll::Ready(Exit::Normal),
            Err(panic) => Poll::Ready(panic),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Net<A> {
    /// The arbiter ended under the actor, which is reported as its exit; no later panic is.
    fn drop(&mut self) {
        if let Some(life) = self.ended_life() {
            contained(|| drop(life));
        }
    }
}

fn in_net<T>(step: impl FnOnce() -> T) -> Result<T, Exit> {
    caught(step).map_err(Exit::Panicked)
}

/// Stops its actor once no message waits and none is being handled. actix polls an actor's futures
/// when its mailbox is empty, or when a message that is being handled makes the others wait.
struct StopWhenRead;

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
