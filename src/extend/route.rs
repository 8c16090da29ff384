//! Who answers a request.

use std::fmt;
use std::sync::Arc;

use actix::{Message, MessageResponse};
use bytes::Bytes;

use super::Asked;
use super::closure::Closure;
use super::step::{Otherwise, Question, Step, sealed};
use crate::error::Fault;
use crate::observe::Label;
use crate::store::{Fixed, Name, Store};
use crate::wire::ErrorCode;

/// Decides what answers a request. Routes are asked in the order in which they were added, until one doesn't [pass](Routing::Pass); what all of them pass on is served from the
/// server's own store.
///
/// It is called by the listener between two requests: whoever has to wait for something is an actor
/// that takes [`Ask`]. A call of more than 500 ms
/// ([`EXTENSION_CALL_WITHIN`](crate::limits::EXTENSION_CALL_WITHIN)) is reported to observers.
///
/// ```
/// use std::sync::Arc;
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Asked, Route, Routing, Served};
/// use stagecoach::store::{Memory, Name};
///
/// /// Every board finds its own configuration under the same name.
/// #[derive(Debug)]
/// struct ByAddress(Arc<Memory>);
///
/// impl Route for ByAddress {
///     fn route(&self, asked: &Asked<'_>) -> Routing {
///         if asked.name() != "config" {
///             return Routing::Pass;
///         }
///         let name = Name::from_request(asked.peer.ip().to_string().as_bytes());
///         name.map_or(Routing::Pass, |name| {
///             Served::from_store(self.0.clone()).named(name).labelled("config").into()
///         })
///     }
/// }
///
/// let builder = Stagecoach::builder().route_by(ByAddress(Arc::default()));
/// ```
pub trait Route: fmt::Debug + Send + Sync + 'static {
    /// What becomes of this request. If it panics, a reader is left without an answer, and an
    /// upload gets ERROR 0, "Internal error".
    fn route(&self, asked: &Asked<'_>) -> Routing;
}

/// A route's answer.
#[derive(Debug, MessageResponse)]
pub enum Routing {
    /// This is what answers.
    Serve(Served),
    /// The client gets one ERROR.
    Refuse(Fault),
    /// The next one may decide.
    Pass,
}

impl Routing {
    /// Refuses, with a code and a text for the client: what of it isn't printable ASCII is left
    /// out, and so is what is beyond 128 octets
    /// ([`ERROR_TEXT_OCTETS_MAX`](crate::limits::ERROR_TEXT_OCTETS_MAX)). Remember that U-Boot
    /// stops on codes 1 and 2, and begins anew on every other.
    #[must_use]
    pub fn refuse(code: ErrorCode, text: &str) -> Self {
        Self::Refuse(Fault::refusal(code, text))
    }

    /// Serves these octets, under whatever name.
    #[must_use]
    pub fn octets(octets: impl Into<Bytes>) -> Self {
        Self::Serve(Served::from_store(Arc::new(Fixed::new(octets))))
    }
}

impl From<Served> for Routing {
    fn from(served: Served) -> Self {
        Self::Serve(served)
    }
}

/// What answers a request: a file of a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Served {
    /// Where the file is.
    pub store: Arc<dyn Store>,
    /// Its name there; the one that was asked for, if `None`.
    pub name: Option<Name>,
    /// What the log says of the transfer.
    pub label: Option<Label>,
}

impl Served {
    /// The file of `store` that was asked for.
    #[must_use]
    pub fn from_store(store: Arc<dyn Store>) -> Self {
        Self { store, name: None, label: None }
    }

    /// Another file.
    #[must_use]
    pub fn named(self, name: Name) -> Self {
        Self { name: Some(name), ..self }
    }

    /// With a word for the log.
    #[must_use]
    pub fn labelled(self, label: &str) -> Self {
        Self { label: Some(Label::new(label)), ..self }
    }
}

/// Asks an actor what becomes of a request.
#[derive(Debug, Message)]
#[rtype(result = "Routing")]
pub struct Ask(pub Asked<'static>);

/// Asks routes.
pub type RouteStep = Step<Ask>;

impl sealed::Sealed for Ask {}

impl Question for Ask {
    type Called = dyn Route;
    const OTHERWISE: Otherwise = Otherwise::Refuse;
}

impl<F> Route for Closure<F>
where
    F: Fn(&Asked<'_>) -> Routing + Send + Sync + 'static,
{
    fn route(&self, asked: &Asked<'_>) -> Routing {
        (self.0)(asked)
    }
}

impl RouteStep {
    /// What becomes of the request if the actor doesn't answer. No difference to a route that is called.
    #[must_use]
    pub fn or(self, what: Otherwise) -> Self {
        self.but(|asking| asking.otherwise = what)
    }

    /// It is asked about requests for which `concerns` answers `true`, and no others: an actor that
    /// is slow, or pauses after a panic, keeps no other client waiting. If [`only`](Self::only),
    /// [`only_named`](Self::only_named) and [`only_below`](Self::only_below) are called several
    /// times, one that answers `true` is enough.
    ///
    /// `concerns` is called as a [`Route`] is: it must not wait.
    ///
    /// ```
    /// use stagecoach::extend::{RouteStep, Routing};
    ///
    /// let uploads = RouteStep::from_fn(|_| Routing::Pass).only(|asked| !asked.is_read());
    /// ```
    #[must_use]
    pub fn only(self, concerns: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.concerned_by(concerns)
    }

    /// It is asked about files of these names, and no others; see [`only`](Self::only). A name is
    /// compared as the client sends it.
    #[must_use]
    pub fn only_named<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.concerned_by(move |asked| names.iter().any(|name| name.as_bytes() == asked.name_bytes()))
    }

    /// It is asked about files whose names begin so, as `config/`, and no others; see
    /// [`only`](Self::only). A name is compared as the client sends it.
    #[must_use]
    pub fn only_below(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.concerned_by(move |asked| asked.name_bytes().starts_with(prefix.as_bytes()))
    }
}

impl RouteStep {
    /// A route that is called.
    #[must_use]
    pub fn new(route: impl Route) -> Self {
        Self::calling(Arc::new(route))
    }

    /// A closure that is called.
    #[must_use]
    pub fn from_fn(route: impl Fn(&Asked<'_>) -> Routing + Send + Sync + 'static) -> Self {
        Self::new(Closure(route))
    }
}

/// The name that is looked up: the route's, or the one that was asked for.
///
/// # Errors
/// If that is none of a file.
pub(crate) fn name_of(served: &Served, asked: &Asked<'_>) -> Result<Name, Fault> {
    served.name.clone().map_or_else(|| Name::from_request(asked.name_bytes()), Ok)
}
