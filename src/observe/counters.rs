//! Counts of facts since the server started.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Fact, Label, Observer, Report};
use crate::error::Failure;
use crate::limits;
use crate::transfer::Outcome;

/// Counts facts.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    tallied: Tallied,
    by_label: BTreeMap<Label, TalliedLabel>,
    /// By the name of the counter, too.
    by_reason: HashMap<(&'static str, Reason), u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reason {
    Failure(Failure),
    Text(&'static str),
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

impl Counters {
    /// The counts now.
    #[must_use]
    pub fn tallied(&self) -> Tallied {
        self.counts().tallied
    }

    /// The counts of failures by reason, sorted by counter. Only the first 256 different reasons
    /// are counted.
    #[must_use]
    pub fn by_reason(&self) -> Vec<TalliedReason> {
        let counts = self.counts();
        let by_reason = counts.by_reason.iter().map(|(&(counter, reason), &count)| {
            let why = match reason {
                Reason::Failure(failure) => failure.to_string(),
                Reason::Text(text) => text.to_owned(),
            };
            TalliedReason { counter, why, count }
        });
        let mut tallied: Vec<_> = by_reason.collect();
        tallied.sort();
        tallied
    }

    /// The counts of transfers with a route's label, sorted by label. Beyond the first 256
    /// different labels, transfers are counted together as `(others)`.
    #[must_use]
    pub fn by_label(&self) -> Vec<(Label, TalliedLabel)> {
        self.counts().by_label.iter().map(|(label, tallied)| (label.clone(), *tallied)).collect()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count_label(&mut self, label: &Label, report: &Report) {
        let has_room = self.by_label.len() < limits::LABELS_COUNTED_MAX || self.by_label.contains_key(label);
        let label = if has_room { label.clone() } else { Label::new("(others)") };
        let tallied = self.by_label.entry(label).or_default();
        tallied.octets += report.tally.octets;
        *(if report.outcome.is_success() { &mut tallied.complete } else { &mut tallied.failed }) += 1;
    }

    fn count_reason(&mut self, counter: &'static str, reason: Reason) {
        let key = (counter, reason);
        if self.by_reason.len() < limits::REASONS_COUNTED_MAX || self.by_reason.contains_key(&key) {
            *self.by_reason.entry(key).or_default() += 1;
        }
    }

    fn count(&mut self, fact: &Fact<'_>) {
        let tallied = &mut self.tallied;
        let (counter, name, reason) = match fact {
            Fact::Listening { .. } => return,
            Fact::Resumed { .. } => return tallied.resumed += 1,
            Fact::ArbiterReplaced { .. } => return tallied.arbiters_replaced += 1,
            Fact::Finished(report) => return self.count_finished(report),
            Fact::Refused { fault, .. } => (&mut tallied.refused, "refused", Reason::Failure(fault.failure)),
            Fact::Dropped { why, .. } => (&mut tallied.dropped, "dropped", Reason::Text(why)),
            Fact::BroadcastUnanswered { .. } => {
                (&mut tallied.dropped, "dropped", Reason::Text("it was sent to a broadcast address"))
            }
            Fact::LimitReached { limit, .. } => (&mut tallied.limited, "limited", Reason::Text(limit.name())),
            Fact::Crashed { actor, .. } => (&mut tallied.crashed, "crashed", Reason::Text(actor)),
            Fact::Misbehaved { extension, .. } => {
                (&mut tallied.misbehaved, "misbehaved", Reason::Text(extension))
            }
        };
        *counter += 1;
        self.count_reason(name, reason);
    }

    /// Counts an ended transfer. A request whose file a limit had no room for is counted as beyond
    /// a limit: it is no outage, and no transfer began.
    fn count_finished(&mut self, report: &Report) {
        if let Some(label) = &report.label {
            self.count_label(label, report);
        }
        let tallied = &mut self.tallied;
        tallied.octets += report.tally.octets;
        let (counter, name, reason) = match (&report.outcome, report.limit) {
            (outcome, _) if outcome.is_success() => return tallied.complete += 1,
            (Outcome::Outage(_), Some(limit)) => {
                (&mut tallied.dropped, "dropped", Reason::Text(limit.meaning()))
            }
            (Outcome::Outage(failure), None) => {
                tallied.outages += 1;
                (&mut tallied.failed, "outages", Reason::Failure(*failure))
            }
            (Outcome::Failed(failure), Some(_)) if report.tally.blocks == 0 => {
                (&mut tallied.refused, "refused", Reason::Failure(*failure))
            }
            (Outcome::Failed(failure), _) => (&mut tallied.failed, "failed", Reason::Failure(*failure)),
            (other, _) => (&mut tallied.failed, "failed", Reason::Text(other.as_str())),
        };
        *counter += 1;
        self.count_reason(name, reason);
    }
}

impl Observer for Counters {
    fn observe(&self, fact: &Fact<'_>) {
        self.counts().count(fact);
    }
}

#[cfg(test)]
mod tests;
