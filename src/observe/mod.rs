//! Facts that happened, and their observers: the log, the counters, extensions.

mod counters;
mod log;
mod severity;
#[cfg(test)]
pub(crate) mod test_support;
mod withheld;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::counters::{Counters, Tallied, TalliedLabel, TalliedReason};
pub(crate) use self::log::LogObserver;
use crate::error::{Fault, Limit};
use crate::limits::LABEL_OCTETS_MAX;
pub use crate::transfer::{Outcome, Tally};
use crate::wire::{Direction, Request};

/// The number of a transfer, counted from 1 since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u64);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Events of a server. Logs, metrics and extensions all use this one list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fact<'a> {
    /// The server takes requests at this address.
    Listening {
        /// The address, with the actual port.
        address: SocketAddr,
    },
    /// A request got an ERROR before a transfer began.
    Refused {
        /// The client.
        peer: SocketAddr,
        /// The request; `None` if it couldn't be parsed.
        request: Option<Request<'a>>,
        /// The reason.
        fault: Cow<'a, Fault>,
    },
    /// A datagram got no answer.
    Dropped {
        /// The sender.
        peer: SocketAddr,
        /// The reason, in a few words.
        why: &'static str,
    },
    /// The settings don't allow an answer to a read that was sent to a broadcast address.
    BroadcastUnanswered {
        /// The sender.
        peer: SocketAddr,
    },
    /// A request or a transfer reached a limit. Another fact reports its outcome.
    LimitReached {
        /// The limit.
        limit: Limit,
        /// The client.
        peer: SocketAddr,
    },
    /// A transfer has ended, or its file could not be opened.
    Finished(Cow<'a, Report>),
    /// An actor panicked, or a call to the store did.
    Crashed {
        /// The kind of actor, or `store`.
        actor: &'static str,
        /// Its transfer, if it had one.
        transfer: Option<TransferId>,
        /// The panic message.
        panic: Cow<'a, str>,
    },
    /// An extension gave an invalid answer, or none in time.
    Misbehaved {
        /// The kind of extension.
        extension: &'static str,
        /// The transfer that the question was about, if any.
        transfer: Option<TransferId>,
        /// What the extension did.
        why: Cow<'a, str>,
    },
    /// An arbiter stopped or was blocked, and was replaced.
    ArbiterReplaced {
        /// Its number, counted from 1 since the server started.
        arbiter: u64,
        /// What was wrong with it, in a few words.
        why: Cow<'a, str>,
        /// Transfers that continue on the new arbiter.
        moved: usize,
        /// Transfers that were ended.
        ended: usize,
    },
    /// A session panicked, and a new one continues its transfer.
    Resumed {
        /// The transfer.
        transfer: TransferId,
        /// How often this transfer has been resumed.
        resumption: u32,
    },
}

impl Fact<'_> {
    /// A copy that borrows nothing, to be kept or sent to another thread.
    #[must_use]
    pub fn to_owned(&self) -> Fact<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        match *self {
            Self::Listening { address } => Fact::Listening { address },
            Self::Refused { peer, ref request, ref fault } => Fact::Refused {
                peer,
                request: request.clone().map(Request::into_owned),
                fault: Cow::Owned(fault.clone().into_owned()),
            },
            Self::Dropped { peer, why } => Fact::Dropped { peer, why },
            Self::BroadcastUnanswered { peer } => Fact::BroadcastUnanswered { peer },
            Self::LimitReached { limit, peer } => Fact::LimitReached { limit, peer },
            Self::Finished(ref report) => Fact::Finished(Cow::Owned(report.clone().into_owned())),
            Self::Crashed { actor, transfer, ref panic } => {
                Fact::Crashed { actor, transfer, panic: owned(panic) }
            }
            Self::Misbehaved { extension, transfer, ref why } => {
                Fact::Misbehaved { extension, transfer, why: owned(why) }
            }
            Self::ArbiterReplaced { arbiter, ref why, moved, ended } => {
                Fact::ArbiterReplaced { arbiter, why: owned(why), moved, ended }
            }
            Self::Resumed { transfer, resumption } => Fact::Resumed { transfer, resumption },
        }
    }
}

/// Receives facts on the threads that serve: it must not block. A call of more than 500 ms is
/// reported to all observers. An observer that needs to block is an actor, behind a
/// [`ActorObserver`](crate::extend::ActorObserver).
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::observe::Fact;
///
/// let builder = Stagecoach::builder().observer(|fact: &Fact<'_>| {
///     if let Fact::Finished(report) = fact
///         && !report.outcome.is_success()
///     {
///         eprintln!("{} did not get {}", report.peer, report.name);
///     }
/// });
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Handles a fact.
    fn observe(&self, fact: &Fact<'_>);

    /// Handles everything that the observer has held back: no further fact follows.
    fn flush(&self) {}

    /// The name in the log's warning about lost facts.
    fn name(&self) -> &str {
        "an observer"
    }

    /// The number of facts that the observer has lost, for the server's log.
    fn lost(&self) -> u64 {
        0
    }
}

impl<F: Fn(&Fact<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, fact: &Fact<'_>) {
        self(fact);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, fact: &Fact<'_>) {
        (**self).observe(fact);
    }

    fn flush(&self) {
        (**self).flush();
    }

    fn name(&self) -> &str {
        (**self).name()
    }

    fn lost(&self) -> u64 {
        (**self).lost()
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The result of a transfer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Its number.
    pub id: TransferId,
    /// The client.
    pub peer: SocketAddr,
    /// The address and port that the client got its answers from.
    pub local: SocketAddr,
    /// Read or write.
    pub direction: Direction,
    /// The requested name, escaped.
    pub name: String,
    /// The requested mode: `octet`, `netascii` or another one, escaped.
    pub mode: String,
    /// The operator's path of the file, if one was opened; for an upload, if any of it was kept.
    pub path: Option<String>,
    /// Its size: known at the start of a read, and at the end of a write.
    pub size: Option<u64>,
    /// The options that the client asked for, escaped, such as `blksize=65464 tsize=0`.
    pub asked: String,
    /// The negotiated options, such as `blksize=1428 windowsize=16`.
    pub options: String,
    /// The size of an upload in octets that its client announced (`tsize`).
    pub announced: Option<u64>,
    /// From the request to the end.
    pub duration: Duration,
    /// What was sent and received.
    pub tally: Tally,
    /// How the transfer ended.
    pub outcome: Outcome,
    /// Details that only the operator gets.
    pub detail: Option<Box<str>>,
    /// The limit that ended the transfer, if one did.
    pub limit: Option<Limit>,
    /// The label from the route that chose the file.
    pub label: Option<Label>,
}

impl Report {
    /// Octets a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate is for people")]
        let octets = self.tally.octets as f64;
        octets / self.duration.as_secs_f64().max(1e-6)
    }

    /// Whether the client announced another number of octets. Never in netascii: clients disagree.
    #[must_use]
    pub fn differs_from_announced(&self) -> bool {
        self.announced.is_some_and(|octets| octets != self.tally.octets) && self.mode != "netascii"
    }
}

/// A short text of an extension about a transfer, such as a board's serial number or a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

impl Label {
    /// Creates a label from the printable ASCII of `text`, cut after 64 octets.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let is_plain = |c: &char| matches!(c, ' '..='~');
        Self(text.chars().filter(is_plain).take(LABEL_OCTETS_MAX).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
