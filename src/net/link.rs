//! The interface between a session and the transport of its datagrams.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use tokio::sync::mpsc::UnboundedSender;

use crate::transfer::Transmit;

/// A transfer's connection to its peer: datagrams in both directions, and reports of unreachable
/// peers. [`UdpLink`](super::UdpLink) is used in production; tests bring their own.
pub trait Link: fmt::Debug + 'static {
    /// The address that datagrams are sent from (the TID).
    fn local_addr(&self) -> SocketAddr;

    /// Ready when there may be a datagram to [`receive`](Self::receive) or an error to
    /// [`take`](Self::take_error). Readiness is consumed: afterwards receive until `WouldBlock` and
    /// take errors until `None`, or wake the task. Whatever is left is only reported again when
    /// something else arrives.
    ///
    /// # Errors
    /// When there is no runtime, its reactor is gone, or the link only [joins](Self::join) others.
    fn poll_event(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// The link's socket, if it has one. A [`SocketSet`](super::SocketSet) waits for it at a lower
    /// cost than [`poll_event`](Self::poll_event).
    fn socket(&self) -> Option<&UdpSocket> {
        None
    }

    /// For links without a socket: `ready` gets this token when there may be something to receive,
    /// once until something is received. Returns `false` if the link can't do that.
    fn join(&mut self, _ready: &UnboundedSender<u64>, _token: u64) -> bool {
        false
    }

    /// The set reported that there may be errors to [`take`](Self::take_error).
    fn expect_errors(&mut self) {}

    /// Announces many datagrams of one length: from now on one [`receive`](Self::receive) may take
    /// several of them, where the kernel supports that.
    fn expect_runs(&mut self) {}

    /// Takes one datagram without waiting, or several after [`expect_runs`](Self::expect_runs);
    /// `buffer` should then have room for 65,536 octets
    /// ([`DATAGRAM_OCTETS_MAX`](crate::limits::DATAGRAM_OCTETS_MAX)).
    ///
    /// # Errors
    /// `WouldBlock` when there is none. A pending error of an earlier send is cleared first.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived>;

    /// Sends one packet, or a run of DATA blocks, in as few system calls as the kernel allows.
    /// Packets that the socket buffer has no room for are dropped; retransmission covers that.
    ///
    /// # Errors
    /// When the kernel refuses permanently (no route, not permitted).
    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()>;

    /// The next peer that the network reported unreachable (ICMP), by its address.
    fn take_error(&mut self) -> Option<SocketAddr>;
}

/// The result of [`Link::receive`]: a datagram, or a run of datagrams from one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Octets in total, including those that didn't fit the buffer.
    pub octets: usize,
    /// Octets of each datagram; the last may be shorter.
    pub segment: usize,
    /// The sender.
    pub from: SocketAddr,
}

impl Arrived {
    /// One datagram.
    #[must_use]
    pub const fn one(octets: usize, from: SocketAddr) -> Self {
        Self { octets, segment: octets, from }
    }

    /// The datagrams in the `buffer` that they were received in, at least one. Octets that didn't
    /// fit the buffer are missing.
    pub fn datagrams<'b>(&self, buffer: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let taken = &buffer[..self.octets.min(buffer.len())];
        // Split off separately, because it may be empty.
        let (first, rest) = taken.split_at(self.segment.min(taken.len()));
        std::iter::once(first).chain(rest.chunks(self.segment.max(1)))
    }
}

#[cfg(test)]
mod tests;
