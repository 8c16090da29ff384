//! One of those who are asked: something that is called, or an actor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use super::{Ask, Negotiate, Negotiator, Opcode, Received, Route};
use crate::limits;

/// One of those who are asked: something that is called at once, or an actor that has a deadline to answer.
pub struct Step<Q: Question>(pub(crate) Answerer<Q>);

/// Asks routes.
pub type RouteStep = Step<Ask>;
/// Asks negotiators.
pub type NegotiatorStep = Step<Negotiate>;
/// Asks who has an opcode.
pub type OpcodeStep = Step<Received>;

/// What actors are asked at a seam: [`Ask`], [`Negotiate`] or [`Received`].
pub trait Question: Message<Result: Send> + Send + sealed::Sealed + 'static {
    /// The trait of what is called in their stead.
    type Called: fmt::Debug + ?Sized;

    /// What becomes of the client if an actor doesn't answer, unless it is said.
    const OTHERWISE: Otherwise;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Ask {}
    impl Sealed for super::Negotiate {}
    impl Sealed for super::Received {}
}

impl Question for Ask {
    type Called = dyn Route;
    const OTHERWISE: Otherwise = Otherwise::Refuse;
}

impl Question for Negotiate {
    type Called = dyn Negotiator;
    const OTHERWISE: Otherwise = Otherwise::Pass;
}

impl Question for Received {
    type Called = dyn Opcode;
    const OTHERWISE: Otherwise = Otherwise::Pass;
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
}

/// What becomes of a client if an actor doesn't answer: it takes too long, its mailbox is full for as long, it has stopped, or it panicked over the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// A reader is left without an answer and asks again, for boot loaders take any ERROR for "no such
    /// file"; an upload gets ERROR 0, "Internal error".
    Refuse,
    /// The next one is asked.
    Pass,
}

impl<Q: Question> Step<Q> {
    /// An actor that is asked. It has [`limits::EXTENSION_WITHIN`] to answer: a request that no route's actor has answered by then is [refused](Otherwise::Refuse), without a negotiator's
    /// answer the transfer [begins](Otherwise::Pass), and to an opcode there is no answer then.
    #[must_use]
    pub fn asking(actor: Recipient<Q>) -> Self {
        Self(Answerer::Actor(Asking { actor, within: limits::EXTENSION_WITHIN, otherwise: Q::OTHERWISE }))
    }

    /// The actor may take so long to answer; clients repeat their request after a second or more, and give up after some. No difference to what is called.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        self.but(|asking| asking.within = time)
    }

    /// Something that is called.
    pub(super) fn calling(called: Arc<Q::Called>) -> Self {
        Self(Answerer::Called(called))
    }

    fn but(mut self, change: impl FnOnce(&mut Asking<Q>)) -> Self {
        if let Answerer::Actor(asking) = &mut self.0 {
            change(asking);
        }
        self
    }
}

impl RouteStep {
    /// What becomes of the request if the actor doesn't answer. No difference to a route that is called.
    #[must_use]
    pub fn or(self, what: Otherwise) -> Self {
        self.but(|asking| asking.otherwise = what)
    }
}

impl NegotiatorStep {
    /// What becomes of the transfer if the actor doesn't answer. No difference to a negotiator that is called.
    #[must_use]
    pub fn or(self, what: Otherwise) -> Self {
        self.but(|asking| asking.otherwise = what)
    }
}

// (Derived, they would want a question that can be copied and shown.)
impl<Q: Question> Clone for Step<Q> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Answerer::Called(called) => Answerer::Called(Arc::clone(called)),
            Answerer::Actor(asking) => Answerer::Actor(asking.clone()),
        })
    }
}

impl<Q: Question> Clone for Asking<Q> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), ..*self }
    }
}

impl<Q: Question> fmt::Debug for Step<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Answerer::Called(called) => f.debug_tuple("Called").field(called).finish(),
            Answerer::Actor(Asking { within, otherwise, .. }) => {
                f.debug_struct("Actor").field("within", within).field("otherwise", otherwise).finish()
            }
        }
    }
}
