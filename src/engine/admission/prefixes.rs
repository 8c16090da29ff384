//! The networks of clients, derived from their addresses, and a limit for the ERRORs that each gets
//! from the well-known port.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{ERRORS_PER_PREFIX_MAX, PREFIXES};

/// Maps each address to one of [`PREFIXES`] places, and all addresses of one site to the same
/// place. State that is kept per place stays bounded, however many sources are forged.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Randomly seeded, so that nobody outside can tell which sites share a place.
    hasher: RandomState,
}

/// Counts the ERRORs of the current second. Forged requests for missing files would otherwise each
/// send an ERROR to a host that asked for nothing.
#[derive(Debug)]
pub(crate) struct ErrorRateLimiter {
    prefixes: Prefixes,
    spent: Box<[u16; PREFIXES]>,
    /// When all counts are reset.
    renewed_at: Option<Instant>,
}

impl Prefixes {
    pub(super) fn place(&self, address: IpAddr) -> usize {
        let hash = self.hasher.hash_one(prefix(address));
        usize::try_from(hash % PREFIXES as u64).unwrap_or(0)
    }
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

/// The network of an address: a /24 of IPv4, a /56 of IPv6, which is usually one site.
fn prefix(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64,
    }
}

#[cfg(test)]
mod tests;
