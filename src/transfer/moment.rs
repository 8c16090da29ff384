//! Points in time, as the machines are told them.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: so long after an epoch of the caller's choice, up to 584 years. Machines only compare and subtract them.
///
/// (Nanoseconds in one number: a machine has many of these, and reckons with them for each packet.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment that lies `since_epoch` after the epoch.
    #[must_use]
    pub fn new(since_epoch: Duration) -> Self {
        Self(nanoseconds(since_epoch))
    }

    /// How long after the epoch this is.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Nanoseconds since `earlier`; none when that is the later of the two.
    pub(super) const fn ns_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many nanoseconds later.
    pub(super) const fn after_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.after_ns(nanoseconds(duration))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// Zero when `earlier` is the later of the two.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns_since(earlier))
    }
}

/// A duration in nanoseconds: 584 years, if it is longer.
pub(super) const fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}
