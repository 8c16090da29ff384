//! Points in time for the machines.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: a duration of up to 584 years since an epoch of the caller's choice. Machines
/// only compare and subtract moments.
///
/// A moment is a number of nanoseconds, because machines compute with moments for each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment `since_epoch` after the epoch.
    #[must_use]
    pub fn new(since_epoch: Duration) -> Self {
        Self(nanoseconds(since_epoch))
    }

    /// The time since the epoch.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Nanoseconds since `earlier`; 0 if `earlier` is later.
    pub(super) const fn ns_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `ns` nanoseconds later.
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

    /// Zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns_since(earlier))
    }
}

/// A duration in nanoseconds, at most 584 years.
pub(super) const fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}
