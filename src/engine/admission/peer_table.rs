//! Which clients have a transfer under way. Touched by requests only, never by the packets of a transfer, unless these come to the same port.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Recipient;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::admission::unproven::{Provable, Unproven};
use crate::engine::messages::{Again, Repeated, Returned, SessionAddr, SessionMessage};
use crate::error::Limit;
use crate::limits;
use crate::net::{Inbox, Received};
use crate::observe::TransferId;
use crate::wire::Request;

/// A client's address and port, and the address that it sent its request to.
type Key = (SocketAddr, SocketAddr);

/// No address is less.
const LEAST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The table of live peers: one for a server, shared by its listeners.
#[derive(Debug)]
pub struct PeerTable {
    table: Mutex<Table>,
    transfers_max: usize,
    per_client_max: Option<usize>,
    /// Packets of transfers come to the well-known port too.
    single_port: bool,
    began: Instant,
    unfinished: Arc<watch::Sender<usize>>,
    unproven: Arc<Unproven<PeerState>>,
}

#[derive(Debug, Default)]
struct Table {
    /// The newest transfer of each. In order, so that those of one client are found together.
    peers: BTreeMap<Key, Entry>,
    /// All live transfers: a peer may have more than one.
    live: usize,
    /// Those of each client, if they are bounded.
    clients: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    id: TransferId,
    request: Request<'static>,
    session: Arc<PeerState>,
}

/// What the table and a session know of each other.
#[derive(Debug)]
pub(crate) struct PeerState {
    /// The peer has answered: a further request of it is a new one.
    answered: AtomicBool,
    /// The outcome is known: what its session still does is for the peer's comfort.
    over: AtomicBool,
    /// Either of them.
    dismissed: AtomicBool,
    /// The peer began anew.
    superseded: AtomicBool,
    /// It doesn't count any more among those that have not answered and hold something.
    released: AtomicBool,
    /// Transfers of the table whose outcome isn't known.
    unfinished: Arc<watch::Sender<usize>>,
    peer: SocketAddr,
    /// Where it is as long as the peer hasn't answered.
    unproven: Arc<Unproven<Self>>,
    is_unproven: AtomicBool,
    /// The session, once it runs.
    session: Mutex<Option<SessionAddr>>,
    /// In single-port mode, what has come for it; and when something came last, in milliseconds since the table began.
    inbox: Option<Arc<Inbox>>,
    heard_at_ms: AtomicU64,
}

impl PeerState {
    pub(crate) fn counted_in(table: &PeerTable, peer: SocketAddr) -> Self {
        change(&table.unfinished, |count| count + 1);
        let [answered, over, dismissed, superseded, released] = [const { AtomicBool::new(false) }; 5];
        let (unfinished, unproven) = (Arc::clone(&table.unfinished), Arc::clone(&table.unproven));
        let (session, inbox) = (Mutex::default(), table.single_port.then(Arc::default));
        // (Misses are many, and the clock is only for those who have an inbox.)
        let heard_at_ms = AtomicU64::new(if table.single_port { table.now_ms() } else { 0 });
        let is_unproven = AtomicBool::new(false);
        table.unproven.admit(peer.ip());
        Self {
            answered,
            over,
            dismissed,
            superseded,
            released,
            unfinished,
            peer,
            unproven,
            is_unproven,
            session,
            inbox,
            heard_at_ms,
        }
    }

    /// What has come for the transfer at the well-known port, in single-port mode.
    pub(crate) fn inbox(&self) -> Option<&Arc<Inbox>> {
        self.inbox.as_ref()
    }

    /// Whether so many peers haven't answered yet that one of them gets nothing but an answer to each request.
    pub(crate) fn is_restrained(&self) -> bool {
        self.unproven.are_many()
    }

    /// The outcome is known: nobody has to wait for this transfer any more, though its session may live on to answer repeats.
    pub(crate) fn set_over(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            change(&self.unfinished, |count| count - 1);
            self.dismiss();
        }
    }

    /// From now on requests from the same address begin new transfers.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
        self.release();
        self.dismiss();
    }

    /// Whatever it still holds is not to be counted: the peer has answered, or who holds it hangs, and may do so for ever.
    pub(crate) fn release(&self) {
        if !self.released.swap(true, Ordering::Relaxed) {
            self.unproven.release();
        }
    }

    /// It is no longer one of those that haven't answered.
    fn dismiss(&self) {
        if !self.dismissed.swap(true, Ordering::Relaxed) {
            self.unproven.dismiss(self);
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether the same request would be a new one.
    pub(crate) fn is_settled(&self) -> bool {
        self.answered.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }

    /// Tells the session of a request that came again. `false` if that had its answer by now, and makes it a new one.
    fn notify_repeated(&self, again: Again, listener: impl FnOnce() -> Recipient<Again>) -> bool {
        let Some(session) = &*lock(&self.session) else { return true };
        let returned = Returned { listener: listener(), again };
        let message = SessionMessage::Repeated(Repeated(Some(Box::new(returned))));
        let Err(unsent) = session.try_send(message) else { return true };
        if let SessionMessage::Repeated(mut repeated) = unsent.into_inner() {
            repeated.0 = None;
        }
        // A full mailbox means that the session has enough to do, a closed one that another takes its place: the request is answered anyway. Unless it
        // closed because the transfer got its answer in this very moment.
        !self.is_settled()
    }

    /// Whether nothing has come for so long that a request which comes again is no late copy.
    fn is_quiet_since(&self, now_ms: u64) -> bool {
        let quiet_ms = now_ms.saturating_sub(self.heard_at_ms.load(Ordering::Relaxed));
        Duration::from_millis(quiet_ms) >= limits::RESTART_QUIET
    }

    fn notify_superseded(&self) {
        let session = lock(&self.session);
        // (One that has no session yet is told when it has.)
        self.superseded.store(true, Ordering::Relaxed);
        if let Some(session) = &*session {
            // One that has no room for this, or is replaced just now, finds nothing more in its inbox, and gives up in time.
            let _ = session.try_send(SessionMessage::Superseded);
        }
    }

    /// Its session is to give up, if its peer hasn't answered; because of this limit, if of any.
    pub(crate) fn give_up(&self, limit: Option<Limit>) {
        if let Some(session) = &*lock(&self.session) {
            // One that has no room for this hears from its peer, or is busy with its end.
            let _ = session.try_send(SessionMessage::GiveUp(limit));
        }
    }

    /// Repeated requests go to `session`, which has sent something, or is about to: from now on it is one of those that give way to others
    /// as long as its peer hasn't answered.
    pub(crate) fn set_session(self: &Arc<Self>, session: SessionAddr) {
        let is_first = {
            let mut current = lock(&self.session);
            if self.superseded.load(Ordering::Relaxed) {
                let _ = session.try_send(SessionMessage::Superseded);
            }
            current.replace(session).is_none()
        };
        if is_first
            && !self.is_settled()
            && let Some((oldest, limit)) = self.unproven.add(self)
        {
            oldest.give_up(Some(limit));
        }
        if self.is_settled() {
            // It was over in this very moment, elsewhere.
            self.unproven.remove(self);
        }
    }
}

impl Provable for PeerState {
    fn address(&self) -> IpAddr {
        self.peer.ip()
    }

    fn is_unproven(&self) -> &AtomicBool {
        &self.is_unproven
    }
}

/// Nothing is left of the transfer: whatever belongs to it holds this.
impl Drop for PeerState {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a request is.
pub(crate) enum Claim {
    /// A new one: the permit stands for its transfer.
    New(Permit),
    /// The same that a session has just answered; it was told.
    Repeat,
    /// One too many, by this limit.
    Full(Limit),
    /// The same, by a limit of those of whom nobody knows who sent them.
    Flood(Limit),
}

/// A transfer's place in the table, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) id: TransferId,
    pub(crate) state: Arc<PeerState>,
    key: Key,
    table: Arc<PeerTable>,
    /// In single-port mode, the transfer of the same peer that ends once this one is sure to be
    /// served.
    earlier: Option<Entry>,
}

impl PeerTable {
    /// An empty table for at most `transfers_max` transfers at once.
    #[must_use]
    pub fn new(transfers_max: usize) -> Arc<Self> {
        Self::bounded(transfers_max, None, false)
    }

    /// The same, with at most `per_client_max` of one client, by its address; with `single_port` a peer has one transfer at a time, and what comes from it at the
    /// well-known port is for that.
    #[must_use]
    pub fn bounded(transfers_max: usize, per_client_max: Option<usize>, single_port: bool) -> Arc<Self> {
        let unfinished = Arc::new(watch::Sender::new(0));
        let (table, unproven, began) = (Mutex::default(), Arc::default(), Instant::now());
        Arc::new(Self { table, transfers_max, per_client_max, single_port, began, unfinished, unproven })
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

    /// Gives up all transfers whose peers have not answered. Nobody is told.
    pub(crate) fn give_up_unproven(&self) {
        self.unproven.take_all().iter().for_each(|state| state.give_up(None));
    }

    /// Decides what `request` is that `peer` sent to `local`.
    ///
    /// The same request again, before the peer has answered anything, was sent before our first packet arrived: its session answers
    /// it. Any other request begins a transfer beside those that the peer may have: whichever it answers
    /// lives, and its ERROR 5 ends only the other (RFC 1350 §4). A repeat that a session finds to be none goes back to `listener`.
    pub(crate) fn claim(
        self: &Arc<Self>,
        received: &Received,
        request: &Request<'_>,
        listener: impl FnOnce() -> Recipient<Again>,
        next_id: impl FnOnce() -> TransferId,
    ) -> Claim {
        let key = (received.from, received.to);
        let mut table = lock(&self.table);
        // The client began anew, from the same port.
        let mut begins_anew = false;
        if self.single_port
            && let Some(Entry { request: earlier, session, .. }) = table.peers.get(&key)
            && !session.is_over()
        {
            let (is_same, has_answered) = (earlier == request, session.answered.load(Ordering::Relaxed));
            if is_same && has_answered && !session.is_quiet_since(self.now_ms()) {
                // It is late: the transfer is under way.
                return Claim::Repeat;
            }
            begins_anew = !is_same || has_answered;
        }
        if let Some(entry) = table.peers.get(&key)
            && entry.request == *request
            && !entry.session.is_settled()
            && entry.session.notify_repeated(
                Again { received: *received, request: request.clone().into_owned() },
                listener,
            )
        {
            return Claim::Repeat;
        }
        if self.unproven.are_too_many() {
            return Claim::Flood(Limit::Unproven);
        }
        if !self.unproven.have_room_for(received.from.ip()) {
            return Claim::Flood(Limit::UnprovenPerPrefix);
        }
        if let Err(limit) = self.find_place(&table, &key, begins_anew) {
            return Claim::Full(limit);
        }
        if self.per_client_max.is_some() {
            *table.clients.entry(received.from.ip()).or_default() += 1;
        }
        let (id, state) = (next_id(), Arc::new(PeerState::counted_in(self, received.from)));
        let entry = Entry { id, request: request.clone().into_owned(), session: Arc::clone(&state) };
        let earlier = table.peers.insert(key, entry).filter(|_| begins_anew);
        table.live += 1;
        Claim::New(Permit { id, state, key, table: Arc::clone(self), earlier })
    }

    /// Whether there is a place for one more of this client. One that begins anew has the place
    /// that it had: its earlier transfer is about to end. (If it has answered; otherwise nobody
    /// knows whether it is the one who asks, and there would be no bound.)
    fn find_place(&self, table: &Table, key: &Key, begins_anew: bool) -> Result<(), Limit> {
        let has_place = begins_anew
            && table.peers.get(key).is_some_and(|entry| entry.session.answered.load(Ordering::Relaxed));
        if table.live >= self.transfers_max + usize::from(has_place) {
            return Err(Limit::Transfers);
        }
        let of_client = table.clients.get(&key.0.ip()).copied().unwrap_or_default();
        if self.per_client_max.is_some_and(|most| of_client >= most + usize::from(has_place)) {
            return Err(Limit::TransfersPerClient);
        }
        Ok(())
    }
}

impl PeerTable {
    /// Gives the transfer of `peer` what has come from it at `local`, the well-known port. `false` if it has none, or no room for it.
    pub(crate) fn deliver(&self, peer: SocketAddr, local: SocketAddr, datagram: &[u8]) -> bool {
        let Some(state) = self.state(peer, local) else { return false };
        state.heard_at_ms.store(self.now_ms(), Ordering::Relaxed);
        state.inbox.as_ref().is_some_and(|inbox| inbox.push(datagram))
    }

    /// The network says that nobody listens at this address.
    pub(crate) fn set_gone(&self, peer: SocketAddr) {
        let table = lock(&self.table);
        let of_peer = table.peers.range((peer, LEAST)..).take_while(|((it, _), _)| *it == peer);
        of_peer.filter_map(|(_, entry)| entry.session.inbox.as_ref()).for_each(|inbox| inbox.set_gone());
    }

    fn state(&self, peer: SocketAddr, local: SocketAddr) -> Option<Arc<PeerState>> {
        lock(&self.table).peers.get(&(peer, local)).map(|entry| Arc::clone(&entry.session))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Permit {
    /// This one is served: the transfer that the client has given up for it ends.
    pub(crate) fn supersede(&mut self) {
        if let Some(earlier) = self.earlier.take() {
            earlier.session.notify_superseded();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.state.set_over();
        let mut table = lock(&self.table.table);
        table.live -= 1;
        if let hash_map::Entry::Occupied(mut of_client) = table.clients.entry(self.key.0.ip()) {
            *of_client.get_mut() -= 1;
            if *of_client.get() == 0 {
                of_client.remove();
            }
        }
        if table.peers.get(&self.key).is_some_and(|entry| entry.id == self.id) {
            table.peers.remove(&self.key);
            // It was not served: the one before it goes on, if it hasn't ended meanwhile.
            if let Some(earlier) = self.earlier.take().filter(|earlier| !earlier.session.is_over()) {
                table.peers.insert(self.key, earlier);
            }
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

#[cfg(test)]
mod tests;
