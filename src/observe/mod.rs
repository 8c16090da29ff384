//! Facts that happened, and their observers: the log, the counters, extensions.

mod counters;
mod label;
mod limit_lines;
mod line_rate;
mod log;
mod owned_fact;
mod recent_lines;
mod severity;
#[cfg(test)]
pub(crate) mod test_support;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::counters::{Counters, Tallied, TalliedLabel, TalliedReason};
pub use self::label::Label;
pub(crate) use self::log::LogObserver;
pub use self::owned_fact::OwnedFact;
use crate::error::{Fault, Limit};
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
#[derive(Debug)]
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
        request: Option<&'a Request<'a>>,
        /// The reason.
        fault: &'a Fault,
    },
    /// A datagram got no answer.
    Dropped {
        /// The sender.
        peer: SocketAddr,
        /// The reason, in a few words.
        why: &'static str,
    },
    /// A read that was sent to a broadcast address got no answer, because the settings don't allow
    /// one.
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
    Finished(&'a Report),
    /// An actor panicked, or a call to the store did.
    Crashed {
        /// The kind of actor, or `store`.
        actor: &'static str,
        /// Its transfer, if it had one.
        transfer: Option<TransferId>,
        /// The panic message.
        panic: &'a str,
    },
    /// An extension gave an invalid answer, or none in time.
    Misbehaved {
        /// The kind of extension.
        extension: &'static str,
        /// The transfer that the question was about, if any.
        transfer: Option<TransferId>,
        /// What the extension did.
        why: &'a str,
    },
    /// An arbiter stopped or was blocked, and was replaced.
    ArbiterReplaced {
        /// Its number, counted from 1 since the server started.
        arbiter: u64,
        /// What was wrong with it, in a few words.
        why: &'a str,
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

/// Receives facts. It is called on the threads that serve, so it must not block. A call of more
/// than 500 ms is reported to all observers. An observer that needs to block is an actor, behind a
/// [`Tell`](crate::extend::Tell).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use stagecoach::Stagecoach;
/// use stagecoach::observe::{Fact, Observer};
///
/// /// Counts failed transfers.
/// #[derive(Debug, Default)]
/// struct Misses(AtomicU64);
///
/// impl Observer for Misses {
///     fn observe(&self, fact: &Fact<'_>) {
///         if let Fact::Finished(report) = fact
///             && !report.outcome.is_success()
///         {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let builder = Stagecoach::builder().observer(Misses::default());
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Handles a fact.
    fn observe(&self, fact: &Fact<'_>);

    /// Handles everything that the observer has held back: the server has ended, and no further
    /// fact follows. Like [`observe`](Self::observe), it must not block.
    fn flush(&self) {}

    /// The name in the log's warning about lost facts.
    fn name(&self) -> &str {
        "an observer"
    }

    /// The number of facts that the observer has lost, if it counts them. The server's log has the
    /// sum.
    fn lost(&self) -> u64 {
        0
    }
}

impl<F> Observer for F
where
    F: Fn(&Fact<'_>) + Send + Sync + 'static,
{
    fn observe(&self, fact: &Fact<'_>) {
        self(fact);
    }
}

/// One that the caller keeps a hold of.
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
    /// The options that the client asked for, escaped, such as `blksize=65464 tsize=0`; may be
    /// empty.
    pub asked: String,
    /// The negotiated options, such as `blksize=1428 windowsize=16`; may be empty.
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

    /// Whether the number of octets differs from the one that the client announced. In netascii
    /// this is always `false`, since clients disagree on what `tsize` counts.
    #[must_use]
    pub fn differs_from_announced(&self) -> bool {
        self.announced.is_some_and(|octets| octets != self.tally.octets) && self.mode != "netascii"
    }
}
