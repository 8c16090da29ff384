//! Negotiators: answers to options that the server doesn't know, and limits for those it knows.

use std::sync::Arc;

use actix::Message;

use super::Asked;
use super::step::{Otherwise, Question, Step, sealed};
use crate::store::{Name, Source, Store};

/// Answers options of a request once its file is open. All negotiators are asked, in the order in
/// which they were added. Their answers are checked, see [`Grant`].
///
/// It is called on the thread that serves the transfer, and only for requests with options. A
/// negotiator that needs to block, or to read the file, is an actor that handles [`Negotiate`].
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Asked, Found, Grant, Negotiator};
///
/// /// Boards in 10.0.9.0/24 ask for larger blocks than their driver supports.
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
pub trait Negotiator: Send + Sync + 'static {
    /// The answers to options. After a panic there are none. A call of more than 500 ms is reported
    /// to observers.
    fn negotiate(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant>;
}

/// An answer to an option (RFC 2347; lower values: RFC 2348, RFC 7440 §3).
///
/// The server discards an invalid answer and reports it to observers: an answer to an option that
/// the client didn't ask for or that another negotiator has answered; a value that is empty,
/// contains a NUL or doesn't fit in the OACK (512 octets, `OACK_OCTETS_MAX`). Of the options that
/// the server knows, only `blksize`, `blksize2` and `windowsize` may be answered, with a lower
/// value than the client asked for; the server grants that value or a lower one. Any option may be
/// [left out](Self::leave_out).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The option's name, in any case.
    pub name: String,
    /// The answer; `None` leaves the option out.
    pub value: Option<String>,
}

impl Grant {
    /// Answers the option `name` with `value`.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Treats the option `name` as if the client had not asked for it, whatever other negotiators
    /// answer: some firmware asks for options that it can't handle.
    #[must_use]
    pub fn leave_out(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }
}

/// The file of a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The store of the file: the server's own store with the layers that
    /// [`wrap_store`](crate::daemon::Builder::wrap_store) added for this request, or the unchanged
    /// store that a route chose.
    pub store: Arc<dyn Store>,
    /// The name of the file in that store.
    pub name: Name,
    /// Its size in octets, if known; never for an upload.
    pub size: Option<u64>,
    /// The opened file; `None` for an upload.
    pub source: Option<Arc<dyn Source>>,
}

/// Asks an actor to answer options.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Grant>")]
#[non_exhaustive]
pub struct Negotiate {
    /// The request.
    pub asked: Asked<'static>,
    /// The file of the request.
    pub file: Found,
}

/// A negotiator that is called, or an actor that negotiates.
pub type NegotiatorStep = Step<Negotiate>;

impl sealed::Sealed for Negotiate {}

impl Question for Negotiate {
    type Called = dyn Negotiator;
    const OTHERWISE: Otherwise = Otherwise::Pass;
}

impl<F> Negotiator for F
where
    F: Fn(&Asked<'_>, &Found) -> Vec<Grant> + Send + Sync + 'static,
{
    fn negotiate(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant> {
        self(asked, file)
    }
}

impl<N: Negotiator> From<N> for NegotiatorStep {
    fn from(negotiator: N) -> Self {
        Self::new(negotiator)
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
        Self::new(negotiator)
    }

    /// Asks the negotiator only if the client asks for this option, in any case of its name: other
    /// clients never wait for its actor. If this is called several times, one match is enough.
    #[must_use]
    pub fn for_option(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.concerned_by(move |asked| asked.option(&name).is_some())
    }

    /// What happens to the transfer if the negotiator is an actor and doesn't answer.
    #[must_use]
    pub fn or(self, what: Otherwise) -> Self {
        self.but(|asking| asking.otherwise = what)
    }
}
