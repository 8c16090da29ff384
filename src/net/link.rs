//! The contract between a session and whatever carries its datagrams.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

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
    /// Where there was an error before, another one alone may not be told of: look for it when the peer has been silent for long.
    ///
    /// # Errors
    /// When the runtime's reactor is gone.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes one datagram without waiting. The length returned is the datagram's own: when larger
    /// than `buffer`, its tail was cut off.
    ///
    /// # Errors
    /// `WouldBlock` when there is none. A pending error of an earlier send is cleared and the call tried again.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one packet, or a run of DATA blocks, in as few system calls as the kernel allows. What the socket
    /// buffer has no room for is dropped, as any network may: the retransmission timer heals it.
    ///
    /// # Errors
    /// When the kernel refuses for good (no route, not permitted).
    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()>;

    /// The next peer that the network reported unreachable (ICMP), by the address that our datagram was sent to.
    fn take_error(&mut self) -> Option<SocketAddr>;
}
