//! The liveness of an arbiter.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by the supervisor of an arbiter's sessions, which answers pings, and the supervisor of
/// the arbiters, which sends them.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// The number of pings that have not been answered.
    missed: AtomicU32,
    /// The supervisor on the arbiter has ended.
    ended: AtomicBool,
}

impl Heartbeat {
    pub(crate) fn beat(&self) {
        self.missed.store(0, Ordering::Relaxed);
    }

    /// Counts one more ping. Returns how many earlier ones were not answered.
    pub(crate) fn ask(&self) -> u32 {
        self.missed.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
