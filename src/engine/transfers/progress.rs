//! How far a transfer is, for all who watch it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::transfer::Tally;

/// How far a transfer is, as its session published it last: at most once in
/// [`PROGRESS_EVERY`](crate::limits::PROGRESS_EVERY). It takes one line of the processor's cache, and
/// is read without a lock, so watching a transfer never delays it. The values are read one by one:
/// they may stem from two publications.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Progress {
    octets: AtomicU64,
    blocks: AtomicU64,
    repeats: AtomicU64,
    ignored: AtomicU64,
    /// Octets of the file and one, or 0 if the size is not known.
    size_and_one: AtomicU64,
}

impl Progress {
    /// Publishes how far the transfer is, and the size of its file.
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

    /// The size of the file, if that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size_and_one.load(Ordering::Relaxed).checked_sub(1)
    }
}
