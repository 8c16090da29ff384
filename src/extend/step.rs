//! One of those who are asked: something that is called, or an actor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use super::Asked;
use crate::limits;
use crate::supervision::Pauses;

/// One of those who are asked: something that is called at once, or an actor that has a deadline to answer.
pub struct Step<Q: Question> {
    pub(crate) answerer: Answerer<Q>,
    /// What it is asked about; everything, if this is empty.
    only: Vec<Concern>,
}

/// Whether a step is asked about a request.
type Concern = Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>;

/// What actors are asked at a seam: [`Ask`](super::Ask), [`Negotiate`](super::Negotiate) or [`Received`](super::Received).
pub trait Question: Message<Result: Send> + Send + sealed::Sealed + 'static {
    /// The trait of what is called in their stead.
    type Called: fmt::Debug + ?Sized;

    /// What becomes of the client if an actor doesn't answer, unless it is said.
    const OTHERWISE: Otherwise;
}

/// The questions are those of the seams, and no others.
pub(super) mod sealed {
    pub trait Sealed {}
}

pub(crate) enum Answerer<Q: Question> {
    /// Called at once.
    Called(Arc<Q::Called>),
    /// An actor that is asked.
    Actor(Asking<Q>),
}

/// An actor, how long it may take to answer, and what becomes of the client otherwise.
#[derive(Debug)]
pub(crate) struct Asking<Q: Question> {
    pub(crate) actor: Recipient<Q>,
    pub(crate) within: Duration,
    pub(crate) otherwise: Otherwise,
    pub(crate) pauses: Pauses,
}

/// What becomes of a client if an actor doesn't answer: it takes too long, its mailbox is full for
/// as long, it has stopped, it panicked over the question, or it panicked over another one and
/// pauses before it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// A reader is left without an answer and asks again, for boot loaders take any ERROR for "no
    /// such file"; an upload gets ERROR 0, "Internal error".
    Refuse,
    /// The next one is asked.
    Pass,
}

impl<Q: Question> Step<Q> {
    /// An actor that is asked. It has three seconds ([`limits::EXTENSION_WITHIN`]) to answer: a
    /// request that a route's actor has not answered by then [is left without an
    /// answer](Otherwise::Refuse) (an upload gets ERROR 0), without a negotiator's answer the transfer
    /// [begins](Otherwise::Pass), and to an opcode there is no answer then.
    ///
    /// An actor of the server's tree that has panicked is not waited for: as long as it
    /// [pauses](crate::limits::RESTART_PAUSE) before it starts again (10 ms, doubled by each panic
    /// within ten seconds up to one second), it has no answer, unless that takes less than 50 ms
    /// ([`limits::EXTENSION_RESTART_WITHIN`]).
    #[must_use]
    pub fn asking(actor: Recipient<Q>) -> Self {
        let (within, otherwise) = (limits::EXTENSION_WITHIN, Q::OTHERWISE);
        let pauses = Pauses::of(&actor);
        Self::answered_by(Answerer::Actor(Asking { actor, within, otherwise, pauses }))
    }

    /// The actor may take so long to answer, in place of three seconds; clients repeat their
    /// request after a second or more, and give up after some. No difference to what is called.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        self.but(|asking| asking.within = time)
    }

    /// Something that is called.
    pub(super) fn calling(called: Arc<Q::Called>) -> Self {
        Self::answered_by(Answerer::Called(called))
    }

    pub(super) fn answered_by(answerer: Answerer<Q>) -> Self {
        Self { answerer, only: Vec::new() }
    }

    pub(super) fn concerned_by(
        mut self,
        concern: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.only.push(Arc::new(concern));
        self
    }

    /// Whether it is asked about this request. That may be an extension's code: it may panic.
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

// (Derived, they would want a question that can be copied and shown.)
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
        Self { actor: self.actor.clone(), pauses: self.pauses.clone(), ..*self }
    }
}

impl<Q: Question> fmt::Debug for Step<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answerer {
            Answerer::Called(called) => f.debug_tuple("Called").field(called).finish(),
            Answerer::Actor(Asking { within, otherwise, .. }) => {
                f.debug_struct("Actor").field("within", within).field("otherwise", otherwise).finish()
            }
        }
    }
}
