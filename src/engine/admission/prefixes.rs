//! Networks that clients are in, as far as their addresses tell.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::limits::PREFIXES;

/// Gives each address one of [`PREFIXES`] places, all of one site the same: what is kept for each place stays bounded however many sources somebody forges.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    /// Which sites share a place is for nobody to know.
    hasher: RandomState,
}

impl Prefixes {
    pub(crate) fn place(&self, address: IpAddr) -> usize {
        let hash = self.hasher.hash_one(prefix(address));
        usize::try_from(hash % PREFIXES as u64).unwrap_or(0)
    }
}

/// The network that an address is of: a site's, as far as anybody can tell.
fn prefix(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64,
    }
}

#[cfg(test)]
mod tests;
