//! Transfers whose peers have not answered yet: the source of their requests may be forged.

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

/// The unproven transfers of one server. Their number never exceeds [`UNPROVEN_MAX`], however many
/// requests are forged and however many sources they name: the oldest transfer of the prefix with
/// the most unproven transfers gives way. So a flood from one network displaces only its own
/// transfers, and a flood from everywhere leaves each client as much time as possible.
///
/// Thousands of honest clients behind one NAT need longer to answer than to ask. For them, no
/// request is admitted that would displace a transfer younger than [`UNPROVEN_STAY_MIN`].
#[derive(Debug)]
pub(crate) struct Unproven<P> {
    waiting: Mutex<Vec<Queue<P>>>,
    /// The number of waiting transfers, to be read without a lock.
    count: AtomicUsize,
    /// The number of unproven transfers that hold resources. Includes transfers whose session has
    /// sent nothing yet, and transfers that have given way or up but are not dropped yet.
    held: AtomicUsize,
    /// The number of admitted transfers of each prefix, including those whose session has sent
    /// nothing yet.
    admitted: [AtomicUsize; PREFIXES],
    prefixes: Prefixes,
}

/// The transfers of one prefix since when they wait, the oldest first.
type Queue<P> = VecDeque<(Instant, Arc<P>)>;

/// A transfer whose peer may not have answered yet.
pub(crate) trait Provable {
    fn address(&self) -> IpAddr;

    /// Whether the transfer is among those that wait for an answer. Set and cleared by [`Unproven`]
    /// alone.
    fn is_unproven(&self) -> &AtomicBool;
}

impl<P> Default for Unproven<P> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(std::iter::repeat_with(Queue::new).take(PREFIXES).collect()),
            count: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            admitted: [const { AtomicUsize::new(0) }; PREFIXES],
            prefixes: Prefixes::default(),
        }
    }
}

impl<P: Provable> Unproven<P> {
    /// Whether there are so many that each gets only one packet per request.
    pub(crate) fn are_many(&self) -> bool {
        self.count.load(Ordering::Relaxed) > UNPROVEN_MANY
    }

    /// Whether there is no room for another one: requests arrive faster than sessions end.
    pub(crate) fn are_too_many(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= UNPROVEN_HELD_MAX
    }

    /// Whether there is room for one more from this address.
    pub(crate) fn have_room_for(&self, address: IpAddr) -> bool {
        let place = self.prefixes.place(address);
        let admitted = self.admitted[place].load(Ordering::Relaxed);
        let Some(beyond) = admitted.checked_sub(UNPROVEN_PER_PREFIX_MAX) else { return true };
        // The last transfer that would give way for this one and for those admitted before it.
        self.lock()[place].get(beyond).is_some_and(|(since, _)| since.elapsed() >= UNPROVEN_STAY_MIN)
    }

    /// Counts a transfer from this address, until it is [released](Self::release).
    pub(crate) fn admit(&self, address: IpAddr) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.admitted[self.prefixes.place(address)].fetch_add(1, Ordering::Relaxed);
    }

    /// A peer has answered, or its transfer was dropped.
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// The peer has answered, or its transfer is over.
    pub(crate) fn dismiss(&self, state: &P) {
        self.admitted[self.prefixes.place(state.address())].fetch_sub(1, Ordering::Relaxed);
        self.remove(state);
    }

    /// Adds a transfer, to be [removed](Self::remove) when its peer has answered. Returns the
    /// transfer that has to give way, if any, and the limit that requires it.
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

    pub(crate) fn take_all(&self) -> Vec<Arc<P>> {
        let mut waiting = self.lock();
        self.count.store(0, Ordering::Relaxed);
        waiting.iter_mut().flat_map(std::mem::take).map(|(_, state)| state).collect()
    }

    /// Removes a transfer. Has no effect the second time.
    pub(crate) fn remove(&self, state: &P) {
        if !state.is_unproven().swap(false, Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.lock();
        let beside = &mut waiting[self.prefixes.place(state.address())];
        // Peers answer more or less in the order of their requests, so the search is short.
        if let Some(at) = beside.iter().position(|(_, other)| std::ptr::eq(Arc::as_ptr(other), state)) {
            beside.remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A panic in another thread leaves the queues consistent: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Vec<Queue<P>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
