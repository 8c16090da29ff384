//! The net under one actor: catches what panics, and lets nothing of the actor run that shouldn't.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::dev::ContextFut;
use actix::dev::channel::AddressReceiver;
use actix::{Actor, ActorContext, AsyncContext, Context};

use super::Exit;
use super::caught::{caught, contained};
use super::mail::StopWhenRead;

type Life<A> = ContextFut<A, Context<A>>;

/// [`ContextFut::restart`], which only those actors have that can be started again.
pub(super) type Restart<A> = fn(&mut Life<A>) -> bool;

/// An actor, its context and its mailbox. As a future it is one life of the actor, and ends with its exit.
pub(super) struct Net<A: Actor<Context = Context<A>>> {
    /// `None` once it is buried. It stays outside of what is caught: dropped while unwinding, a second panic in what the actor owns would
    /// abort the process.
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

    /// The actor's `stopping` runs when it is polled next.
    pub(super) fn stop(&mut self) {
        if let Some(life) = &mut self.life {
            life.ctx().stop();
        }
    }

    /// The same, once the actor has handled the messages that wait.
    pub(super) fn stop_when_read(&mut self) {
        if let Some(life) = &mut self.life {
            life.ctx().spawn(StopWhenRead);
        }
    }

    /// Begins another life, at the same address and with the same mail.
    pub(super) fn restart(&mut self, restart: Restart<A>) -> Result<(), Exit> {
        match self.in_life(restart) {
            Some(Err(panic)) => Err(panic),
            // (actix refuses only if nobody has the address; whoever restarts it has.)
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Drops the actor after its last `exit`. The exit that is to be told of: dropping it may panic too.
    pub(super) fn bury(&mut self, exit: Exit) -> Exit {
        let Some(life) = self.ended_life() else { return exit };
        if exit == Exit::Normal {
            return in_net(|| drop(life)).err().unwrap_or(exit);
        }
        contained(|| drop(life));
        exit
    }

    fn ended_life(&mut self) -> Option<Box<Life<A>>> {
        let mut life = self.life.take()?;
        // Dropped as it is, one that looks alive would be polled by actix once more, outside of the net and perhaps of the runtime.
        life.ctx().terminate();
        Some(life)
    }

    /// Runs a step of the life, if there is one. After a panic nothing of it must run any more but another life, or what drops it: it is
    /// in a state that nobody knows, and actix would ask it whether to stop.
    fn in_life<T>(&mut self, step: impl FnOnce(&mut Life<A>) -> T) -> Option<Result<T, Exit>> {
        let life = self.life.as_mut()?;
        let done = in_net(|| step(life));
        if done.is_err() {
            life.ctx().terminate();
        }
        Some(done)
    }
}

impl<A: Actor<Context = Context<A>>> Future for Net<A> {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Exit> {
        match self.in_life(|life| Pin::new(life).poll(task)) {
            Some(Ok(Poll::Pending)) => Poll::Pending,
            Some(Ok(Poll::Ready(()))) | None => Poll::Ready(Exit::Normal),
            Some(Err(exit)) => Poll::Ready(exit),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Net<A> {
    /// The arbiter ended under the actor. Whoever waits for its exit hears that, and of no further panic.
    fn drop(&mut self) {
        if let Some(life) = self.ended_life() {
            contained(|| drop(life));
        }
    }
}

fn in_net<T>(step: impl FnOnce() -> T) -> Result<T, Exit> {
    caught(step).map_err(Exit::Panicked)
}
