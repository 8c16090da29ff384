//! The table of clients with live transfers.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use actix::Recipient;

use crate::engine::admission::peer_state::{AllPeers, PeerState};
use crate::engine::lock;
use crate::engine::messages::Again;
use crate::error::Limit;
use crate::net::Received;
use crate::observe::TransferId;
use crate::wire::Request;

/// The client's address, and the address that its request was sent to.
type Key = (SocketAddr, SocketAddr);

const LEAST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The table of live peers of a server, shared by its listeners. Packets of transfers touch it in
/// single-port mode only.
#[derive(Debug)]
pub struct PeerTable {
    table: Mutex<Table>,
    pub(super) all: Arc<AllPeers>,
}

#[derive(Debug, Default)]
struct Table {
    /// The newest transfer of each peer, ordered so that the transfers of one client are adjacent.
    peers: BTreeMap<Key, Entry>,
    /// A peer may have more than one live transfer.
    live: usize,
    /// The number of live transfers of each client.
    clients: HashMap<IpAddr, usize>,
    transfers_max: usize,
    per_client_max: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    id: TransferId,
    request: Request<'static>,
    session: Arc<PeerState>,
}

pub(crate) enum Claim {
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
    /// In single-port mode, the peer's earlier transfer, which ends once this one has a session.
    earlier: Option<Entry>,
}

impl PeerTable {
    /// An empty table for at most `transfers_max` transfers at once.
    #[must_use]
    pub fn new(transfers_max: usize) -> Arc<Self> {
        Self::bounded(transfers_max, None, false)
    }

    /// An empty table, with a limit for each client address too. With `single_port`, a peer has one
    /// transfer at a time, which receives what the peer sends to the well-known port.
    #[must_use]
    pub fn bounded(transfers_max: usize, per_client_max: Option<usize>, single_port: bool) -> Arc<Self> {
        let table = Mutex::new(Table { transfers_max, per_client_max, ..Table::default() });
        Arc::new(Self { table, all: AllPeers::new(single_port) })
    }

    /// Sets other limits for new transfers.
    pub(crate) fn set_limits(&self, transfers_max: usize, per_client_max: Option<usize>) {
        let mut table = lock(&self.table);
        (table.transfers_max, table.per_client_max) = (transfers_max, per_client_max);
    }

    /// How many transfers are live.
    #[must_use]
    pub fn live(&self) -> usize {
        lock(&self.table).live
    }

    /// How many transfers have no outcome yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        *self.all.unfinished.borrow()
    }

    /// Waits until every transfer has an outcome.
    pub async fn all_over(&self) {
        // The table holds the sender.
        let _ = self.all.unfinished.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Gives up all transfers whose peers have not answered.
    pub(crate) fn give_up_unproven(&self) {
        self.all.unproven.take_all().iter().for_each(|state| state.give_up(None));
    }

    /// Classifies a request. The same request again, before the peer has answered anything, was
    /// sent before our first packet arrived: its session answers it, or hands it back to `listener`
    /// if it turns out to be a new one. Any other request begins a transfer beside those of the
    /// same peer. The transfer that the peer answers lives on, and the peer's ERROR 5 ends only the
    /// other one (RFC 1350 §4).
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
        if let Some(Entry { request: earlier, session, .. }) = table.peers.get(&key) {
            let is_same = earlier == request;
            if self.all.single_port && !session.is_over() {
                let has_answered = session.has_answered();
                if is_same && has_answered && !session.is_quiet() {
                    // The request is a late copy: its transfer is under way.
                    return Claim::Repeat;
                }
                begins_anew = !is_same || has_answered;
            }
            let again = || Again { received: *received, request: request.clone().into_owned() };
            if is_same && !session.is_settled() && session.notify_repeated(again(), listener) {
                return Claim::Repeat;
            }
        }
        if self.all.unproven.are_too_many() {
            return Claim::Flood(Limit::Unproven);
        }
        if !self.all.unproven.have_room_for(received.from.ip()) {
            return Claim::Flood(Limit::UnprovenPerPrefix);
        }
        if let Err(limit) = table.check_limits(&key, begins_anew) {
            return Claim::Full(limit);
        }
        *table.clients.entry(received.from.ip()).or_default() += 1;
        let (id, state) = (next_id(), Arc::new(PeerState::new(&self.all, received.from)));
        let entry = Entry { id, request: request.clone().into_owned(), session: Arc::clone(&state) };
        let earlier = table.peers.insert(key, entry).filter(|_| begins_anew);
        table.live += 1;
        Claim::New(Permit { id, state, key, table: Arc::clone(self), earlier })
    }
}

impl Table {
    /// Checks the limits for one more transfer. A transfer that replaces an earlier one uses its
    /// place, if the peer has answered. Otherwise the source may be forged, and such places would
    /// have no bound.
    fn check_limits(&self, key: &Key, begins_anew: bool) -> Result<(), Limit> {
        let has_place = begins_anew && self.peers.get(key).is_some_and(|entry| entry.session.has_answered());
        if self.live >= self.transfers_max + usize::from(has_place) {
            return Err(Limit::Transfers);
        }
        let of_client = self.clients.get(&key.0.ip()).copied().unwrap_or_default();
        if self.per_client_max.is_some_and(|most| of_client >= most + usize::from(has_place)) {
            return Err(Limit::TransfersPerClient);
        }
        Ok(())
    }
}

impl PeerTable {
    /// Delivers a datagram to the transfer of `peer` at `local`, the well-known port. `false` if
    /// there is no such transfer, or no room.
    pub(crate) fn deliver(&self, peer: SocketAddr, local: SocketAddr, datagram: &[u8]) -> bool {
        let state = lock(&self.table).peers.get(&(peer, local)).map(|entry| Arc::clone(&entry.session));
        state.is_some_and(|state| state.deliver(datagram))
    }

    /// The network reported that nobody listens at this address.
    pub(crate) fn set_gone(&self, peer: SocketAddr) {
        let table = lock(&self.table);
        let of_peer = table.peers.range((peer, LEAST)..).take_while(|((it, _), _)| *it == peer);
        of_peer.filter_map(|(_, entry)| entry.session.inbox.as_ref()).for_each(|inbox| inbox.set_gone());
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
            // The new transfer was not served, so the earlier one continues.
            if let Some(earlier) = self.earlier.take().filter(|earlier| !earlier.session.is_over()) {
                table.peers.insert(self.key, earlier);
            }
        }
    }
}

#[cfg(test)]
mod tests;
