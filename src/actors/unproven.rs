//! Transfers whose peers have not answered yet: nobody knows whether whoever asked for them is where the request says.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::live_peers::PeerState;
use crate::limits::{UNPROVEN_MANY, UNPROVEN_MAX, UNPROVEN_PER_PREFIX_MAX, UNPROVEN_PREFIXES};

/// Those of one server. However many requests are forged, and however many sources they name, it doesn't grow beyond
/// [`UNPROVEN_MAX`]: the oldest of the prefix that has most of them gives way. So a flood from one network drives out its own, and one from
/// everywhere leaves each client as much time as is to be had.
#[derive(Debug)]
pub(super) struct Unproven {
    prefixes: Mutex<Vec<VecDeque<Arc<PeerState>>>>,
    /// Of all prefixes, to be read without a lock.
    count: AtomicUsize,
    /// The same with those that have given way and are not gone yet.
    pending: AtomicUsize,
    /// Which prefixes share a place is for nobody to know.
    hasher: RandomState,
}

impl Default for Unproven {
    fn default() -> Self {
        let prefixes = Mutex::new(vec![VecDeque::new(); UNPROVEN_PREFIXES]);
        Self {
            prefixes,
            count: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Unproven {
    /// So many that none of them gets more than one answer to each request.
    pub(super) fn are_many(&self) -> bool {
        self.count.load(Ordering::Relaxed) > UNPROVEN_MANY
    }

    /// So many that there is no room for one more until some have gone: they come faster than their sessions end.
    pub(super) fn are_too_many(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > UNPROVEN_MAX + UNPROVEN_MANY
    }

    /// One more, which is to be [removed](Self::remove) when its peer has answered. The one that has to give way for it, if any.
    pub(super) fn add(&self, state: &Arc<PeerState>) -> Option<Arc<PeerState>> {
        if !state.is_unproven.swap(true, Ordering::Relaxed) {
            self.pending.fetch_add(1, Ordering::Relaxed);
        }
        let mut prefixes = self.lock();
        let place = self.place(state.peer().ip());
        prefixes[place].push_back(Arc::clone(state));
        let count = self.count.load(Ordering::Relaxed) + 1;
        let crowded = if prefixes[place].len() > UNPROVEN_PER_PREFIX_MAX {
            Some(place)
        } else if count > UNPROVEN_MAX {
            (0..prefixes.len()).max_by_key(|&place| prefixes[place].len())
        } else {
            None
        };
        let oldest = crowded.and_then(|place| prefixes[place].pop_front());
        self.count.store(count - usize::from(oldest.is_some()), Ordering::Relaxed);
        oldest
    }

    /// The peer has answered, or its transfer is over. To remove it again changes nothing.
    pub(super) fn remove(&self, state: &PeerState) {
        if !state.is_unproven.swap(false, Ordering::Relaxed) {
            return;
        }
        self.pending.fetch_sub(1, Ordering::Relaxed);
        let mut prefixes = self.lock();
        let prefix = &mut prefixes[self.place(state.peer().ip())];
        // (They answer in the order in which they came, more or less.)
        if let Some(at) = prefix.iter().position(|other| std::ptr::eq(Arc::as_ptr(other), state)) {
            prefix.remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn place(&self, address: IpAddr) -> usize {
        let hash = self.hasher.hash_one(prefix(address));
        usize::try_from(hash % UNPROVEN_PREFIXES as u64).unwrap_or(0)
    }

    /// A panic elsewhere leaves it whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<VecDeque<Arc<PeerState>>>> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network that an address is of: a site's, as far as anybody can tell.
fn prefix(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64,
    }
}

#[cfg(test)]
mod tests;
