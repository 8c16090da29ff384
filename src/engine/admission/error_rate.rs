//! A limit for the ERRORs that a network gets from the well-known port.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::admission::prefixes::Prefixes;
use crate::limits::{ERRORS_PER_PREFIX_MAX, PREFIXES};

/// Counts the ERRORs of the current second. Forged requests for missing files would otherwise each
/// send an ERROR to a host that asked for nothing.
#[derive(Debug)]
pub(crate) struct ErrorRateLimiter {
    prefixes: Prefixes,
    spent: Box<[u16; PREFIXES]>,
    /// When all counts are reset.
    renewed_at: Option<Instant>,
}

impl ErrorRateLimiter {
    pub(crate) fn new() -> Self {
        Self { prefixes: Prefixes::default(), spent: Box::new([0; PREFIXES]), renewed_at: None }
    }

    /// Whether one more ERROR may be sent to `peer`. Loopback addresses have no limit, because no
    /// packet from the network can claim them.
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
