//! The networks of clients, derived from their addresses.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::limits::PREFIXES;

/// Maps each address to one of [`PREFIXES`] places, and all addresses of one site to the same
/// place. State that is kept per place stays bounded, however many sources are forged.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    /// Randomly seeded, so that nobody outside can tell which sites share a place.
    hasher: RandomState,
}

impl Prefixes {
    pub(crate) fn place(&self, address: IpAddr) -> usize {
        let hash = self.hasher.hash_one(prefix(address));
        usize::try_from(hash % PREFIXES as u64).unwrap_or(0)
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
