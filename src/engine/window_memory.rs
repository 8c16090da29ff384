//! The memory that the windows of all transfers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;
use crate::transfer::Terms;

/// The octets that the windows of all transfers may still take. A window of one block is free:
/// every transfer gets one.
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

    /// Takes what a transfer with these terms needs. Arbiters that do so at the same moment may
    /// together exceed the limit by a window each.
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
mod tests {
    use super::WindowMemory;
    use crate::transfer::Terms;

    #[test]
    fn windows_give_their_memory_back() {
        let budget = WindowMemory::new(10_000);
        let terms = Terms { blksize: 1000, windowsize: 5, ..Terms::default() };
        assert_eq!(budget.left(), 10_000);
        let first = budget.take(&terms);
        assert_eq!(budget.left(), 6_000, "the first block of a window is free");
        let more = [budget.take(&terms), budget.take(&terms)];
        assert_eq!(budget.left(), 0, "taken beyond the limit, there is nothing left, and no overflow");
        drop((first, more));
        assert_eq!(budget.left(), 10_000);
    }
}
