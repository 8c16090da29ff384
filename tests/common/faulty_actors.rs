//! Actors that have stopped, are slow, or never answer.

use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::*;

/// An actor that has stopped.
pub(crate) fn stopped_actor<M>() -> Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
    Context<StoppedActor>: ToEnvelope<StoppedActor, M>,
{
    // Nobody runs this context.
    Context::<StoppedActor>::new().address().recipient()
}

/// An actor that never answers, and has room for one question.
pub(crate) fn unresponsive_actor<M>() -> Recipient<M>
where
    M: Message + Send + Unpin + 'static,
    M::Result: Send + 'static,
{
    SlowActor(|_: M| -> M::Result { unreachable!("it never gets so far") }, Duration::from_secs(3600))
        .start()
        .recipient()
}

/// An actor that takes one question at a time, needs 20 ms for each, and has room for one more.
pub(crate) fn slow_actor<M, F>(answer: F) -> Recipient<M>
where
    M: Message + Send + Unpin + 'static,
    M::Result: Send + 'static,
    F: Fn(M) -> M::Result + Unpin + 'static,
{
    SlowActor(answer, Duration::from_millis(20)).start().recipient()
}

pub(crate) struct StoppedActor;

impl Actor for StoppedActor {
    type Context = Context<Self>;
}

impl<M: Message<Result: 'static>> Handler<M> for StoppedActor {
    type Result = ResponseFuture<M::Result>;

    fn handle(&mut self, _: M, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

struct SlowActor<F>(F, Duration);

impl<F: Unpin + 'static> Actor for SlowActor<F> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1);
    }
}

impl<M, F> Handler<M> for SlowActor<F>
where
    M: Message<Result: 'static> + Unpin + 'static,
    F: Fn(M) -> M::Result + Unpin + 'static,
{
    type Result = AtomicResponse<Self, M::Result>;

    fn handle(&mut self, question: M, _: &mut Self::Context) -> Self::Result {
        let waiting = tokio::time::sleep(self.1).into_actor(self);
        AtomicResponse::new(Box::pin(waiting.map(move |(), actor, _| (actor.0)(question))))
    }
}
