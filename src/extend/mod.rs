//! The seams for extensions: the places where the server asks code that stagecoach doesn't have.
//!
//! | seam | question | asked of | default |
//! |---|---|---|---|
//! | [`Route`] | which store and file serve this request, or why is it refused? | each in turn, until one doesn't [pass](Routing::Pass) | the served directory |
//! | [`Store`](crate::store::Store) | open, read or write a file | the one that a route chose | [`Directory`](crate::store::Directory) |
//! | [`Negotiator`] | what is the answer to an unknown option, and which known options are limited or left out? | all, once the file is open | no answer |
//! | [`Opcode`] | what is the answer to a datagram with an unknown opcode? | the owner of the opcode | no answer |
//! | [`Observer`](crate::observe::Observer) | none: it gets each fact | all | the log, the counters |
//!
//! Each seam accepts a trait object, which is called on the serving thread, or an actor, given by
//! the `Recipient` of one message: [`Ask`] for a route, [`Negotiate`] for a negotiator,
//! [`Received`] for an opcode, [`Observed`] for an observer, and several messages for a store
//! ([`ActorStore`]). Code that is called must not block; code that needs to block is an actor.
//!
//! The server survives every fault of an extension: a panic costs only the request that the
//! extension was asked about, [`Otherwise`] says what happens without an actor's answer, and
//! invalid answers are left out. Observers get a report
//! ([`Fact::Crashed`](crate::observe::Fact::Crashed),
//! [`Fact::Misbehaved`](crate::observe::Fact::Misbehaved)).

mod actor_observer;
mod actor_store;
mod asked;
mod built_in;
mod grants;
mod negotiator;
mod opcode;
mod route;
mod step;

pub use self::actor_observer::{ActorObserver, Observed};
pub use self::actor_store::{
    ActorStore, AppendSlab, CloseFile, CreateFile, CreatedFile, FetchSlab, FileId, OpenFile, OpenedFile,
    PublishFile,
};
pub use self::asked::Asked;
pub(crate) use self::built_in::InterfaceMtu;
pub(crate) use self::grants::Grants;
pub use self::negotiator::{Found, Grant, Negotiate, Negotiator, NegotiatorStep};
pub use self::opcode::{Datagram, Opcode, OpcodeStep, Received};
pub use self::route::{Ask, Route, RouteStep, Routing, Served};
pub(crate) use self::step::{Answerer, Asking, ask};
pub use self::step::{Otherwise, Question, Step};

/// Compiles the code in the manual.
#[cfg(doctest)]
#[doc = include_str!("../../docs/extending.md")]
struct Manual;
