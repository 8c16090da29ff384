//! Transfers whose peers have not answered yet: nobody knows whether whoever asked for them is where the request says.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::engine::admission::prefixes::Prefixes;
use crate::error::Limit;
use crate::limits::{
    PREFIXES, UNPROVEN_HELD_MAX, UNPROVEN_MANY, UNPROVEN_MAX, UNPROVEN_PER_PREFIX_MAX, UNPROVEN_STAY_MIN,
};

/// Those of one server. However many requests are forged, and however many sources they name, it doesn't grow beyond
/// [`UNPROVEN_MAX`]: the oldest of the prefix that has most of them gives way. So a flood from one network drives out its own, and one from
/// everywhere leaves each client as much time as is to be had. But thousands of one network who are all honest, behind one NAT, need longer to answer than to ask: of
/// them nobody is admitted for whom one would have to give way that has just come.
#[derive(Debug)]
pub(crate) struct Unproven<P> {
    waiting: Mutex<Vec<Queue<P>>>,
    /// Of all prefixes, to be read without a lock.
    count: AtomicUsize,
    /// All that hold anything: also those that no session has sent anything yet, and those that have given way, or up, and are not gone.
    state: AtomicUsize,
    /// Of each prefix, also those that no session has sent anything yet.
    admitted: [AtomicUsize; PREFIXES],
    prefixes: Prefixes,
}

/// Those of one prefix, the oldest first, and since when.
type Queue<P> = VecDeque<(Instant, Arc<P>)>;

/// A transfer whose peer may not have answered yet.
pub(crate) trait Provable {
    /// The peer's address.
    fn address(&self) -> IpAddr;

    /// Whether the transfer is among those that wait for an answer. Set and cleared by
    /// [`Unproven`] alone.
    fn is_unproven(&self) -> &AtomicBool;
}

impl<P> Default for Unproven<P> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(std::iter::repeat_with(Queue::new).take(PREFIXES).collect()),
            count: AtomicUsize::new(0),
            state: AtomicUsize::new(0),
            admitted: [const { AtomicUsize::new(0) }; PREFIXES],
            prefixes: Prefixes::default(),
        }
    }
}

impl<P: Provable> Unproven<P> {
    /// So many that none of them gets more than one answer to each request.
    pub(crate) fn are_many(&self) -> bool {
        self.count.load(Ordering::Relaxed) > UNPROVEN_MANY
    }

    /// So many that there is no room for one more until some have gone: they come faster than their sessions end.
    pub(crate) fn are_too_many(&self) -> bool {
        self.state.load(Ordering::Relaxed) >= UNPROVEN_HELD_MAX
    }

    /// Whether there is room for one more from this address.
    pub(crate) fn have_room_for(&self, address: IpAddr) -> bool {
        let place = self.prefixes.place(address);
        let admitted = self.admitted[place].load(Ordering::Relaxed);
        let Some(beyond) = admitted.checked_sub(UNPROVEN_PER_PREFIX_MAX) else { return true };
        // Those that are to give way for them who were admitted before, and for this one.
        self.lock()[place].get(beyond).is_some_and(|(since, _)| since.elapsed() >= UNPROVEN_STAY_MIN)
    }

    /// One from this address is to be served, until it is [released](Self::release).
    pub(crate) fn admit(&self, address: IpAddr) {
        self.state.fetch_add(1, Ordering::Relaxed);
        self.admitted[self.prefixes.place(address)].fetch_add(1, Ordering::Relaxed);
    }

    /// The peer of one has answered, or nothing is left of its transfer.
    pub(crate) fn release(&self) {
        self.state.fetch_sub(1, Ordering::Relaxed);
    }

    /// It has answered, or its transfer is over.
    pub(crate) fn dismiss(&self, state: &P) {
        self.admitted[self.prefixes.place(state.address())].fetch_sub(1, Ordering::Relaxed);
        self.remove(state);
    }

    /// One more, which is to be [removed](Self::remove) when its peer has answered. The one that
    /// has to give way for it, if any, and because of which limit.
    pub(crate) fn add(&self, state: &Arc<P>) -> Option<(Arc<P>, Limit)> {
        state.is_unproven().store(true, Ordering::Relaxed);
        let mut waiting = self.lock();
        let place = self.prefixes.place(state.address());
        waiting[place].push_back((Instant::now(), Arc::clone(state)));
        let count = self.count.load(Ordering::Relaxed) + 1;
        let crowded = if waiting[place].len() > UNPROVEN_PER_PREFIX_MAX {
            Some((place, Limit::UnprovenPerPrefix))
        } else if count > UNPROVEN_MAX {
            let fullest = (0..waiting.len()).max_by_key(|&place| waiting[place].len());
            fullest.map(|place| (place, Limit::UnprovenWaiting))
        } else {
            None
        };
        let oldest =
            crowded.and_then(|(place, limit)| waiting[place].pop_front().map(|(_, state)| (state, limit)));
        self.count.store(count - usize::from(oldest.is_some()), Ordering::Relaxed);
        oldest
    }

    /// All of them, which are removed.
    pub(crate) fn take_all(&self) -> Vec<Arc<P>> {
        let mut waiting = self.lock();
        self.count.store(0, Ordering::Relaxed);
        waiting.iter_mut().flat_map(std::mem::take).map(|(_, state)| state).collect()
    }

    /// The peer has answered, or its transfer is over. To remove it again changes nothing.
    pub(crate) fn remove(&self, state: &P) {
        if !state.is_unproven().swap(false, Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.lock();
        let beside = &mut waiting[self.prefixes.place(state.address())];
        // (They answer in the order in which they came, more or less.)
        if let Some(at) = beside.iter().position(|(_, other)| std::ptr::eq(Arc::as_ptr(other), state)) {
            beside.remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A panic elsewhere leaves it whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<Queue<P>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
