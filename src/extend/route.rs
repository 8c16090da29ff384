//! Routes: which file serves a request.

use std::sync::Arc;

use actix::{Message, MessageResponse};
use bytes::Bytes;

use super::Asked;
use super::step::{Otherwise, Question, Step, sealed};
use crate::error::Fault;
use crate::observe::Label;
use crate::store::{Fixed, Name, Store};
use crate::wire::ErrorCode;

/// Decides what serves a request. Routes are asked in the order in which they were added, until one
/// doesn't [pass](Routing::Pass). If all of them pass, the server's own store serves the request.
///
/// The listener calls it between two requests. A call of more than 500 ms is reported to observers.
/// Code that needs to block is an actor that handles [`Ask`].
///
/// ```
/// use std::sync::Arc;
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Asked, Route, Routing, Served};
/// use stagecoach::store::{Memory, Name};
///
/// /// Every board reads its own configuration under the same name.
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
/// let builder = Stagecoach::builder().route(ByAddress(Arc::default()));
/// ```
pub trait Route: Send + Sync + 'static {
    /// Decides about a request. After a panic a read gets no answer, and an upload gets ERROR 0.
    fn route(&self, asked: &Asked<'_>) -> Routing;
}

/// A route's answer.
#[derive(Debug, MessageResponse)]
#[non_exhaustive]
pub enum Routing {
    /// This file serves the request.
    Serve(Served),
    /// The client gets an ERROR.
    Refuse(Fault),
    /// The next route decides.
    Pass,
}

impl Routing {
    /// Refuses the request, with an error code and a text for the client: printable ASCII, at most
    /// 128 octets. U-Boot stops on codes 1 and 2, and starts again on every other.
    #[must_use]
    pub fn refuse(code: ErrorCode, text: &str) -> Self {
        Self::Refuse(Fault::refusal(code, text))
    }

    /// Serves these octets, whatever the name of the file.
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

/// What serves a request: a file of a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Served {
    /// The store of the file.
    pub store: Arc<dyn Store>,
    /// The file's name in that store; `None` for the requested one.
    pub name: Option<Name>,
    /// A label for the log.
    pub label: Option<Label>,
}

impl Served {
    /// Serves the requested file from `store`.
    #[must_use]
    pub fn from_store(store: Arc<dyn Store>) -> Self {
        Self { store, name: None, label: None }
    }

    /// Serves another file of the store.
    #[must_use]
    pub fn named(self, name: Name) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Adds a label for the log.
    #[must_use]
    pub fn labelled(self, label: &str) -> Self {
        Self { label: Some(Label::new(label)), ..self }
    }
}

/// Asks an actor about a request.
#[derive(Debug, Message)]
#[rtype(result = "Routing")]
pub struct Ask(pub Asked<'static>);

/// A route that is called, or an actor that routes.
pub type RouteStep = Step<Ask>;

impl sealed::Sealed for Ask {}

impl Question for Ask {
    type Called = dyn Route;
    const OTHERWISE: Otherwise = Otherwise::Refuse;
}

impl<F> Route for F
where
    F: Fn(&Asked<'_>) -> Routing + Send + Sync + 'static,
{
    fn route(&self, asked: &Asked<'_>) -> Routing {
        self(asked)
    }
}

impl<R: Route> From<R> for RouteStep {
    fn from(route: R) -> Self {
        Self::new(route)
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
        Self::new(route)
    }

    /// What happens to the request if the route is an actor and doesn't answer.
    #[must_use]
    pub fn or(self, what: Otherwise) -> Self {
        self.but(|asking| asking.otherwise = what)
    }

    /// Asks the route only about requests for which `concerns` returns `true`: other clients never
    /// wait for its actor. If this, [`only_named`](Self::only_named) and
    /// [`only_below`](Self::only_below) are called several times, one match is enough. `concerns`
    /// must not block.
    #[must_use]
    pub fn only(self, concerns: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.concerned_by(concerns)
    }

    /// Asks the route only about files with these names, as clients send them; see
    /// [`only`](Self::only).
    #[must_use]
    pub fn only_named<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.concerned_by(move |asked| names.iter().any(|name| name.as_bytes() == asked.name_bytes()))
    }

    /// Asks the route only about files whose names, as clients send them, begin with `prefix`, such
    /// as `config/`; see [`only`](Self::only).
    #[must_use]
    pub fn only_below(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.concerned_by(move |asked| asked.name_bytes().starts_with(prefix.as_bytes()))
    }
}
