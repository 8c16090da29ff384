//! A step at a seam: code that is called, or an actor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use tokio::time::timeout;

use super::Asked;
use crate::limits;
use crate::supervision::pauses_for_long;

/// Code that is called, or an actor that must answer within a deadline.
pub struct Step<Q: Question> {
    pub(crate) answerer: Answerer<Q>,
    /// Conditions, of which one must hold; if empty, the step is asked about everything.
    only: Vec<Concern>,
}

/// Whether a step is asked about a request.
type Concern = Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>;

/// The messages that ask actors: [`Ask`](super::Ask), [`Negotiate`](super::Negotiate) and
/// [`Received`](super::Received).
pub trait Question: Message<Result: Send> + Send + sealed::Sealed + 'static {
    /// The trait to call instead of asking an actor.
    type Called: ?Sized;

    /// The default for an actor that doesn't answer.
    const OTHERWISE: Otherwise;
}

/// Only this crate implements [`Question`].
pub(super) mod sealed {
    pub trait Sealed {}
}

pub(crate) enum Answerer<Q: Question> {
    Called(Arc<Q::Called>),
    Actor(Asking<Q>),
}

/// An actor, its deadline, and what happens without an answer.
#[derive(Debug)]
pub(crate) struct Asking<Q: Question> {
    pub(crate) actor: Recipient<Q>,
    pub(crate) within: Duration,
    pub(crate) otherwise: Otherwise,
}

/// What happens to a client if an actor doesn't answer: the actor is slow, its mailbox stays full,
/// it has stopped, it panicked at this question, or it pauses after another panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Otherwise {
    /// A read gets no answer and the client asks again, since boot loaders treat any ERROR as "no
    /// such file". An upload gets ERROR 0, "Internal error".
    Refuse,
    /// The next step is asked.
    Pass,
}

impl<Q: Question> Step<Q> {
    /// Asks an actor, which has three seconds to answer. Without an answer a route's actor
    /// [refuses](Otherwise::Refuse), a negotiator's actor [passes](Otherwise::Pass), and an
    /// opcode's actor sends nothing.
    ///
    /// After a panic, an actor of the server's tree pauses before it restarts: 10 ms, doubled by
    /// each panic within ten seconds, up to one second. A pause of 50 ms or more counts as no
    /// answer at once.
    #[must_use]
    pub fn asking(actor: Recipient<Q>) -> Self {
        let asking = Asking { actor, within: limits::EXTENSION_WITHIN, otherwise: Q::OTHERWISE };
        Self { answerer: Answerer::Actor(asking), only: Vec::new() }
    }

    /// Sets how long the actor may take to answer, instead of three seconds. Clients repeat a
    /// request after a second or more, and give up after a few repeats. This has no effect on code
    /// that is called.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        self.but(|asking| asking.within = time)
    }

    /// A step that is called.
    pub(super) fn calling(called: Arc<Q::Called>) -> Self {
        Self { answerer: Answerer::Called(called), only: Vec::new() }
    }

    pub(super) fn concerned_by(
        mut self,
        concern: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.only.push(Arc::new(concern));
        self
    }

    /// Whether the step is asked about this request. The conditions are code that may panic.
    pub(crate) fn concerns(&self, asked: &Asked<'_>) -> bool {
        self.only.is_empty() || self.only.iter().any(|concern| concern(asked))
    }

    pub(super) fn but(mut self, change: impl FnOnce(&mut Asking<Q>)) -> Self {
        if let Answerer::Actor(asking) = &mut self.answerer {
            change(asking);
        }
        self
    }
}

impl<Q: Question> From<Recipient<Q>> for Step<Q> {
    fn from(actor: Recipient<Q>) -> Self {
        Self::asking(actor)
    }
}

/// Asks an actor. A time of `within`, or a long restart pause of the actor, ends the wait.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn ask<M>(
    actor: &Recipient<M>,
    question: M,
    within: Duration,
) -> impl Future<Output = Result<M::Result, String>> + use<M>
where
    M: Message<Result: Send> + Send + 'static,
{
    let (asking, paused) = (actor.send(question), pauses_for_long(actor));
    async move {
        tokio::select! {
            biased;
            answer = timeout(within, asking) => match answer {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err("it panicked, or has stopped".to_owned()),
                Err(_) => Err(format!("it gave no answer within {within:?}")),
            },
            () = paused => Err("it panicked, and has not started again".to_owned()),
        }
    }
}

// A derived implementation would require `Q: Clone`.
impl<Q: Question> Clone for Step<Q> {
    fn clone(&self) -> Self {
        let answerer = match &self.answerer {
            Answerer::Called(called) => Answerer::Called(Arc::clone(called)),
            Answerer::Actor(asking) => Answerer::Actor(asking.clone()),
        };
        Self { answerer, only: self.only.clone() }
    }
}

impl<Q: Question> Clone for Asking<Q> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), ..*self }
    }
}

impl<Q: Question> fmt::Debug for Step<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answerer {
            Answerer::Called(_) => f.write_str("Called"),
            Answerer::Actor(Asking { within, otherwise, .. }) => {
                f.debug_struct("Actor").field("within", within).field("otherwise", otherwise).finish()
            }
        }
    }
}
