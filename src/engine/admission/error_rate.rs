//! How many ERRORs a network gets from the well-known port.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::admission::prefixes::Prefixes;
use crate::limits::{ERRORS_PER_PREFIX_MAX, PREFIXES};

/// Counts the ERRORs of the second that it is: whoever forges requests for files that aren't there has each answered, and none of the answers was asked for.
#[derive(Debug)]
pub(crate) struct ErrorRateLimiter {
    prefixes: Prefixes,
    spent: Box<[u16; PREFIXES]>,
    /// When all have the whole of it again.
    renewed_at: Option<Instant>,
}

impl ErrorRateLimiter {
    pub(crate) fn new() -> Self {
        Self { prefixes: Prefixes::default(), spent: Box::new([0; PREFIXES]), renewed_at: None }
    }

    /// Whether one more may go to `peer`. To this machine itself always: the network brings nothing that claims to come from there.
    pub(crate) fn spend(&mut self, peer: IpAddr, now: Instant) -> bool {
        if peer.is_loopback() {
            return true;
        }
        if self.renewed_at.is_none_or(|at| at <= now) {
            self.spent.fill(0);
            self.renewed_at = Some(now + Duration::from_secs(1));
        }
        let spent = &mut self.spent[self.prefixes.place(peer)];
        let is_left = *spent < ERRORS_PER_PREFIX_MAX;
        *spent += u16::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests;
