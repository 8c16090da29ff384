//! Transfers whose peers have not answered yet: the source of their requests may be forged.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::PeerState;
use crate::engine::admission::prefixes::Prefixes;
use crate::engine::lock;
use crate::error::Limit;
use crate::limits::{
    PREFIXES, UNPROVEN_HELD_MAX, UNPROVEN_MANY, UNPROVEN_MAX, UNPROVEN_PER_PREFIX_MAX, UNPROVEN_STAY_MIN,
};

/// The unproven transfers of one server, never more than [`UNPROVEN_MAX`]: the oldest transfer of
/// the prefix with the most unproven transfers gives way. So a flood from one network displaces
/// only its own transfers, and a flood from everywhere leaves each client as much time as possible.
///
/// Thousands of honest clients behind one NAT need longer to answer than to ask. For them, no
/// request is admitted that would displace a transfer younger than [`UNPROVEN_STAY_MIN`].
#[derive(Debug)]
pub(crate) struct Unproven {
    waiting: Mutex<Vec<Queue>>,
    /// The number of waiting transfers, to be read without a lock.
    count: AtomicUsize,
    /// The unproven transfers that hold resources: also those whose session has sent nothing yet,
    /// and those that have given way or up but are not dropped yet.
    held: AtomicUsize,
    /// The admitted transfers of each prefix, also those whose session has sent nothing yet.
    admitted: [AtomicUsize; PREFIXES],
    prefixes: Prefixes,
}

/// The transfers of one prefix since when they wait, the oldest first.
type Queue = VecDeque<(Instant, Arc<PeerState>)>;

impl Default for Unproven {
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

impl Unproven {
    /// Whether there are so many that each gets only one packet per request.
    pub(crate) fn are_many(&self) -> bool {
        self.count.load(Ordering::Relaxed) > UNPROVEN_MANY
    }

    /// Whether requests arrive faster than sessions end.
    pub(crate) fn are_too_many(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= UNPROVEN_HELD_MAX
    }

    pub(crate) fn have_room_for(&self, address: IpAddr) -> bool {
        let place = self.prefixes.place(address);
        let admitted = self.admitted[place].load(Ordering::Relaxed);
        let Some(beyond) = admitted.checked_sub(UNPROVEN_PER_PREFIX_MAX) else { return true };
        // The last transfer that would give way for this one and for those admitted before it.
        lock(&self.waiting)[place].get(beyond).is_some_and(|(since, _)| since.elapsed() >= UNPROVEN_STAY_MIN)
    }

    pub(crate) fn admit(&self, address: IpAddr) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.admitted[self.prefixes.place(address)].fetch_add(1, Ordering::Relaxed);
    }

    /// A peer has answered, or its transfer was dropped.
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// The peer has answered, or its transfer is over.
    pub(crate) fn dismiss(&self, state: &PeerState) {
        self.admitted[self.prefixes.place(state.peer.ip())].fetch_sub(1, Ordering::Relaxed);
        self.remove(state);
    }

    /// Adds a transfer. Returns the one that has to give way, if any, and the limit that requires
    /// it.
    pub(crate) fn add(&self, state: &Arc<PeerState>) -> Option<(Arc<PeerState>, Limit)> {
        state.is_unproven.store(true, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        let place = self.prefixes.place(state.peer.ip());
        waiting[place].push_back((Instant::now(), Arc::clone(state)));
        let count = self.count.load(Ordering::Relaxed) + 1;
        let (crowded, limit) = if waiting[place].len() > UNPROVEN_PER_PREFIX_MAX {
            (Some(&mut waiting[place]), Limit::UnprovenPerPrefix)
        } else if count > UNPROVEN_MAX {
            (waiting.iter_mut().max_by_key(|queue| queue.len()), Limit::UnprovenWaiting)
        } else {
            (None, Limit::UnprovenWaiting)
        };
        let oldest = crowded.and_then(VecDeque::pop_front).map(|(_, state)| (state, limit));
        self.count.store(count - usize::from(oldest.is_some()), Ordering::Relaxed);
        oldest
    }

    pub(crate) fn take_all(&self) -> Vec<Arc<PeerState>> {
        let mut waiting = lock(&self.waiting);
        self.count.store(0, Ordering::Relaxed);
        waiting.iter_mut().flat_map(std::mem::take).map(|(_, state)| state).collect()
    }

    /// Removes a transfer. Has no effect the second time.
    pub(crate) fn remove(&self, state: &PeerState) {
        if !state.is_unproven.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let queue = &mut waiting[self.prefixes.place(state.peer.ip())];
        // Peers answer more or less in the order of their requests, so the search is short.
        if let Some(at) = queue.iter().position(|(_, other)| std::ptr::eq(Arc::as_ptr(other), state)) {
            queue.remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
