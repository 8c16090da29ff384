//! Whose datagram is it? (RFC 1350 §4)

use crate::error::{Failure, Fault};
use crate::limits;
use crate::wire::{Packet, Text};

/// The other end's transfer identifier: an address and port, of whatever type the caller's network has.
///
/// A server knows it from the request. A client learns the port from the first answer: the request went to the well-known
/// port, the answer comes from the transfer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tid<A> {
    peer: A,
    latched: bool,
}

impl<A: Copy + Eq> Tid<A> {
    /// The peer is known.
    pub fn known(peer: A) -> Self {
        Self { peer, latched: true }
    }

    /// A request goes to `server`; whoever [`admit`](Self::admit) lets in first is the peer.
    pub fn unknown(server: A) -> Self {
        Self { peer: server, latched: false }
    }

    /// Where to send to.
    pub fn peer(&self) -> A {
        self.peer
    }

    /// Whether a datagram from `from` belongs to this transfer. `same_host` tells whether `from` could be a TID of the host that a
    /// request was sent to; it matters only before the first answer.
    pub fn admit(&mut self, from: A, same_host: impl FnOnce(A, A) -> bool) -> bool {
        if !self.latched && same_host(self.peer, from) {
            (self.peer, self.latched) = (from, true);
        }
        self.latched && self.peer == from
    }
}

/// What a stranger is told who sent `datagram`: ERROR 5, or nothing if it was an ERROR itself (errors are never answered with errors, or two
/// servers could be made to talk for ever) or no packet at all. The transfer is not disturbed (RFC 1350 §4).
#[must_use]
pub fn stranger_answer(datagram: &[u8]) -> Option<Vec<u8>> {
    match Packet::decode(datagram) {
        Ok(Packet::Error { .. }) | Err(_) => None,
        Ok(_) => Some(error_packet(Failure::UnknownTid)),
    }
}

/// The ERROR packet that tells a peer of `fault`.
#[must_use]
pub(crate) fn fault_packet(fault: &Fault) -> Vec<u8> {
    let told = fault.text_for_peer();
    let message = &told.as_bytes()[..told.len().min(limits::ERROR_TEXT_OCTETS_MAX)];
    Packet::Error { code: fault.failure.code(), message: Text::until_nul(message) }.to_bytes()
}

/// The ERROR packet that tells a peer of `failure`.
#[must_use]
pub(crate) fn error_packet(failure: Failure) -> Vec<u8> {
    let message = failure.to_string();
    Packet::Error { code: failure.code(), message: Text::until_nul(message.as_bytes()) }.to_bytes()
}
