//! How often things happened since the server started.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Fact, Observer};

/// Counts facts.
#[derive(Debug, Default)]
pub struct Counters {
    complete: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    crashed: AtomicU64,
    misbehaved: AtomicU64,
    resumed: AtomicU64,
    arbiters_replaced: AtomicU64,
    octets: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallied {
    /// Transfers that ended well.
    pub complete: u64,
    /// Transfers that ended otherwise.
    pub failed: u64,
    /// Requests that were answered by an ERROR before there was a transfer.
    pub refused: u64,
    /// Datagrams that were left unanswered.
    pub dropped: u64,
    /// Actors that panicked.
    pub crashed: u64,
    /// Answers of extensions that nobody may get, or that did not come in time.
    pub misbehaved: u64,
    /// Sessions that took the place of one that panicked.
    pub resumed: u64,
    /// Arbiters that stopped or were blocked, and that others took the place of.
    pub arbiters_replaced: u64,
    /// Octets of files that were transferred.
    pub octets: u64,
}

impl Counters {
    /// The counts now.
    #[must_use]
    pub fn tallied(&self) -> Tallied {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tallied {
            complete: read(&self.complete),
            failed: read(&self.failed),
            refused: read(&self.refused),
            dropped: read(&self.dropped),
            crashed: read(&self.crashed),
            misbehaved: read(&self.misbehaved),
            resumed: read(&self.resumed),
            arbiters_replaced: read(&self.arbiters_replaced),
            octets: read(&self.octets),
        }
    }
}

impl Observer for Counters {
    fn observe(&self, fact: &Fact<'_>) {
        let counter = match fact {
            Fact::Listening { .. } => return,
            Fact::Refused { .. } => &self.refused,
            Fact::Dropped { .. } => &self.dropped,
            Fact::Crashed { .. } => &self.crashed,
            Fact::Misbehaved { .. } => &self.misbehaved,
            Fact::Resumed { .. } => &self.resumed,
            Fact::ArbiterReplaced { .. } => &self.arbiters_replaced,
            Fact::Finished(report) => {
                self.octets.fetch_add(report.tally.octets, Ordering::Relaxed);
                if report.outcome.is_success() { &self.complete } else { &self.failed }
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
