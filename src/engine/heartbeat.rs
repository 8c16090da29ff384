//! Whether an arbiter is alive.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by the supervisor of an arbiter's sessions, which answers, and the supervisor of the
/// arbiters, which asks.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// Questions in a row that the arbiter has not answered.
    missed: AtomicU32,
    /// The supervisor on the arbiter has ended.
    ended: AtomicBool,
}

impl Heartbeat {
    /// The arbiter answered.
    pub(crate) fn beat(&self) {
        self.missed.store(0, Ordering::Relaxed);
    }

    /// Counts one more question. Returns how many were not answered before it.
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
