//! Sockets for refusals.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::SockRef;

use super::outlet::lost_is_fine;
use super::udp_link::{bound, with_port};
use super::{PortRange, sys};
use crate::limits::{REFUSAL_ADDRESSES_MAX, REFUSAL_SOCKETS, REFUSALS_PER_SOCKET};

/// Sends the ERRORs that refuse requests, from other ports than the port of the requests (RFC 1350
/// §4).
///
/// A refusal has no answer, so one socket, which is never read, serves the refusals of many
/// clients. A few are opened for each local address, and each is replaced by one with another port
/// in time.
#[derive(Debug)]
pub struct Refusals {
    /// With a port range, a refusal only borrows a port, so that transfers can have all of them.
    ports: Option<PortRange>,
    /// The least recently used first.
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    socket: UdpSocket,
    local: SocketAddr,
    sent: u32,
}

impl Refusals {
    /// Starts without sockets. Ports of `ports`, if given, are never kept.
    #[must_use]
    pub fn new(ports: Option<PortRange>) -> Self {
        Self { ports, kept: VecDeque::new() }
    }

    /// Sends `packet` from the address of `from`; its port is ignored. Returns that address with
    /// the port that was used, which differs from that of the refusal before.
    ///
    /// # Errors
    /// `AddrInUse` if all ports of the range are in use, or the kernel's error. Lost packets are
    /// none.
    pub fn send(&mut self, to: SocketAddr, from: SocketAddr, packet: &[u8]) -> io::Result<SocketAddr> {
        let mut oldest = self.take_oldest(from);
        if let Some(kept) = oldest.as_mut().filter(|kept| kept.sent < REFUSALS_PER_SOCKET)
            && let Ok(local) = kept.send(to, packet)
        {
            self.kept.extend(oldest);
            return Ok(local);
        }
        // The oldest is used up, or its address left the machine and may have come back. It is
        // closed after the new one has its port.
        let mut fresh = Kept::open(from, self.ports)?;
        let local = fresh.send(to, packet)?;
        if self.ports.is_none() {
            if self.kept.len() == REFUSAL_ADDRESSES_MAX * REFUSAL_SOCKETS {
                self.kept.pop_front();
            }
            self.kept.push_back(fresh);
        }
        Ok(local)
    }

    /// The least recently used socket of an address that has all its sockets.
    fn take_oldest(&mut self, address: SocketAddr) -> Option<Kept> {
        let address = with_port(address, 0);
        let mut places = (0..self.kept.len()).filter(|&at| with_port(self.kept[at].local, 0) == address);
        let oldest = places.next()?;
        let count = 1 + places.count();
        if count < REFUSAL_SOCKETS { None } else { self.kept.remove(oldest) }
    }
}

impl Kept {
    fn open(address: SocketAddr, ports: Option<PortRange>) -> io::Result<Self> {
        let socket = UdpSocket::from(bound(address, ports)?);
        // Minimal, because nothing is ever read.
        let _ = SockRef::from(&socket).set_recv_buffer_size(1);
        let local = socket.local_addr()?;
        Ok(Self { socket, local, sent: 0 })
    }

    fn send(&mut self, to: SocketAddr, packet: &[u8]) -> io::Result<SocketAddr> {
        self.sent += 1;
        lost_is_fine(sys::send(&self.socket, &to, packet))?;
        Ok(self.local)
    }
}

#[cfg(test)]
mod tests;
