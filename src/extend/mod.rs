//! The seams at which developers add what we did not think of.
//!
//! | seam | question | asked of | default |
//! |---|---|---|---|
//! | [`Route`] | which store and name answer this request, or why not? | each in turn, until one doesn't [pass](Routing::Pass) | the served directory |
//! | [`Store`](crate::store::Store) | open a file, read it, write it | the one that a route chose | [`Directory`](crate::store::Directory) |
//! | [`Negotiator`] | what is answered to options that the server doesn't know, and what less of others, or nothing? | all, once the file is open | nothing |
//! | [`Opcode`] | what is answered to a datagram that is not TFTP's? | who has that opcode | silence |
//! | [`Observer`](crate::observe::Observer) | nothing: it is told what happened | all | the log, the counters |
//!
//! At each of them stands either a trait, called on the thread that serves, or an actor, by the `Recipient` of one message: [`Ask`] for a route, [`Negotiate`], [`Received`] for an opcode,
//! [`Observed`] for an observer, and a few for a store ([`ActorStore`]). What is called must not wait; who has to wait is an actor.
//!
//! Whatever an extension does, the server goes on: one that panics loses the request that it was asked about, one that doesn't answer in time is treated as
//! [`Otherwise`] says, what no client may get is left out; and every other transfer is served as if nothing were. Observers are told of it
//! ([`Fact::Crashed`](crate::observe::Fact::Crashed), [`Fact::Misbehaved`](crate::observe::Fact::Misbehaved)).

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
