//! The slabs of one open file. Each is read once and held once, for any number of transfers.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use crate::error::Fault;
use crate::limits;

/// A slab of a file. It is freed with its last transfer, unless it is kept.
#[derive(Debug)]
pub(super) struct SharedSlab {
    octets: Vec<u8>,
    /// Whether the directory keeps it.
    pub(super) is_kept: AtomicBool,
}

thread_local! {
    /// Memory of the last slab that was dropped on this thread, for the next one: it is cached.
    static SPARE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// The slabs of a file that are in memory.
#[derive(Debug, Default)]
pub(super) struct Slabs {
    slots: Mutex<Slots>,
    /// Notifies waiting threads that a read has ended.
    settled: Condvar,
    /// The same for tasks.
    told: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    /// By number on the grid of [`limits::SLAB_OCTETS`]; `None` while a thread reads it.
    by_number: HashMap<u64, Option<Weak<SharedSlab>>>,
    /// Number of slots at which those without a slab are removed.
    prune_at: usize,
}

#[derive(Debug)]
pub(super) enum Found {
    Here(Arc<SharedSlab>),
    Reading,
    Missing,
}

impl SharedSlab {
    pub(super) fn new(octets: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { octets, is_kept: AtomicBool::new(false) })
    }

    /// `length` octets from `start` on, without a copy.
    pub(super) fn bytes(self: Arc<Self>, start: usize, length: usize) -> Bytes {
        let mut bytes = Bytes::from_owner(Owner(self));
        bytes.advance(start);
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
            Found::Here(first) => return first,
            // The thread that reads it will share it.
            Found::Reading => {}
            Found::Missing => slots.insert(number, Some(Arc::downgrade(&slab))),
        }
        slab
    }

    /// The slab, read with `read` if it is missing. If several threads need it, one reads and the
    /// others wait; if the read fails, another one tries.
    pub(super) fn find_or_read(
        self: &Arc<Self>,
        number: u64,
        read: impl FnOnce() -> Result<Vec<u8>, Fault>,
    ) -> Result<Arc<SharedSlab>, Fault> {
        loop {
            let slots = self.lock();
            match slots.find(number) {
                Found::Here(slab) => return Ok(slab),
                Found::Reading => drop(self.settled.wait(slots)),
                Found::Missing => return self.claim_missing(slots, number).read(read),
            }
        }
    }

    /// Claims the read of a slab. `None` if the slab is there or claimed.
    pub(super) fn claim(self: &Arc<Self>, number: u64) -> Option<Reading> {
        let slots = self.lock();
        matches!(slots.find(number), Found::Missing).then(|| self.claim_missing(slots, number))
    }

    fn claim_missing(self: &Arc<Self>, mut slots: MutexGuard<'_, Slots>, number: u64) -> Reading {
        slots.insert(number, None);
        Reading { slabs: Arc::clone(self), number, slab: None }
    }

    /// Waits until nobody reads the slab.
    pub(super) async fn settled(&self, number: u64) {
        loop {
            // Created first, so that no notification is missed.
            let told = self.told.notified();
            if !matches!(self.find(number), Found::Reading) {
                return;
            }
            told.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn find(&self, number: u64) -> Found {
        match self.by_number.get(&number) {
            Some(None) => Found::Reading,
            Some(Some(slab)) => slab.upgrade().map_or(Found::Missing, Found::Here),
            None => Found::Missing,
        }
    }

    fn insert(&mut self, number: u64, slab: Option<Weak<SharedSlab>>) {
        if self.by_number.len() >= self.prune_at {
            self.by_number.retain(|_, slab| slab.as_ref().is_none_or(|slab| slab.strong_count() > 0));
            self.prune_at = limits::SLAB_SLOTS_PRUNED_AT.max(2 * self.by_number.len());
        }
        self.by_number.insert(number, slab);
    }
}

/// A slab that is being read, or is about to be. Dropping it notifies all who wait.
#[derive(Debug)]
pub(super) struct Reading {
    slabs: Arc<Slabs>,
    pub(super) number: u64,
    slab: Option<Weak<SharedSlab>>,
}

impl Reading {
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
            Some(slab) => slots.by_number.insert(self.number, Some(slab)),
            None => slots.by_number.remove(&self.number),
        };
        drop(slots);
        self.slabs.settled.notify_all();
        self.slabs.told.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
