//! How often things happened since the server started.

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

/// Why something was counted.
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

/// How often there was one reason why things didn't go well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TalliedReason {
    /// The counter that it is a part of, as [`Tallied`] calls it.
    pub counter: &'static str,
    /// The reason.
    pub why: String,
    /// How often.
    pub count: u64,
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
    /// Those of them that were left without an answer, as the store couldn't say whether the file
    /// is there.
    pub outages: u64,
    /// Requests that were answered by an ERROR before there was a transfer, because of a limit among
    /// other reasons.
    pub refused: u64,
    /// Datagrams that were left unanswered, because of a limit among other reasons.
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
    /// How often a limit was met.
    pub limited: u64,
}

impl Reason {
    /// The counter that it is a part of, and its words.
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

    /// That of an end that is no success.
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

    /// The counts of what didn't go well, by the reasons, in the order of the counters' names: the
    /// first 256 ([`limits::REASONS_COUNTED_MAX`]) of them that came.
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

    /// The counts of transfers to which a route gave a label, in the order of the labels: the first
    /// 256 ([`limits::LABELS_COUNTED_MAX`]) of them that came, and the others together as
    /// `(others)`.
    #[must_use]
    pub fn by_label(&self) -> Vec<(Label, TalliedLabel)> {
        let by_label = self.by_label.lock().unwrap_or_else(PoisonError::into_inner);
        by_label.iter().map(|(label, tallied)| (label.clone(), *tallied)).collect()
    }

    /// The counter of a transfer that is over, and the reason. A request for whose file a limit left
    /// no place is counted as any other beyond a limit: no store was away, and no transfer began.
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
