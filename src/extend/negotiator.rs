//! Who answers options that the server doesn't know, or grants less of those that it does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use super::{Asked, Otherwise};
use crate::limits;
use crate::store::Source;

/// Answers options of a request, once its file is open. All negotiators are asked, in the order in which they were added; what they may answer is checked, see [`Grant`].
///
/// It is called on the thread that serves the transfer: whoever has to wait for something, or reads the file, is an actor that takes [`Negotiate`]. It is not called for requests
/// without options.
pub trait Negotiator: fmt::Debug + Send + Sync + 'static {
    /// The options that it has an answer to. If it panics, that is none.
    fn negotiate(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant>;
}

/// An answer to an option.
///
/// The server leaves out what no client may get, and tells observers of it: an option that wasn't asked for, or is answered by another already; a value that is empty, has a NUL in it, or finds no
/// room in the OACK ([`limits::OACK_OCTETS_MAX`]). Of the options that it knows, `blksize` and `windowsize` may be answered with less than was asked for: the
/// server grants that then, or less. The others it answers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The option's name, in any spelling.
    pub name: String,
    /// What is answered.
    pub value: String,
}

impl Grant {
    /// Answers the option `name` with `value`.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// The file that a request is about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// Its octets, if that is known; of an upload it isn't.
    pub size: Option<u64>,
    /// What is read; `None` of an upload.
    pub source: Option<Arc<dyn Source>>,
}

/// Asks an actor to answer options.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Grant>")]
pub struct Negotiate {
    /// The request.
    pub asked: Asked<'static>,
    /// Its file.
    pub file: Found,
}

/// One of those who are asked.
#[derive(Debug, Clone)]
pub struct NegotiatorStep(pub(crate) Step);

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Called at once.
    Here(Arc<dyn Negotiator>),
    /// An actor that is asked, and may take so long to answer.
    Asks { actor: Recipient<Negotiate>, within: Duration, otherwise: Otherwise },
}

impl NegotiatorStep {
    /// A negotiator that is called.
    #[must_use]
    pub fn new(negotiator: impl Negotiator) -> Self {
        Self(Step::Here(Arc::new(negotiator)))
    }

    /// An actor that is asked. It has [`limits::EXTENSION_WITHIN`] to answer; else the transfer begins without its answers.
    #[must_use]
    pub fn asking(actor: Recipient<Negotiate>) -> Self {
        Self(Step::Asks { actor, within: limits::EXTENSION_WITHIN, otherwise: Otherwise::Pass })
    }

    /// The actor may take so long to answer. No difference to a negotiator that is called.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        if let Step::Asks { within, .. } = &mut self.0 {
            *within = time;
        }
        self
    }

    /// What becomes of the transfer if the actor doesn't answer. No difference to a negotiator that is called.
    #[must_use]
    pub fn or(mut self, what: Otherwise) -> Self {
        if let Step::Asks { otherwise, .. } = &mut self.0 {
            *otherwise = what;
        }
        self
    }
}
