//! Transfers whose peers have not answered yet: nobody knows whether whoever asked for them is where the request says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::live_peers::PeerState;
use super::prefixes::Prefixes;
use crate::limits::{PREFIXES, UNPROVEN_MANY, UNPROVEN_MAX, UNPROVEN_PER_PREFIX_MAX};

/// Those of one server. However many requests are forged, and however many sources they name, it doesn't grow beyond
/// [`UNPROVEN_MAX`]: the oldest of the prefix that has most of them gives way. So a flood from one network drives out its own, and one from
/// everywhere leaves each client as much time as is to be had.
#[derive(Debug)]
pub(super) struct Unproven {
    waiting: Mutex<Vec<VecDeque<Arc<PeerState>>>>,
    /// Of all prefixes, to be read without a lock.
    count: AtomicUsize,
    /// The same with those that have given way and are not gone yet.
    pending: AtomicUsize,
    prefixes: Prefixes,
}

impl Default for Unproven {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(vec![VecDeque::new(); PREFIXES]),
            count: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            prefixes: Prefixes::default(),
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
        let mut waiting = self.lock();
        let place = self.prefixes.place(state.peer().ip());
        waiting[place].push_back(Arc::clone(state));
        let count = self.count.load(Ordering::Relaxed) + 1;
        let crowded = if waiting[place].len() > UNPROVEN_PER_PREFIX_MAX {
            Some(place)
        } else if count > UNPROVEN_MAX {
            (0..waiting.len()).max_by_key(|&place| waiting[place].len())
        } else {
            None
        };
        let oldest = crowded.and_then(|place| waiting[place].pop_front());
        self.count.store(count - usize::from(oldest.is_some()), Ordering::Relaxed);
        oldest
    }

    /// The peer has answered, or its transfer is over. To remove it again changes nothing.
    pub(super) fn remove(&self, state: &PeerState) {
        if !state.is_unproven.swap(false, Ordering::Relaxed) {
            return;
        }
        self.pending.fetch_sub(1, Ordering::Relaxed);
        let mut waiting = self.lock();
        let beside = &mut waiting[self.prefixes.place(state.peer().ip())];
        // (They answer in the order in which they came, more or less.)
        if let Some(at) = beside.iter().position(|other| std::ptr::eq(Arc::as_ptr(other), state)) {
            beside.remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A panic elsewhere leaves it whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<VecDeque<Arc<PeerState>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
