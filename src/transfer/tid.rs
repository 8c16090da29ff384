//! Transfer identifiers (RFC 1350 §4).

use crate::error::{Failure, Fault};
use crate::limits;
use crate::wire::{Packet, Text};

/// The peer's transfer identifier: an address and port, in the type of the caller's network.
///
/// A client learns the port from the first answer: the request goes to the well-known port, and the
/// answer comes from the transfer's own port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tid<A> {
    peer: A,
    latched: bool,
}

impl<A: Copy + Eq> Tid<A> {
    /// A known peer.
    pub fn known(peer: A) -> Self {
        Self { peer, latched: true }
    }

    /// A request to `server`; the first sender that [`admit`](Self::admit) accepts is the peer.
    pub fn unknown(server: A) -> Self {
        Self { peer: server, latched: false }
    }

    /// The address to send to.
    pub fn peer(&self) -> A {
        self.peer
    }

    /// Whether a datagram from `from` belongs to this transfer. `same_host` says whether `from`
    /// could be a TID of the host that got the request; it only matters before the first answer.
    pub fn admit(&mut self, from: A, same_host: impl FnOnce(A, A) -> bool) -> bool {
        if !self.latched && same_host(self.peer, from) {
            (self.peer, self.latched) = (from, true);
        }
        self.latched && self.peer == from
    }
}

/// The answer to a stranger's `datagram`: ERROR 5 (RFC 1350 §4), or `None` if it was no packet or
/// an ERROR: two servers that answer errors with errors could be made to exchange them for ever.
#[must_use]
pub fn stranger_answer(datagram: &[u8]) -> Option<Vec<u8>> {
    match Packet::decode(datagram) {
        Ok(Packet::Error { .. }) | Err(_) => None,
        Ok(_) => Some(error_packet(Failure::UnknownTid)),
    }
}

#[must_use]
pub(crate) fn fault_packet(fault: &Fault) -> Vec<u8> {
    let told = fault.text_for_peer();
    let message = &told.as_bytes()[..told.len().min(limits::ERROR_TEXT_OCTETS_MAX)];
    Packet::Error { code: fault.failure.code(), message: Text::until_nul(message) }.to_bytes()
}

#[must_use]
pub(crate) fn error_packet(failure: Failure) -> Vec<u8> {
    fault_packet(&failure.into())
}
