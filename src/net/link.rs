//! The contract between a session and whatever carries its datagrams.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::ReadyList;
use crate::transfer::Transmit;

/// A transfer's way to its peer: datagrams in and out, and word of peers that are gone.
///
/// The UDP one is real; tests put their own in its place.
pub trait Link: fmt::Debug + 'static {
    /// The address (the TID) that datagrams leave from.
    fn local_addr(&self) -> SocketAddr;

    /// Ready when there may be something to [`receive`](Self::receive) or an error to
    /// [`take`](Self::take_error). Readiness is consumed: afterwards receive until `WouldBlock` and take errors
    /// until `None`, or wake the task yourself. What is left nevertheless is told of again when something more comes.
    ///
    /// # Errors
    /// When there is no runtime to wait in, or its reactor is gone.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The socket that is behind it, to be waited for in a [`SocketSet`](super::SocketSet) instead of by [`poll_event`](Self::poll_event), which costs more.
    fn socket(&self) -> Option<&UdpSocket> {
        None
    }

    /// Where there is no socket: has `list` told, under this number, whenever there may be something to receive, once until something is received. `false` if that can't be done.
    fn join(&mut self, _list: &Arc<ReadyList>, _token: u64) -> bool {
        false
    }

    /// There may be errors to [`take`](Self::take_error), says the set.
    fn expect_errors(&mut self) {}

    /// The peer sends many datagrams of one length: from now on one [`receive`](Self::receive) may take several of them, where the
    /// kernel can. To ask again changes nothing.
    fn expect_runs(&mut self) {}

    /// Takes one datagram without waiting, or a run of them after [`expect_runs`](Self::expect_runs): then `buffer` should have
    /// room for 65,536 octets ([`DATAGRAM_OCTETS_MAX`](crate::limits::DATAGRAM_OCTETS_MAX)).
    ///
    /// # Errors
    /// `WouldBlock` when there is none. A pending error of an earlier send is cleared and the call tried again.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived>;

    /// Sends one packet, or a run of DATA blocks, in as few system calls as the kernel allows. What the socket
    /// buffer has no room for is dropped, as any network may: the retransmission timer heals it.
    ///
    /// # Errors
    /// When the kernel refuses for good (no route, not permitted).
    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()>;

    /// The next peer that the network reported unreachable (ICMP), by the address that our datagram was sent to.
    fn take_error(&mut self) -> Option<SocketAddr>;
}

/// What one [`Link::receive`] took: a datagram, or a run of them from one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Octets in all, also those that the buffer had no room for.
    pub octets: usize,
    /// Octets of each datagram; the last may be shorter.
    pub segment: usize,
    /// Whose they are.
    pub from: SocketAddr,
}

impl Arrived {
    /// One datagram.
    #[must_use]
    pub const fn one(octets: usize, from: SocketAddr) -> Self {
        Self { octets, segment: octets, from }
    }

    /// The datagrams, which lie in the `buffer` that they were received in. One is there at least; what the buffer had no room
    /// for is missing.
    pub fn datagrams<'b>(&self, buffer: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let taken = &buffer[..self.octets.min(buffer.len())];
        // Apart from the others, for it may be empty.
        let (first, rest) = taken.split_at(self.segment.min(taken.len()));
        std::iter::once(first).chain(rest.chunks(self.segment.max(1)))
    }
}

#[cfg(test)]
mod tests;
