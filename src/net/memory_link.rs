//! A link without a network: for tests in virtual time, and for two peers in one process.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use super::{Arrived, Link};
use crate::limits::MEMORY_LINK_DATAGRAMS;
use crate::transfer::Transmit;

/// One end of an in-memory [`Link`]. After the other end is dropped,
/// [`take_error`](Link::take_error) reports it once something has been sent, as for a closed port.
#[derive(Debug)]
pub struct MemoryLink {
    local_addr: SocketAddr,
    peer_addr: SocketAddr,
    outgoing: mpsc::Sender<Datagram>,
    incoming: mpsc::Receiver<Datagram>,
    /// Taken from `incoming` by a poll, not received yet.
    waiting: Option<Datagram>,
    unreachable: bool,
    /// The task to wake if a send finds that the other end is gone.
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    octets: Vec<u8>,
}

impl MemoryLink {
    /// Two connected ends with the addresses `first` and `second`.
    #[must_use]
    pub fn pair(first: SocketAddr, second: SocketAddr) -> (Self, Self) {
        let (to_second, from_first) = mpsc::channel(MEMORY_LINK_DATAGRAMS);
        let (to_first, from_second) = mpsc::channel(MEMORY_LINK_DATAGRAMS);
        let end = |local_addr, peer_addr, outgoing, incoming| Self {
            local_addr,
            peer_addr,
            outgoing,
            incoming,
            waiting: None,
            unreachable: false,
            waker: None,
        };
        (end(first, second, to_second, from_second), end(second, first, to_first, from_first))
    }

    fn send_packet(&mut self, from: SocketAddr, to: SocketAddr, octets: Vec<u8>) {
        let sent = self.outgoing.try_send(Datagram { from, to, octets });
        if matches!(sent, Err(mpsc::error::TrySendError::Closed(_))) && to == self.peer_addr {
            self.unreachable = true;
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// An end that stands for a client and for every other host, for tests of a server.
#[cfg(feature = "testkit")]
impl MemoryLink {
    /// Sends a packet to the other end as if it came from `from`.
    pub(crate) fn send_from(&mut self, from: SocketAddr, packet: &[u8]) {
        self.send_packet(from, self.peer_addr, packet.to_vec());
    }

    /// Receives what the other end sends to any address. `None` once it is gone and nothing is
    /// left.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SocketAddr, Vec<u8>)>> {
        let datagram = self.incoming.poll_recv(cx);
        datagram.map(|it| it.map(|Datagram { to, octets, .. }| (to, octets)))
    }

    /// Whether the other end is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.outgoing.is_closed()
    }
}

impl Link for MemoryLink {
    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting.is_none() && !self.unreachable {
            match self.incoming.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => {
                    self.waiting = Some(datagram).filter(|it| it.to == self.local_addr);
                }
                // A dropped end is only reported after a send.
                Poll::Ready(None) | Poll::Pending => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let mut next = || self.waiting.take().or_else(|| self.incoming.try_recv().ok());
        let own = std::iter::from_fn(&mut next).find(|it| it.to == self.local_addr);
        let Datagram { from, octets: packet, .. } = own.ok_or(io::ErrorKind::WouldBlock)?;
        let octets = packet.len().min(buffer.len());
        buffer[..octets].copy_from_slice(&packet[..octets]);
        Ok(Arrived::one(packet.len(), from))
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        match transmit {
            Transmit::Packet(packet) => self.send_packet(self.local_addr, to, packet.to_vec()),
            Transmit::Blocks(blocks) => {
                for block in *blocks {
                    let mut packet = Vec::with_capacity(block.packet_octets());
                    packet.extend_from_slice(&block.header);
                    block.payload().for_each(|piece| packet.extend_from_slice(piece));
                    self.send_packet(self.local_addr, to, packet);
                }
            }
        }
        Ok(())
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        std::mem::take(&mut self.unreachable).then_some(self.peer_addr)
    }
}

#[cfg(test)]
mod tests;
