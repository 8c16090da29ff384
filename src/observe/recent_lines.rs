//! Lines of the log that were written lately, of kinds that come again as long as a store is away.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Instant;

use crate::limits;

/// Lets each line pass once in [`limits::OUTAGE_LOGGED_EVERY`], and
/// [`limits::OUTAGES_LOGGED_MAX`] different ones in that time.
#[derive(Debug, Default)]
pub(super) struct RecentLines {
    /// When a line was written, by the hash of what it says.
    written: HashMap<u64, Instant>,
    hasher: RandomState,
    withheld: u64,
    /// When it is told how many were withheld.
    told_at: Option<Instant>,
}

impl RecentLines {
    /// Whether the line that `says` this is written; it is counted if not.
    pub(super) fn spend(&mut self, says: impl Hash, now: Instant) -> bool {
        let key = self.hasher.hash_one(says);
        let is_recent = |written: &Instant| now < *written + limits::OUTAGE_LOGGED_EVERY;
        let is_written = self.written.get(&key).is_some_and(is_recent);
        if !is_written && self.written.len() >= limits::OUTAGES_LOGGED_MAX {
            self.written.retain(|_, written| is_recent(written));
        }
        if is_written || self.written.len() >= limits::OUTAGES_LOGGED_MAX {
            self.withheld += 1;
            self.told_at.get_or_insert(now + limits::OUTAGE_LOGGED_EVERY);
            return false;
        }
        self.written.insert(key, now);
        true
    }

    pub(super) fn has_withheld(&self) -> bool {
        self.withheld > 0
    }

    /// How many were withheld up to now.
    pub(super) fn take_all_withheld(&mut self) -> Option<u64> {
        self.told_at.take()?;
        Some(std::mem::take(&mut self.withheld))
    }

    /// How many were withheld, once in that time.
    pub(super) fn take_withheld(&mut self, now: Instant) -> Option<u64> {
        self.told_at.take_if(|at| *at <= now)?;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests;
