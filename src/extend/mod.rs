//! The seams for extensions.
//!
//! | seam | question | asked of | default |
//! |---|---|---|---|
//! | [`Route`] | which store and name answer this request, or why not? | each in turn, until one doesn't [pass](Routing::Pass) | the served directory |
//! | [`Store`](crate::store::Store) | open a file, read it, write it | the one that a route chose | [`Directory`](crate::store::Directory) |
//! | [`Negotiator`] | what is the answer to options that the server doesn't know, and what less of others is granted? | all, once the file is open | nothing |
//! | [`Opcode`] | what is the answer to a datagram that is not TFTP's? | the one for that opcode | silence |
//! | [`Observer`](crate::observe::Observer) | none: it is informed of what happened | all | the log, the counters |
//!
//! Each seam takes either a trait, which is called on the thread that serves, or an actor, as the
//! `Recipient` of one message: [`Ask`] for a route, [`Negotiate`], [`Received`] for an opcode,
//! [`Observed`] for an observer, and several for a store ([`ActorStore`]). An extension that is
//! called must not wait; an extension that waits is an actor.
//!
//! The server continues whatever an extension does. An extension that panics loses the request that
//! it was asked about. If an actor doesn't answer in time, [`Otherwise`] says what happens. An
//! answer that no client may get is left out. No other transfer notices, and observers are informed
//! ([`Fact::Crashed`](crate::observe::Fact::Crashed),
//! [`Fact::Misbehaved`](crate::observe::Fact::Misbehaved)).

mod actor_store;
mod asked;
mod built_in;
mod closure;
mod grants;
mod negotiator;
mod opcode;
mod route;
mod step;
mod tell;

pub use self::actor_store::{
    ActorStore, AppendSlab, CloseFile, CreateFile, CreatedFile, FetchSlab, FileId, OpenFile, OpenedFile,
    PublishFile,
};
pub use self::asked::Asked;
pub(crate) use self::built_in::InterfaceMtu;
pub(crate) use self::closure::Closure;
pub(crate) use self::grants::Grants;
pub use self::negotiator::{Found, Grant, Negotiate, Negotiator, NegotiatorStep};
pub use self::opcode::{Datagram, Opcode, OpcodeStep, Received};
pub(crate) use self::route::name_of;
pub use self::route::{Ask, Route, RouteStep, Routing, Served};
pub(crate) use self::step::{Answerer, Asking};
pub use self::step::{Otherwise, Question, Step};
pub use self::tell::{Observed, Tell};

/// The code in the manual is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/extending.md")]
struct Manual;
