//! The progress of a transfer, for its readers in other threads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::transfer::Tally;

/// The progress of a transfer, as its session published it last: at most once in
/// [`PROGRESS_EVERY`](crate::limits::PROGRESS_EVERY). Progress takes one cache line and is read
/// without a lock, so reading it never delays the transfer. The values are read one by one, so they
/// may stem from two publications.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Progress {
    octets: AtomicU64,
    blocks: AtomicU64,
    repeats: AtomicU64,
    ignored: AtomicU64,
    /// The size of the file plus one, or 0 if the size is not known.
    size_and_one: AtomicU64,
}

impl Progress {
    pub(crate) fn publish(&self, tally: Tally, size: Option<u64>) {
        let Tally { octets, blocks, repeats, ignored } = tally;
        self.octets.store(octets, Ordering::Relaxed);
        self.blocks.store(blocks, Ordering::Relaxed);
        self.repeats.store(repeats, Ordering::Relaxed);
        self.ignored.store(ignored, Ordering::Relaxed);
        self.size_and_one.store(size.map_or(0, |size| size.saturating_add(1)), Ordering::Relaxed);
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            octets: self.octets.load(Ordering::Relaxed),
            blocks: self.blocks.load(Ordering::Relaxed),
            repeats: self.repeats.load(Ordering::Relaxed),
            ignored: self.ignored.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn size(&self) -> Option<u64> {
        self.size_and_one.load(Ordering::Relaxed).checked_sub(1)
    }
}
