//! Recently logged lines, of kinds that repeat during an outage of a store.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Instant;

use crate::limits;

/// Allows each line once in [`limits::OUTAGE_LOGGED_EVERY`], and at most
/// [`limits::OUTAGES_LOGGED_MAX`] different ones in that time.
#[derive(Debug, Default)]
pub(super) struct RecentLines {
    /// When each line was written, by the hash of its content.
    written: HashMap<u64, Instant>,
    hasher: RandomState,
    withheld: u64,
    told_at: Option<Instant>,
}

impl RecentLines {
    /// Whether to log the line that `says` this; otherwise it is counted.
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

    pub(super) fn take_all_withheld(&mut self) -> Option<u64> {
        self.told_at.take()?;
        Some(std::mem::take(&mut self.withheld))
    }

    /// The number of withheld lines, once in each [`limits::OUTAGE_LOGGED_EVERY`].
    pub(super) fn take_withheld(&mut self, now: Instant) -> Option<u64> {
        self.told_at.take_if(|at| *at <= now)?;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests;
