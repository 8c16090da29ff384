//! The memory that the windows of all transfers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;
use crate::transfer::Terms;

/// The octets that the windows of all transfers may take together. A window of one block is free.
#[derive(Debug)]
pub struct WindowMemory {
    taken: AtomicUsize,
    octets_max: usize,
}

/// The share of one transfer, released when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<WindowMemory>,
    octets: usize,
}

impl WindowMemory {
    /// A budget with nothing taken.
    #[must_use]
    pub fn new(octets_max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), octets_max })
    }

    /// The octets that the next window may take.
    pub(crate) fn left(&self) -> usize {
        self.octets_max.saturating_sub(self.taken.load(Ordering::Relaxed)).min(limits::WINDOW_OCTETS_MAX)
    }

    /// Takes what a transfer needs. Arbiters that do so at the same moment may together exceed the
    /// limit by a window each.
    pub(crate) fn take(self: &Arc<Self>, terms: &Terms) -> Share {
        let octets = usize::from(terms.blksize) * usize::from(terms.windowsize - 1);
        self.taken.fetch_add(octets, Ordering::Relaxed);
        Share { budget: Arc::clone(self), octets }
    }
}

impl Default for WindowMemory {
    fn default() -> Self {
        Self { taken: AtomicUsize::new(0), octets_max: limits::ALL_WINDOWS_OCTETS_MAX }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
