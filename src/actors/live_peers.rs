//! Which clients have a transfer under way. Touched by requests only, never by the packets of a transfer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Recipient;
use tokio::sync::watch;

use super::session::{Again, Repeated, Returned};
use crate::net::Received;
use crate::observe::TransferId;
use crate::wire::Request;

/// A client's address and port, and the address that it sent its request to.
type Key = (SocketAddr, SocketAddr);

/// The table of live peers: one for a server, shared by its listeners.
#[derive(Debug)]
pub struct LivePeers {
    table: Mutex<Table>,
    transfers_max: usize,
    unfinished: Arc<watch::Sender<usize>>,
}

#[derive(Debug, Default)]
struct Table {
    /// The newest transfer of each.
    peers: HashMap<Key, Entry>,
    /// All live transfers: a peer may have more than one.
    live: usize,
}

#[derive(Debug)]
struct Entry {
    id: TransferId,
    request: Request<'static>,
    session: Arc<PeerState>,
}

/// What the table and a session know of each other.
#[derive(Debug)]
pub(super) struct PeerState {
    /// The peer has answered: a further request of it is a new one.
    answered: AtomicBool,
    /// The outcome is known: what its session still does is for the peer's comfort.
    over: AtomicBool,
    /// Transfers of the table whose outcome isn't known.
    unfinished: Arc<watch::Sender<usize>>,
    /// The session, once it runs.
    session: Mutex<Option<Recipient<Repeated>>>,
}

impl PeerState {
    fn counted_in(unfinished: &Arc<watch::Sender<usize>>) -> Self {
        change(unfinished, |count| count + 1);
        let (answered, over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { answered, over, unfinished: Arc::clone(unfinished), session: Mutex::default() }
    }

    /// The outcome is known: nobody has to wait for this transfer any more, though its session may live on to answer repeats.
    pub(super) fn set_over(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            change(&self.unfinished, |count| count - 1);
        }
    }

    /// From now on requests from the same address begin new transfers.
    pub(super) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether the same request would be a new one.
    pub(super) fn is_settled(&self) -> bool {
        self.answered.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }

    /// Tells the session of a request that came again. `false` if that had its answer by now, and makes it a new one.
    fn tell_repeated(&self, again: Again, listener: impl FnOnce() -> Recipient<Again>) -> bool {
        let Some(session) = &*lock(&self.session) else { return true };
        let returned = Returned { listener: listener(), again };
        let Err(unsent) = session.try_send(Repeated(Some(returned))) else { return true };
        unsent.into_inner().0 = None;
        // A full mailbox means that the session has enough to do, a closed one that another takes its place: the request is answered anyway. Unless it
        // closed because the transfer got its answer in this very moment.
        !self.is_settled()
    }

    /// Repeated requests go to `session`.
    pub(super) fn set_session(&self, session: Recipient<Repeated>) {
        *lock(&self.session) = Some(session);
    }
}

/// What a request is.
pub(super) enum Claim {
    /// A new one: the ticket stands for its transfer.
    New(Ticket),
    /// The same that a session has just answered; it was told.
    Repeat,
    /// One too many.
    Full,
}

/// A transfer's place in the table, given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: TransferId,
    pub(super) state: Arc<PeerState>,
    key: Key,
    table: Arc<LivePeers>,
}

impl LivePeers {
    /// An empty table for at most `transfers_max` transfers at once.
    #[must_use]
    pub fn new(transfers_max: usize) -> Arc<Self> {
        let unfinished = Arc::new(watch::Sender::new(0));
        Arc::new(Self { table: Mutex::default(), transfers_max, unfinished })
    }

    /// How many transfers are live.
    #[must_use]
    pub fn live(&self) -> usize {
        lock(&self.table).live
    }

    /// How many of them have no outcome yet: sessions that only answer repeats of what is done don't count.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        *self.unfinished.borrow()
    }

    /// Waits until all transfers have their outcome.
    pub async fn all_over(&self) {
        // The table holds the sender: there is always an answer.
        let _ = self.unfinished.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Decides what `request` is that `peer` sent to `local`.
    ///
    /// The same request again, before the peer has answered anything, was sent before our first packet arrived: its session answers
    /// it. Any other request begins a transfer beside those that the peer may have: whichever it answers
    /// lives, and its ERROR 5 ends only the other (RFC 1350 §4). A repeat that a session finds to be none goes back to `listener`.
    pub(super) fn claim(
        self: &Arc<Self>,
        received: &Received,
        request: &Request<'_>,
        listener: impl FnOnce() -> Recipient<Again>,
        next_id: impl FnOnce() -> TransferId,
    ) -> Claim {
        let key = (received.from, received.to);
        let mut table = lock(&self.table);
        if let Some(entry) = table.peers.get(&key)
            && entry.request == *request
            && !entry.session.is_settled()
            && entry
                .session
                .tell_repeated(Again { received: *received, request: request.clone().into_owned() }, listener)
        {
            return Claim::Repeat;
        }
        if table.live >= self.transfers_max {
            return Claim::Full;
        }
        let (id, state) = (next_id(), Arc::new(PeerState::counted_in(&self.unfinished)));
        let entry = Entry { id, request: request.clone().into_owned(), session: Arc::clone(&state) };
        table.peers.insert(key, entry);
        table.live += 1;
        Claim::New(Ticket { id, state, key, table: Arc::clone(self) })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.state.set_over();
        let mut table = lock(&self.table.table);
        table.live -= 1;
        if table.peers.get(&self.key).is_some_and(|entry| entry.id == self.id) {
            table.peers.remove(&self.key);
        }
    }
}

/// Whoever waits for the end of all transfers is told of that alone.
fn change(unfinished: &watch::Sender<usize>, by: impl FnOnce(usize) -> usize) {
    unfinished.send_if_modified(|count| {
        *count = by(*count);
        *count == 0
    });
}

/// A panic elsewhere leaves these tables whole: each change to them is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
