//! The table of clients with live transfers. Accessed by requests, and never by the packets of a
//! transfer, except in single-port mode.

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

/// The client's address, and the address that its request was sent to.
type Key = (SocketAddr, SocketAddr);

const LEAST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The table of live peers of a server, shared by its listeners.
#[derive(Debug)]
pub struct PeerTable {
    table: Mutex<Table>,
    transfers_max: usize,
    per_client_max: Option<usize>,
    /// Packets of transfers arrive at the well-known port too.
    single_port: bool,
    began: Instant,
    unfinished: Arc<watch::Sender<usize>>,
    unproven: Arc<Unproven<PeerState>>,
}

#[derive(Debug, Default)]
struct Table {
    /// The newest transfer of each peer, ordered so that the transfers of one client are adjacent.
    peers: BTreeMap<Key, Entry>,
    /// All live transfers: a peer may have more than one.
    live: usize,
    /// The number of live transfers of each client, if it is bounded.
    clients: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    id: TransferId,
    request: Request<'static>,
    session: Arc<PeerState>,
}

/// The state that the peer table shares with a session.
#[derive(Debug)]
pub(crate) struct PeerState {
    /// The peer has answered: another request of the peer is a new one.
    answered: AtomicBool,
    /// The outcome is known. The session may live on to answer repeated packets.
    over: AtomicBool,
    /// The peer has answered, or the outcome is known.
    dismissed: AtomicBool,
    /// The peer began a new transfer from the same port.
    superseded: AtomicBool,
    /// The transfer no longer counts as unproven.
    released: AtomicBool,
    /// The number of transfers in the table whose outcome isn't known.
    unfinished: Arc<watch::Sender<usize>>,
    peer: SocketAddr,
    unproven: Arc<Unproven<Self>>,
    is_unproven: AtomicBool,
    session: Mutex<Option<SessionAddr>>,
    /// In single-port mode, the datagrams that arrived for the transfer, and the time of the last
    /// one in milliseconds since the table was created.
    inbox: Option<Arc<Inbox>>,
    heard_at_ms: AtomicU64,
}

impl PeerState {
    pub(crate) fn counted_in(table: &PeerTable, peer: SocketAddr) -> Self {
        change(&table.unfinished, |count| count + 1);
        let [answered, over, dismissed, superseded, released] = [const { AtomicBool::new(false) }; 5];
        let (unfinished, unproven) = (Arc::clone(&table.unfinished), Arc::clone(&table.unproven));
        let (session, inbox) = (Mutex::default(), table.single_port.then(Arc::default));
        // Only single-port mode needs the clock, and reading it for every failed request would be
        // expensive.
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

    /// The datagrams that arrived for the transfer at the well-known port, in single-port mode.
    pub(crate) fn inbox(&self) -> Option<&Arc<Inbox>> {
        self.inbox.as_ref()
    }

    /// Whether so many peers are unproven that packets to them are not repeated on timeout.
    pub(crate) fn is_restrained(&self) -> bool {
        self.unproven.are_many()
    }

    /// The outcome is known. Nobody waits for this transfer any more, though its session may live
    /// on to answer repeated packets.
    pub(crate) fn set_over(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            change(&self.unfinished, |count| count - 1);
            self.dismiss();
        }
    }

    /// The peer has answered. Requests from the same address begin new transfers from now on.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
        self.release();
        self.dismiss();
    }

    /// Stops counting the transfer as unproven: the peer has answered, or a session that hangs may
    /// hold the transfer for ever.
    pub(crate) fn release(&self) {
        if !self.released.swap(true, Ordering::Relaxed) {
            self.unproven.release();
        }
    }

    /// Removes the transfer from those whose peers haven't answered.
    fn dismiss(&self) {
        if !self.dismissed.swap(true, Ordering::Relaxed) {
            self.unproven.dismiss(self);
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.answered.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }

    /// Notifies the session of a repeated request. `false` if the transfer has been answered
    /// meanwhile, so that the request is a new one.
    fn notify_repeated(&self, again: Again, listener: impl FnOnce() -> Recipient<Again>) -> bool {
        let Some(session) = &*lock(&self.session) else { return true };
        let returned = Returned { listener: listener(), again };
        let message = SessionMessage::Repeated(Repeated(Some(Box::new(returned))));
        let Err(unsent) = session.try_send(message) else { return true };
        if let SessionMessage::Repeated(mut repeated) = unsent.into_inner() {
            repeated.0 = None;
        }
        // A session with a full mailbox is busy, and a closed mailbox means that another session
        // takes over: the request is answered either way. The exception is a session that ended
        // because the transfer was answered in this moment.
        !self.is_settled()
    }

    /// Whether nothing has arrived for so long that a repeated request can't be a late copy.
    fn is_quiet_since(&self, now_ms: u64) -> bool {
        let quiet_ms = now_ms.saturating_sub(self.heard_at_ms.load(Ordering::Relaxed));
        Duration::from_millis(quiet_ms) >= limits::RESTART_QUIET
    }

    fn notify_superseded(&self) {
        let session = lock(&self.session);
        // A session that starts later is notified by `set_session`.
        self.superseded.store(true, Ordering::Relaxed);
        if let Some(session) = &*session {
            // A session whose mailbox is full, or that is just being replaced, receives nothing
            // more in its inbox, and times out.
            let _ = session.try_send(SessionMessage::Superseded);
        }
    }

    /// Asks the session to give up if its peer hasn't answered, because of `limit` if there is one.
    pub(crate) fn give_up(&self, limit: Option<Limit>) {
        if let Some(session) = &*lock(&self.session) {
            // A session whose mailbox is full is receiving from its peer, or is about to end.
            let _ = session.try_send(SessionMessage::GiveUp(limit));
        }
    }

    /// Sends repeated requests to `session`, which has sent a packet or is about to. From now on
    /// the transfer may have to give way to others until its peer answers.
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
            // Another thread settled the transfer in this moment.
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

/// Everything that belongs to the transfer holds this state, so nothing of the transfer is left.
impl Drop for PeerState {
    fn drop(&mut self) {
        self.release();
    }
}

pub(crate) enum Claim {
    /// A new request, with the permit for its transfer.
    New(Permit),
    /// A repeated request. Its session was notified.
    Repeat,
    /// A request beyond this limit.
    Full(Limit),
    /// A request beyond a limit for unproven peers, whose source may be forged.
    Flood(Limit),
}

/// A transfer's place in the table, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) id: TransferId,
    pub(crate) state: Arc<PeerState>,
    key: Key,
    table: Arc<PeerTable>,
    /// In single-port mode, an earlier transfer of the same peer, which ends once this one has a
    /// session.
    earlier: Option<Entry>,
}

impl PeerTable {
    /// An empty table for at most `transfers_max` transfers at once.
    #[must_use]
    pub fn new(transfers_max: usize) -> Arc<Self> {
        Self::bounded(transfers_max, None, false)
    }

    /// An empty table for at most `transfers_max` transfers, and at most `per_client_max` for each
    /// client address. With `single_port`, a peer has one transfer at a time, which receives what
    /// the peer sends to the well-known port.
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

    /// How many transfers have no outcome yet. Sessions that only answer repeated packets don't
    /// count.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        *self.unfinished.borrow()
    }

    /// Waits until every transfer has an outcome.
    pub async fn all_over(&self) {
        // The table holds the sender, so the wait can't fail.
        let _ = self.unfinished.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Gives up all transfers whose peers have not answered. The peers are sent nothing.
    pub(crate) fn give_up_unproven(&self) {
        self.unproven.take_all().iter().for_each(|state| state.give_up(None));
    }

    /// Classifies `request`, which was received as `received` describes.
    ///
    /// The same request again, before the peer has answered anything, was sent before our first
    /// packet arrived: its session answers it. Any other request begins a transfer beside those of
    /// the same peer. The transfer that the peer answers lives on, and the peer's ERROR 5 ends only
    /// the other one (RFC 1350 §4). A repeated request that turns out to be a new one goes back to
    /// `listener`.
    pub(crate) fn claim(
        self: &Arc<Self>,
        received: &Received,
        request: &Request<'_>,
        listener: impl FnOnce() -> Recipient<Again>,
        next_id: impl FnOnce() -> TransferId,
    ) -> Claim {
        let key = (received.from, received.to);
        let mut table = lock(&self.table);
        // The client began a new transfer from the same port.
        let mut begins_anew = false;
        if self.single_port
            && let Some(Entry { request: earlier, session, .. }) = table.peers.get(&key)
            && !session.is_over()
        {
            let (is_same, has_answered) = (earlier == request, session.answered.load(Ordering::Relaxed));
            if is_same && has_answered && !session.is_quiet_since(self.now_ms()) {
                // The request is a late copy: its transfer is under way.
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
        if let Err(limit) = self.check_limits(&table, &key, begins_anew) {
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

    /// Checks the limits for one more transfer. A transfer that replaces an earlier one of the same
    /// peer uses the earlier place, if the peer has answered. Without an answer the source may be
    /// forged, and such places would have no bound.
    fn check_limits(&self, table: &Table, key: &Key, begins_anew: bool) -> Result<(), Limit> {
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
    /// Delivers a datagram to the transfer of `peer` at `local`, the well-known port. `false` if
    /// there is no such transfer, or no room in its inbox.
    pub(crate) fn deliver(&self, peer: SocketAddr, local: SocketAddr, datagram: &[u8]) -> bool {
        let Some(state) = self.state(peer, local) else { return false };
        state.heard_at_ms.store(self.now_ms(), Ordering::Relaxed);
        state.inbox.as_ref().is_some_and(|inbox| inbox.push(datagram))
    }

    /// The network reported that nobody listens at this address.
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
    /// The transfer has a session: the earlier transfer of the peer ends.
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
            // The new transfer was not served, so the earlier one continues, if it hasn't ended
            // meanwhile.
            if let Some(earlier) = self.earlier.take().filter(|earlier| !earlier.session.is_over()) {
                table.peers.insert(self.key, earlier);
            }
        }
    }
}

/// Wakes the waiting tasks only when the count reaches zero.
fn change(unfinished: &watch::Sender<usize>, by: impl FnOnce(usize) -> usize) {
    unfinished.send_if_modified(|count| {
        *count = by(*count);
        *count == 0
    });
}

/// A panic in another thread leaves these tables consistent: each change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
