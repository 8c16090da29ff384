//! Who answers options that the server doesn't know, or grants less of those that it does.

use std::fmt;
use std::sync::Arc;

use actix::Message;

use super::Asked;
use super::closure::Closure;
use super::step::{Otherwise, Question, Step, sealed};
use crate::store::{Name, Source, Store};

/// Answers options of a request, once its file is open. All negotiators are asked, in the order in which they were added; what they may answer is checked, see [`Grant`].
///
/// It is called on the thread that serves the transfer: whoever has to wait for something, or reads the file, is an actor that takes [`Negotiate`]. It is not called for requests
/// without options.
///
/// No client is answered an option that it didn't ask for (RFC 2347), and less of one may be granted where its RFC lets a server do so (RFC 2348, RFC 7440 §3).
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Asked, Found, Grant, Negotiator};
///
/// /// Boards of 10.0.9.0/24 ask for blocks that their driver can't take.
/// #[derive(Debug)]
/// struct SmallBlocks;
///
/// impl Negotiator for SmallBlocks {
///     fn negotiate(&self, asked: &Asked<'_>, _: &Found) -> Vec<Grant> {
///         let concerned = asked.peer.to_string().starts_with("10.0.9.") && asked.option("blksize").is_some();
///         concerned.then(|| Grant::new("blksize", "512")).into_iter().collect()
///     }
/// }
///
/// let builder = Stagecoach::builder().negotiator(SmallBlocks);
/// ```
pub trait Negotiator: fmt::Debug + Send + Sync + 'static {
    /// The options that it has an answer to. If it panics, that is none. A call of more than 500 ms
    /// ([`EXTENSION_CALL_WITHIN`](crate::limits::EXTENSION_CALL_WITHIN)) is reported to observers.
    fn negotiate(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant>;
}

/// An answer to an option.
///
/// What no client may get is left out, and observers are told of it: an option that wasn't asked
/// for, or is answered by another already; a value that is empty, has a NUL in it, or finds no room
/// in the OACK (512 octets, [`OACK_OCTETS_MAX`](crate::limits::OACK_OCTETS_MAX)). Of the options
/// that the server knows, `blksize`, `blksize2` and `windowsize` may be answered with less than was
/// asked for: it grants that then, or less. The others it answers itself. Any of them may be
/// [left out](Self::leave_out).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The option's name, in any spelling.
    pub name: String,
    /// What is answered; nothing, if `None`.
    pub value: Option<String>,
}

impl Grant {
    /// Answers the option `name` with `value`.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Has the option `name` be as if it had not been asked for, whatever others answer to it: some firmware asks for what it can't do with.
    #[must_use]
    pub fn leave_out(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }
}

/// The file that a request is about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// Where it is: the server's own store, with what
    /// [`wrap_store`](crate::daemon::Builder::wrap_store) has put in front of it for this request, or
    /// the one that a route chose, as it is.
    pub store: Arc<dyn Store>,
    /// Its name there.
    pub name: Name,
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

/// Asks negotiators.
pub type NegotiatorStep = Step<Negotiate>;

impl sealed::Sealed for Negotiate {}

impl Question for Negotiate {
    type Called = dyn Negotiator;
    const OTHERWISE: Otherwise = Otherwise::Pass;
}

impl<F> Negotiator for Closure<F>
where
    F: Fn(&Asked<'_>, &Found) -> Vec<Grant> + Send + Sync + 'static,
{
    fn negotiate(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant> {
        (self.0)(asked, file)
    }
}

impl NegotiatorStep {
    /// It is asked if the client asks for this option, in any spelling, and not otherwise: an actor
    /// that is slow, or pauses after a panic, keeps no other client waiting. Called several times,
    /// it is asked about each of the options.
    #[must_use]
    pub fn for_option(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.concerned_by(move |asked| asked.option(&name).is_some())
    }

    /// What becomes of the transfer if the actor doesn't answer. No difference to a negotiator that is called.
    #[must_use]
    pub fn or(self, what: Otherwise) -> Self {
        self.but(|asking| asking.otherwise = what)
    }
}

impl NegotiatorStep {
    /// A negotiator that is called.
    #[must_use]
    pub fn new(negotiator: impl Negotiator) -> Self {
        Self::calling(Arc::new(negotiator))
    }

    /// A closure that is called.
    #[must_use]
    pub fn from_fn(negotiator: impl Fn(&Asked<'_>, &Found) -> Vec<Grant> + Send + Sync + 'static) -> Self {
        Self::new(Closure(negotiator))
    }
}
