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
    outgoing: mpsc::Sender<Vec<u8>>,
    incoming: mpsc::Receiver<Vec<u8>>,
    /// Taken from `incoming` by a poll, not received yet.
    waiting: Option<Vec<u8>>,
    unreachable: bool,
    /// The task to wake if a send finds that the other end is gone.
    waker: Option<Waker>,
}

impl MemoryLink {
    /// Two connected ends with the addresses `first` and `second`.
    #[must_use]
    pub fn pair(first: SocketAddr, second: SocketAddr) -> (Self, Self) {
        let (to_second, from_first) = mpsc::channel(MEMORY_LINK_DATAGRAMS);
        let (to_first, from_second) = mpsc::channel(MEMORY_LINK_DATAGRAMS);
        (Self::end(first, second, to_second, from_second), Self::end(second, first, to_first, from_first))
    }

    fn end(
        local_addr: SocketAddr,
        peer_addr: SocketAddr,
        outgoing: mpsc::Sender<Vec<u8>>,
        incoming: mpsc::Receiver<Vec<u8>>,
    ) -> Self {
        Self { local_addr, peer_addr, outgoing, incoming, waiting: None, unreachable: false, waker: None }
    }

    fn send_packet(&mut self, packet: Vec<u8>) {
        if let Err(mpsc::error::TrySendError::Closed(_)) = self.outgoing.try_send(packet) {
            self.unreachable = true;
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Link for MemoryLink {
    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() && !self.unreachable {
            match self.incoming.poll_recv(cx) {
                Poll::Ready(Some(packet)) => self.waiting = Some(packet),
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
        let taken = self.waiting.take().or_else(|| self.incoming.try_recv().ok());
        let packet = taken.ok_or(io::ErrorKind::WouldBlock)?;
        let octets = packet.len().min(buffer.len());
        buffer[..octets].copy_from_slice(&packet[..octets]);
        Ok(Arrived::one(packet.len(), self.peer_addr))
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        if to != self.peer_addr {
            return Ok(());
        }
        match transmit {
            Transmit::Packet(packet) => self.send_packet(packet.to_vec()),
            Transmit::Blocks(blocks) => {
                for block in *blocks {
                    let mut packet = block.header.to_vec();
                    block.payload().for_each(|piece| packet.extend_from_slice(piece));
                    self.send_packet(packet);
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
