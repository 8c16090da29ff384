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
use std::time::Duration;

pub use self::counters::{Counters, Tallied, TalliedLabel, TalliedReason};
pub use self::label::Label;
pub use self::log::LogObserver;
pub use self::owned_fact::OwnedFact;
use crate::error::{Fault, Limit};
use crate::transfer::{Outcome, Tally};
use crate::wire::{Direction, Request};

/// Number of a transfer, counted from 1 since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u64);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What may be worth knowing about a server. One closed list: logs, metrics and extensions all draw on it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fact<'a> {
    /// Requests are taken at this address.
    Listening {
        /// The address, with the port that was really bound.
        address: SocketAddr,
    },
    /// A request was answered by an ERROR, before there was a transfer.
    Refused {
        /// Who asked.
        peer: SocketAddr,
        /// What for; `None` if the request couldn't be read.
        request: Option<&'a Request<'a>>,
        /// Why not.
        fault: &'a Fault,
    },
    /// A datagram was left unanswered.
    Dropped {
        /// Who sent it.
        peer: SocketAddr,
        /// Why, in a few words.
        why: &'static str,
    },
    /// A read that was sent to a broadcast address was left unanswered, as no setting says
    /// otherwise.
    BroadcastUnanswered {
        /// Who sent it.
        peer: SocketAddr,
    },
    /// A request, or a transfer, met a limit. What becomes of it another fact says.
    LimitReached {
        /// The limit.
        limit: Limit,
        /// Who asked.
        peer: SocketAddr,
    },
    /// A transfer is over, or its file could not be opened.
    Finished(&'a Report),
    /// An actor died of a panic, or a call to the store ended with one.
    Crashed {
        /// What kind of actor, or `store`.
        actor: &'static str,
        /// Its transfer, if it had one.
        transfer: Option<TransferId>,
        /// The panic's text.
        panic: &'a str,
    },
    /// An extension gave an answer that nobody may get, or none in time.
    Misbehaved {
        /// What kind of extension.
        extension: &'static str,
        /// The transfer that it was asked about, if it was.
        transfer: Option<TransferId>,
        /// What it did.
        why: &'a str,
    },
    /// An arbiter stopped or was blocked, and another took its place.
    ArbiterReplaced {
        /// Its number, counted from 1 since the server started.
        arbiter: u64,
        /// What was wrong with it, in a few words.
        why: &'a str,
        /// Transfers that go on, on the new one.
        moved: usize,
        /// Transfers that were ended.
        ended: usize,
    },
    /// A session died of a panic, and another goes on with its transfer.
    Resumed {
        /// The transfer.
        transfer: TransferId,
        /// How often that has happened to it now.
        resumption: u32,
    },
}

/// Hears facts. Called from the threads that serve: it must not wait for anything, and more than
/// 500 ms ([`EXTENSION_CALL_WITHIN`](crate::limits::EXTENSION_CALL_WITHIN)) are reported to all
/// observers. Whoever has to wait is an actor, told by a [`Tell`](crate::extend::Tell).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use stagecoach::Stagecoach;
/// use stagecoach::observe::{Fact, Observer};
///
/// /// How many clients found nothing.
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
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, fact: &Fact<'_>);

    /// Says what it has kept back until now: the server has ended, and nothing more happens. Like
    /// [`observe`](Self::observe) it must not wait.
    fn flush(&self) {}

    /// What the log calls it, where it has lost facts.
    fn name(&self) -> &str {
        "an observer"
    }

    /// Facts that it did not hear, if it counts them. The log of the server has their sum.
    fn lost(&self) -> u64 {
        0
    }
}

/// What became of a transfer.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its number.
    pub id: TransferId,
    /// The client.
    pub peer: SocketAddr,
    /// The address and port that the client was answered from.
    pub local: SocketAddr,
    /// Read or write.
    pub direction: Direction,
    /// The name that was asked for, escaped.
    pub name: String,
    /// `octet`, `netascii`, or what else was asked for, escaped.
    pub mode: String,
    /// The file, as the operator knows it, if one was opened; of an upload, if anything of it is there.
    pub path: Option<String>,
    /// Its size: known at the start of a read, and at the end of a write.
    pub size: Option<u64>,
    /// The options that the client asked for, escaped, as `blksize=65464 tsize=0`; empty if none.
    pub asked: String,
    /// The options that were agreed on, as `blksize=1428 windowsize=16`; empty if none.
    pub options: String,
    /// Octets of the file that an upload was announced to have (`tsize`), if it was.
    pub announced: Option<u64>,
    /// From the request to the end.
    pub duration: Duration,
    /// What was sent and received.
    pub tally: Tally,
    /// How it ended.
    pub outcome: Outcome,
    /// What only the operator is told.
    pub detail: Option<Box<str>>,
    /// The limit that ended it, if one did.
    pub limit: Option<Limit>,
    /// What the route that chose its file says of it.
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

    /// Whether another number of octets came than its client had announced, as far as that can be
    /// said: what `tsize` counts in netascii, clients do not agree on.
    #[must_use]
    pub fn differs_from_announced(&self) -> bool {
        self.announced.is_some_and(|octets| octets != self.tally.octets) && self.mode != "netascii"
    }
}
