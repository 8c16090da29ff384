//! Facts that can be kept, and sent to other threads.

use std::net::SocketAddr;

use super::{Fact, Report, TransferId};
use crate::error::{Fault, Limit};
use crate::wire::Request;

/// A [`Fact`] that borrows nothing. Its variants and fields have the same meaning.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(missing_docs, reason = "they are Fact's")]
pub enum OwnedFact {
    Listening { address: SocketAddr },
    Refused { peer: SocketAddr, request: Option<Request<'static>>, fault: Fault },
    Dropped { peer: SocketAddr, why: &'static str },
    BroadcastUnanswered { peer: SocketAddr },
    LimitReached { limit: Limit, peer: SocketAddr },
    Finished(Report),
    Crashed { actor: &'static str, transfer: Option<TransferId>, panic: String },
    Misbehaved { extension: &'static str, transfer: Option<TransferId>, why: String },
    ArbiterReplaced { arbiter: u64, why: String, moved: usize, ended: usize },
    Resumed { transfer: TransferId, resumption: u32 },
}

impl Fact<'_> {
    /// A copy that borrows nothing.
    #[must_use]
    pub fn to_owned(&self) -> OwnedFact {
        match *self {
            Fact::Listening { address } => OwnedFact::Listening { address },
            Fact::Refused { peer, request, fault } => OwnedFact::Refused {
                peer,
                request: request.map(|request| request.clone().into_owned()),
                fault: fault.clone(),
            },
            Fact::Dropped { peer, why } => OwnedFact::Dropped { peer, why },
            Fact::BroadcastUnanswered { peer } => OwnedFact::BroadcastUnanswered { peer },
            Fact::LimitReached { limit, peer } => OwnedFact::LimitReached { limit, peer },
            Fact::Finished(report) => OwnedFact::Finished(report.clone()),
            Fact::Crashed { actor, transfer, panic } => {
                OwnedFact::Crashed { actor, transfer, panic: panic.to_owned() }
            }
            Fact::Misbehaved { extension, transfer, why } => {
                OwnedFact::Misbehaved { extension, transfer, why: why.to_owned() }
            }
            Fact::ArbiterReplaced { arbiter, why, moved, ended } => {
                OwnedFact::ArbiterReplaced { arbiter, why: why.to_owned(), moved, ended }
            }
            Fact::Resumed { transfer, resumption } => OwnedFact::Resumed { transfer, resumption },
        }
    }
}
