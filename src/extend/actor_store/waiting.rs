//! Waits for the answer of a store's actor.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::error::{Failure, Fault};
use crate::supervision::Pauses;

/// What ends the wait for an actor's answer: its deadline, or a restart pause.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) within: Duration,
    pub(super) pauses: Pauses,
}

impl Waiting {
    /// The actor's answer.
    ///
    /// # Errors
    /// The actor did not answer.
    pub(super) async fn answer<T>(
        self,
        asking: impl Future<Output = Result<T, MailboxError>>,
    ) -> Result<T, Fault> {
        let Self { within, pauses } = self;
        tokio::select! {
            biased;
            answer = timeout(within, asking) => answer.map_err(no_answer)?.map_err(no_answer),
            () = pauses.one_is_long() => Err(no_answer("it panicked, and has not started again")),
        }
    }

    /// The same, blocking the thread.
    ///
    /// # Errors
    /// The actor did not answer, or refused.
    pub(super) fn wait<M, T>(self, actor: &Recipient<M>, question: M) -> Result<T, Fault>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        let asking = actor.send(question);
        runtime()?.block_on(self.answer(asking))?
    }
}

pub(super) fn runtime() -> Result<Handle, Fault> {
    Handle::try_current().map_err(no_answer)
}

fn no_answer(why: impl Display) -> Fault {
    Fault::new(Failure::Internal, format_args!("the store's actor did not answer: {why}"))
}
