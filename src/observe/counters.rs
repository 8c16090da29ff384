//! Counts of facts since the server started.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Fact, Label, Observer, Report};
use crate::error::{Failure, Limit};
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
    limited: AtomicU64,
    by_label: Mutex<BTreeMap<Label, TalliedLabel>>,
    by_reason: Mutex<HashMap<Reason, u64>>,
}

/// The reason of a counted fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reason {
    Ended(&'static str),
    Failed(Failure),
    Outage(Failure),
    Refused(Failure),
    Dropped(&'static str),
    Limited(Limit),
    Crashed(&'static str),
    Misbehaved(&'static str),
}

/// The count of one reason of failures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TalliedReason {
    /// The counter that includes it, by its field name in [`Tallied`].
    pub counter: &'static str,
    /// The reason.
    pub why: String,
    /// How often.
    pub count: u64,
}

/// The counts of transfers with one label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TalliedLabel {
    /// Transfers that succeeded.
    pub complete: u64,
    /// Transfers that ended in any other way.
    pub failed: u64,
    /// Octets of files that were transferred.
    pub octets: u64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tallied {
    /// Transfers that succeeded.
    pub complete: u64,
    /// Transfers that ended in any other way.
    pub failed: u64,
    /// Those of `failed` that got no answer because the store couldn't say whether the file exists.
    pub outages: u64,
    /// Requests that got an ERROR before a transfer began, including those beyond a limit.
    pub refused: u64,
    /// Datagrams that got no answer, including those beyond a limit.
    pub dropped: u64,
    /// Actors that panicked.
    pub crashed: u64,
    /// Answers of extensions that were invalid or late.
    pub misbehaved: u64,
    /// Sessions that replaced one that panicked.
    pub resumed: u64,
    /// Arbiters that stopped or were blocked, and were replaced.
    pub arbiters_replaced: u64,
    /// Octets of files that were transferred.
    pub octets: u64,
    /// How often a limit was reached.
    pub limited: u64,
}

impl Reason {
    /// The counter of the reason, and its text.
    fn words(self) -> (&'static str, String) {
        match self {
            Self::Ended(outcome) => ("failed", outcome.to_owned()),
            Self::Failed(failure) => ("failed", failure.to_string()),
            Self::Outage(failure) => ("outages", failure.to_string()),
            Self::Refused(failure) => ("refused", failure.to_string()),
            Self::Dropped(why) => ("dropped", why.to_owned()),
            Self::Limited(limit) => ("limited", limit.name().to_owned()),
            Self::Crashed(actor) => ("crashed", actor.to_owned()),
            Self::Misbehaved(extension) => ("misbehaved", extension.to_owned()),
        }
    }

    /// The reason of an unsuccessful outcome.
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(failure) => Self::Failed(*failure),
            Outcome::Outage(failure) => Self::Outage(*failure),
            other => Self::Ended(other.as_str()),
        }
    }
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
            limited: read(&self.limited),
        }
    }

    /// The counts of failures by reason, sorted by counter. Only the first 256 different reasons
    /// are counted.
    #[must_use]
    pub fn by_reason(&self) -> Vec<TalliedReason> {
        let by_reason = self.by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tallied: Vec<_> = by_reason
            .iter()
            .map(|(reason, count)| {
                let (counter, why) = reason.words();
                TalliedReason { counter, why, count: *count }
            })
            .collect();
        tallied.sort();
        tallied
    }

    fn count_reason(&self, reason: Reason) {
        let mut by_reason = self.by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        if by_reason.len() < limits::REASONS_COUNTED_MAX || by_reason.contains_key(&reason) {
            *by_reason.entry(reason).or_default() += 1;
        }
    }

    /// The counts of transfers with a route's label, sorted by label. Beyond the first 256
    /// different labels, transfers are counted together as `(others)`.
    #[must_use]
    pub fn by_label(&self) -> Vec<(Label, TalliedLabel)> {
        let by_label = self.by_label.lock().unwrap_or_else(PoisonError::into_inner);
        by_label.iter().map(|(label, tallied)| (label.clone(), *tallied)).collect()
    }

    /// The counter of an ended transfer, and the reason. A request whose file a limit had no room
    /// for is counted as beyond a limit: it is no outage, and no transfer began.
    fn of_finished(&self, report: &Report) -> (&AtomicU64, Option<Reason>) {
        self.octets.fetch_add(report.tally.octets, Ordering::Relaxed);
        if let Some(label) = &report.label {
            self.count_label(label, report);
        }
        match (&report.outcome, report.limit) {
            (outcome, _) if outcome.is_success() => (&self.complete, None),
            (Outcome::Outage(_), Some(limit)) => (&self.dropped, Some(Reason::Dropped(limit.meaning()))),
            (Outcome::Failed(failure), Some(_)) if report.tally.blocks == 0 => {
                (&self.refused, Some(Reason::Refused(*failure)))
            }
            (outcome, _) => {
                if let Outcome::Outage(_) = outcome {
                    self.outages.fetch_add(1, Ordering::Relaxed);
                }
                (&self.failed, Some(Reason::of(outcome)))
            }
        }
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
        let (counter, reason) = match fact {
            Fact::Listening { .. } => return,
            Fact::Refused { fault, .. } => (&self.refused, Some(Reason::Refused(fault.failure))),
            Fact::Dropped { why, .. } => (&self.dropped, Some(Reason::Dropped(why))),
            Fact::BroadcastUnanswered { .. } => {
                (&self.dropped, Some(Reason::Dropped("it was sent to a broadcast address")))
            }
            Fact::LimitReached { limit, .. } => (&self.limited, Some(Reason::Limited(*limit))),
            Fact::Crashed { actor, .. } => (&self.crashed, Some(Reason::Crashed(actor))),
            Fact::Misbehaved { extension, .. } => (&self.misbehaved, Some(Reason::Misbehaved(extension))),
            Fact::Resumed { .. } => (&self.resumed, None),
            Fact::ArbiterReplaced { .. } => (&self.arbiters_replaced, None),
            Fact::Finished(report) => self.of_finished(report),
        };
        if let Some(reason) = reason {
            self.count_reason(reason);
        }
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
