//! The port range of transfers, for firewalls.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;

/// Ports that transfers may use, both ends included (`--port-range LO:HI`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    low: u16,
    high: u16,
}

impl PortRange {
    /// The range from `low` to `high`; `None` if `low` is 0 or above `high`.
    #[must_use]
    pub fn new(low: u16, high: u16) -> Option<Self> {
        (low >= 1 && low <= high).then_some(Self { low, high })
    }

    /// The lowest port.
    #[must_use]
    pub fn low(self) -> u16 {
        self.low
    }

    /// The highest port.
    #[must_use]
    pub fn high(self) -> u16 {
        self.high
    }

    /// All ports of the range from a random one on: a TID should not be reused soon (RFC 1350 §4).
    pub(super) fn shuffled(self) -> impl Iterator<Item = u16> {
        // The random keys of a new hasher are random enough for a port.
        let random = RandomState::new().hash_one(());
        let ports = u64::from(self.high - self.low) + 1;
        let start = self.low + (random % ports) as u16;
        (start..=self.high).chain(self.low..start)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.low, self.high)
    }
}

impl FromStr for PortRange {
    type Err = ParsePortRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (low, high) = text.split_once(':').ok_or_else(|| ParsePortRangeError::NotTwo(text.into()))?;
        let port = |text: &str| {
            let port = text.parse().ok().filter(|&port| port >= 1);
            port.ok_or_else(|| ParsePortRangeError::NotAPort(text.into()))
        };
        let (low, high) = (port(low)?, port(high)?);
        Self::new(low, high).ok_or(ParsePortRangeError::Reversed { low, high })
    }
}

/// Why a text is not a [`PortRange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePortRangeError {
    /// The text is not two numbers separated by a colon.
    #[error("{0:?} is not a port range: write the lowest and the highest port as LO:HI, such as 50000:50999")]
    NotTwo(Box<str>),
    /// One of the two is not a port.
    #[error("{0:?} is not a port: a port is a number from 1 to 65535")]
    NotAPort(Box<str>),
    /// The lowest is above the highest.
    #[error("the port range {low}:{high} is empty: write the lower port first, {high}:{low}")]
    Reversed {
        /// The port that was written first.
        low: u16,
        /// The port that was written second.
        high: u16,
    },
}

#[cfg(test)]
mod tests;
