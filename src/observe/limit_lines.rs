//! Log lines about limits that requests reach: one line for each limit and minute, with a count.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::error::Limit;
use crate::limits::LIMIT_LOGGED_EVERY;

/// Counts how often each limit was reached since its last line.
#[derive(Debug, Default)]
pub(super) struct LimitLines(BTreeMap<Limit, Met>);

#[derive(Debug)]
struct Met {
    logged_at: Instant,
    withheld: u64,
}

impl LimitLines {
    /// Whether to log a line now; otherwise the event is counted.
    pub(super) fn spend(&mut self, limit: Limit, now: Instant) -> bool {
        match self.0.get_mut(&limit) {
            Some(met) if met.withheld > 0 || now < met.logged_at + LIMIT_LOGGED_EVERY => {
                met.withheld += 1;
                false
            }
            _ => {
                self.0.insert(limit, Met { logged_at: now, withheld: 0 });
                true
            }
        }
    }

    pub(super) fn has_withheld(&self) -> bool {
        self.0.values().any(|met| met.withheld > 0)
    }

    /// The limits whose line is due, with their counts; with `of_all`, every limit with a count. A
    /// new minute begins for each of them.
    pub(super) fn take_withheld(&mut self, now: Instant, of_all: bool) -> Vec<(Limit, u64)> {
        let is_due = |met: &Met| met.withheld > 0 && (of_all || met.logged_at + LIMIT_LOGGED_EVERY <= now);
        let due = self.0.iter_mut().filter(|(_, met)| is_due(met));
        due.map(|(limit, met)| {
            met.logged_at = now;
            (*limit, std::mem::take(&mut met.withheld))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
