//! The slabs of one open file. Each is read once and held once, for any number of transfers.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::Fault;
use crate::limits;

/// A slab of a file. It is freed with its last transfer, unless it is [`Kept`].
#[derive(Debug)]
pub(super) struct SharedSlab {
    octets: Vec<u8>,
    kept: AtomicBool,
}

thread_local! {
    /// Memory of the last slab that was dropped on this thread. The next slab is read into it: it
    /// needs no clearing and is in the processor's cache.
    static SPARE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// The slabs of a file that are in memory, by their number on the grid of [`limits::SLAB_OCTETS`].
#[derive(Debug, Clone, Default)]
pub(super) struct Slabs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    slots: Mutex<Slots>,
    /// Notifies waiting threads that a read has ended.
    settled: Condvar,
    /// The same for tasks.
    told: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    by_number: HashMap<u64, Slot>,
    /// Number of slots at which those without a slab are removed.
    prune_at: usize,
}

#[derive(Debug)]
enum Slot {
    /// A thread reads it, or is about to.
    Reading,
    Read(Weak<SharedSlab>),
}

#[derive(Debug)]
pub(super) enum Found {
    Here(Arc<SharedSlab>),
    Reading,
    Missing,
}

impl SharedSlab {
    /// `length` octets from `start` on, without a copy.
    pub(super) fn bytes(self: Arc<Self>, start: usize, length: usize) -> Bytes {
        let mut bytes = Bytes::from_owner(Owner(self));
        let _ = bytes.split_to(start);
        bytes.truncate(length);
        bytes
    }
}

/// Memory to read into: that of a dropped slab, with its old content, or new memory.
pub(super) fn memory_for(octets: usize) -> Vec<u8> {
    let spare = if octets == limits::SLAB_OCTETS { SPARE.take() } else { None };
    spare.unwrap_or_else(|| vec![0; octets])
}

impl Drop for SharedSlab {
    fn drop(&mut self) {
        if self.octets.len() == limits::SLAB_OCTETS {
            // Fails while the thread ends.
            let _ = SPARE.try_with(|spare| spare.set(Some(std::mem::take(&mut self.octets))));
        }
    }
}

struct Owner(Arc<SharedSlab>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.octets
    }
}

impl Slabs {
    pub(super) fn find(&self, number: u64) -> Found {
        self.lock().find(number)
    }

    /// Shares a slab that was read without waiting. If another thread was faster, returns its slab.
    pub(super) fn add(&self, number: u64, octets: Vec<u8>) -> Arc<SharedSlab> {
        let slab = SharedSlab::new(octets);
        let mut slots = self.lock();
        match slots.find(number) {
            Found::Here(first) => first,
            // The thread that reads it will share it.
            Found::Reading => slab,
            Found::Missing => {
                slots.insert(number, Slot::Read(Arc::downgrade(&slab)));
                slab
            }
        }
    }

    /// The slab, read with `read` if it is missing. If several threads need it, one reads and the
    /// others wait; if the read fails, another one tries. To avoid a waiting thread,
    /// [claim](Self::claim) the slab first.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn find_or_read(
        &self,
        number: u64,
        read: impl FnOnce() -> Result<Vec<u8>, Fault>,
    ) -> Result<Arc<SharedSlab>, Fault> {
        let mut slots = self.lock();
        loop {
            match slots.find(number) {
                Found::Here(slab) => return Ok(slab),
                Found::Reading => {
                    slots = self.0.settled.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
                Found::Missing => break,
            }
        }
        slots.insert(number, Slot::Reading);
        drop(slots);
        self.reading(number).read(read)
    }

    /// Claims the read of a missing slab. `None` if the slab is there or claimed.
    pub(super) fn claim(&self, number: u64) -> Option<Reading> {
        let mut slots = self.lock();
        if !matches!(slots.find(number), Found::Missing) {
            return None;
        }
        slots.insert(number, Slot::Reading);
        drop(slots);
        Some(self.reading(number))
    }

    /// Waits, without a thread, until nobody reads the slab.
    pub(super) async fn settled(&self, number: u64) {
        loop {
            // Created first, so that no notification is missed.
            let told = self.0.told.notified();
            if !matches!(self.find(number), Found::Reading) {
                return;
            }
            told.await;
        }
    }

    fn reading(&self, number: u64) -> Reading {
        Reading { slabs: self.clone(), number, slab: None }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedSlab {
    fn new(octets: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { octets, kept: AtomicBool::new(false) })
    }
}

impl Slots {
    fn find(&self, number: u64) -> Found {
        match self.by_number.get(&number) {
            Some(Slot::Reading) => Found::Reading,
            Some(Slot::Read(slab)) => slab.upgrade().map_or(Found::Missing, Found::Here),
            None => Found::Missing,
        }
    }

    fn insert(&mut self, number: u64, slot: Slot) {
        if self.by_number.len() >= self.prune_at {
            self.by_number.retain(|_, slot| match slot {
                Slot::Reading => true,
                Slot::Read(slab) => slab.strong_count() > 0,
            });
            self.prune_at = limits::SLAB_SLOTS_PRUNED_AT.max(2 * self.by_number.len());
        }
        self.by_number.insert(number, slot);
    }
}

/// A slab that is being read, or is about to be. Dropping it notifies all who wait.
#[derive(Debug)]
pub(super) struct Reading {
    slabs: Slabs,
    pub(super) number: u64,
    slab: Option<Weak<SharedSlab>>,
}

impl Reading {
    /// Reads and shares the slab.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read(
        mut self,
        read: impl FnOnce() -> Result<Vec<u8>, Fault>,
    ) -> Result<Arc<SharedSlab>, Fault> {
        let slab = SharedSlab::new(read()?);
        self.slab = Some(Arc::downgrade(&slab));
        Ok(slab)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut slots = self.slabs.lock();
        match self.slab.take() {
            Some(slab) => drop(slots.by_number.insert(self.number, Slot::Read(slab))),
            None => drop(slots.by_number.remove(&self.number)),
        }
        drop(slots);
        self.slabs.0.settled.notify_all();
        self.slabs.0.told.notify_waiters();
    }
}

/// Slabs that stay in memory for a while after their last use, oldest dropped first: clients of one
/// boot image are rarely in step. `K` identifies the file.
#[derive(Debug)]
pub(super) struct Kept<K>(VecDeque<(K, Arc<SharedSlab>)>);

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: PartialEq> Kept<K> {
    /// Whether [`keep`](Self::keep) is due; needs no lock.
    pub(super) fn lacks(slab: &SharedSlab) -> bool {
        !slab.kept.load(Relaxed)
    }

    /// Keeps a slab. Returns a slab that made room, to be dropped without the lock.
    #[must_use]
    pub(super) fn keep(&mut self, key: K, slab: Arc<SharedSlab>) -> Option<Arc<SharedSlab>> {
        if slab.kept.swap(true, Relaxed) {
            return None;
        }
        let oldest = if self.0.len() >= limits::SLABS_KEPT_MAX { self.0.pop_front() } else { None };
        self.0.push_back((key, slab));
        let (_, oldest) = oldest?;
        oldest.kept.store(false, Relaxed);
        Some(oldest)
    }

    /// Returns all slabs kept for `key`, to be dropped without the lock.
    #[must_use]
    pub(super) fn forget(&mut self, key: &K) -> Vec<Arc<SharedSlab>> {
        let mut forgotten = Vec::new();
        self.0.retain(|(owner, slab)| {
            let is_left = owner != key;
            if !is_left {
                forgotten.push(Arc::clone(slab));
            }
            is_left
        });
        forgotten
    }
}

#[cfg(test)]
mod tests;
