//! Limits how many lines of one kind are logged.

use std::time::{Duration, Instant};

/// Counts the lines of the current second.
#[derive(Debug)]
pub(super) struct LineRateLimiter {
    lines_max: u32,
    /// When the second ends.
    renewed_at: Option<Instant>,
    written: u32,
    withheld: u64,
}

impl LineRateLimiter {
    pub(super) fn new(lines_max: u32) -> Self {
        Self { lines_max, renewed_at: None, written: 0, withheld: 0 }
    }

    /// Whether one more line may be logged; otherwise it is counted. Call this after
    /// [`take_withheld`](Self::take_withheld).
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        if self.renewed_at.is_none_or(|at| at <= now) {
            self.renewed_at = Some(now + Duration::from_secs(1));
            self.written = 0;
        }
        let is_left = self.written < self.lines_max;
        if is_left {
            self.written += 1;
        } else {
            self.withheld += 1;
        }
        is_left
    }

    pub(super) fn has_withheld(&self) -> bool {
        self.withheld > 0
    }

    /// The number of lines withheld so far, including the current second.
    pub(super) fn take_all_withheld(&mut self) -> Option<u64> {
        (self.withheld > 0).then(|| std::mem::take(&mut self.withheld))
    }

    /// The number of lines withheld in a second that has ended.
    pub(super) fn take_withheld(&mut self, now: Instant) -> Option<u64> {
        let is_over = self.renewed_at.is_some_and(|at| at <= now);
        (is_over && self.withheld > 0).then(|| std::mem::take(&mut self.withheld))
    }
}
