//! How often things happened since the server started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Fact, Label, Observer, Report};
use crate::limits;
use crate::transfer::Outcome;

/// Counts facts.
#[derive(Debug, Default)]
pub struct Counters {
    complete: AtomicU64,
    failed: AtomicU64,
    outages: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    crashed: AtomicU64,
    misbehaved: AtomicU64,
    resumed: AtomicU64,
    arbiters_replaced: AtomicU64,
    octets: AtomicU64,
    by_label: Mutex<BTreeMap<Label, TalliedLabel>>,
}

/// What transfers with one label came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TalliedLabel {
    /// Transfers that ended well.
    pub complete: u64,
    /// Transfers that ended otherwise.
    pub failed: u64,
    /// Octets of files that were transferred.
    pub octets: u64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallied {
    /// Transfers that ended well.
    pub complete: u64,
    /// Transfers that ended otherwise.
    pub failed: u64,
    /// Those of them that were left without an answer, as the store couldn't say whether the file is
    /// there.
    pub outages: u64,
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
            outages: read(&self.outages),
            refused: read(&self.refused),
            dropped: read(&self.dropped),
            crashed: read(&self.crashed),
            misbehaved: read(&self.misbehaved),
            resumed: read(&self.resumed),
            arbiters_replaced: read(&self.arbiters_replaced),
            octets: read(&self.octets),
        }
    }

    /// The counts of transfers to which a route gave a label, in the order of the labels: the first [`limits::LABELS_COUNTED_MAX`] of them that came, and the others together as `(others)`.
    #[must_use]
    pub fn by_label(&self) -> Vec<(Label, TalliedLabel)> {
        let by_label = self.by_label.lock().unwrap_or_else(PoisonError::into_inner);
        by_label.iter().map(|(label, tallied)| (label.clone(), *tallied)).collect()
    }

    fn count_label(&self, label: &Label, report: &Report) {
        let mut by_label = self.by_label.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = by_label.len() < limits::LABELS_COUNTED_MAX || by_label.contains_key(label);
        let label = if has_room { label.clone() } else { Label::new("(others)") };
        let tallied = by_label.entry(label).or_default();
        tallied.octets += report.tally.octets;
        *(if report.outcome.is_success() { &mut tallied.complete } else { &mut tallied.failed }) += 1;
    }
}

impl Observer for Counters {
    fn observe(&self, fact: &Fact<'_>) {
        let counter = match fact {
            Fact::Listening { .. } => return,
            Fact::Refused { .. } => &self.refused,
            Fact::Dropped { .. } | Fact::BroadcastUnanswered { .. } => &self.dropped,
            Fact::Crashed { .. } => &self.crashed,
            Fact::Misbehaved { .. } => &self.misbehaved,
            Fact::Resumed { .. } => &self.resumed,
            Fact::ArbiterReplaced { .. } => &self.arbiters_replaced,
            Fact::Finished(report) => {
                self.octets.fetch_add(report.tally.octets, Ordering::Relaxed);
                if let Outcome::Outage(_) = report.outcome {
                    self.outages.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(label) = &report.label {
                    self.count_label(label, report);
                }
                if report.outcome.is_success() { &self.complete } else { &self.failed }
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
