//! Log lines that could come in great numbers: which are written, and which are only counted.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slog::{Logger, info, warn};

use crate::error::Limit;
use crate::limits::{LINE_REPEATED_EVERY, LINES_REFUSED_PER_S, LINES_UNANSWERED_PER_S, OUTAGES_LOGGED_MAX};

/// The budgets of such lines.
#[derive(Debug)]
pub(super) struct Withheld {
    pub(super) unanswered: Budget,
    pub(super) refused: Budget,
    outages: Budget,
    /// When each line about an outage was written, by the hash of its content.
    outage_lines: HashMap<u64, Instant>,
    hasher: RandomState,
    limits: BTreeMap<Limit, Budget>,
}

impl Default for Withheld {
    fn default() -> Self {
        Self {
            unanswered: Budget::new(LINES_UNANSWERED_PER_S, Duration::from_secs(1)),
            refused: Budget::new(LINES_REFUSED_PER_S, Duration::from_secs(1)),
            outages: Budget::new(0, LINE_REPEATED_EVERY),
            outage_lines: HashMap::new(),
            hasher: RandomState::new(),
            limits: BTreeMap::new(),
        }
    }
}

impl Withheld {
    pub(super) fn of_limit(&mut self, limit: Limit) -> &mut Budget {
        self.limits.entry(limit).or_insert_with(|| Budget::new(1, LINE_REPEATED_EVERY))
    }

    /// Whether the line about an outage that `says` this may be logged: each only once in
    /// [`LINE_REPEATED_EVERY`], and at most [`OUTAGES_LOGGED_MAX`] in that time.
    pub(super) fn spend_of_outages(&mut self, says: impl Hash, now: Instant) -> bool {
        let key = self.hasher.hash_one(says);
        let is_recent = |written: &Instant| now < *written + LINE_REPEATED_EVERY;
        let is_written = self.outage_lines.get(&key).is_some_and(is_recent);
        if !is_written && self.outage_lines.len() >= OUTAGES_LOGGED_MAX {
            self.outage_lines.retain(|_, written| is_recent(written));
        }
        if is_written || self.outage_lines.len() >= OUTAGES_LOGGED_MAX {
            return self.outages.spend(now);
        }
        self.outage_lines.insert(key, now);
        true
    }

    pub(super) fn is_any(&self) -> bool {
        let of_requests = [&self.unanswered, &self.refused, &self.outages];
        of_requests.into_iter().chain(self.limits.values()).any(|budget| budget.withheld > 0)
    }

    /// Logs the numbers of withheld lines that are due, or all if `now` is `None`.
    pub(super) fn log_counts(&mut self, log: &Logger, now: Option<Instant>) {
        let of_requests = [
            ("were unanswered", &mut self.unanswered),
            ("were refused", &mut self.refused),
            ("met an outage", &mut self.outages),
        ];
        for (what, budget) in of_requests {
            if let Some(count) = budget.take_withheld(now) {
                info!(log, "more requests {what} than are logged one by one"; "withheld" => count);
            }
        }
        for (limit, budget) in &mut self.limits {
            if let Some(count) = budget.take_withheld(now) {
                limit_reached(log, *limit, count, None);
            }
        }
    }
}

/// Logs that requests reached a limit, with the count since the last line.
pub(super) fn limit_reached(log: &Logger, limit: Limit, count: u64, peer: Option<SocketAddr>) {
    let peer = peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
    warn!(log, "limit reached"; "limit" => limit.name(), "count" => count, "peer" => peer, "why" => limit.meaning());
}

/// Allows a number of lines in each period. The line with the number of those withheld is the first
/// of a new period.
#[derive(Debug)]
pub(super) struct Budget {
    lines_max: u32,
    period: Duration,
    period_ends_at: Option<Instant>,
    written: u32,
    withheld: u64,
}

impl Budget {
    fn new(lines_max: u32, period: Duration) -> Self {
        Self { lines_max, period, period_ends_at: None, written: 0, withheld: 0 }
    }

    /// Whether one more line may be logged; otherwise it is counted.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        if self.withheld == 0 && self.period_ends_at.is_none_or(|at| at <= now) {
            (self.period_ends_at, self.written) = (Some(now + self.period), 0);
        }
        let is_left = self.written < self.lines_max;
        if is_left {
            self.written += 1;
        } else {
            self.withheld += 1;
        }
        is_left
    }

    fn take_withheld(&mut self, now: Option<Instant>) -> Option<u64> {
        if self.withheld == 0 || now.is_some_and(|now| self.period_ends_at.is_some_and(|at| now < at)) {
            return None;
        }
        self.period_ends_at = now.map(|now| now + self.period);
        self.written = 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests;
