//! Sockets for refusals.

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
/// A refusal has no answer, and datagrams to its port are never read. So one socket serves the
/// refusals of many clients. Sockets are opened on demand, a few for each local address, and each
/// is replaced by one with another port after some time.
#[derive(Debug)]
pub struct Refusals {
    /// With a port range, a refusal only borrows a port, so that transfers can have all of them.
    ports: Option<PortRange>,
    /// The newest address is the last.
    desks: Vec<Desk>,
}

/// The sockets of one address.
#[derive(Debug)]
struct Desk {
    /// The port has no meaning.
    address: SocketAddr,
    sockets: [Option<Kept>; REFUSAL_SOCKETS],
    turn: usize,
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
        Self { ports, desks: Vec::new() }
    }

    /// Sends `packet` from the address of `from`; its port is ignored. Returns that address with
    /// the port that was used, which differs from that of the refusal before.
    ///
    /// # Errors
    /// `AddrInUse` if all ports of the range are in use, or the kernel's error. Lost packets are
    /// none.
    pub fn send(&mut self, to: SocketAddr, from: SocketAddr, packet: &[u8]) -> io::Result<SocketAddr> {
        if self.ports.is_some() {
            return Kept::open(from, self.ports)?.send(to, packet);
        }
        self.desk(with_port(from, 0)).send(to, packet)
    }

    fn desk(&mut self, address: SocketAddr) -> &mut Desk {
        let known = self.desks.iter().position(|desk| desk.address == address);
        let index = known.unwrap_or_else(|| {
            if self.desks.len() == REFUSAL_ADDRESSES_MAX {
                self.desks.remove(0);
            }
            self.desks.push(Desk { address, sockets: Default::default(), turn: 0 });
            self.desks.len() - 1
        });
        &mut self.desks[index]
    }
}

impl Desk {
    fn send(&mut self, to: SocketAddr, packet: &[u8]) -> io::Result<SocketAddr> {
        self.turn = (self.turn + 1) % REFUSAL_SOCKETS;
        let place = &mut self.sockets[self.turn];
        if let Some(kept) = place.as_mut().filter(|kept| kept.sent < REFUSALS_PER_SOCKET)
            && let Ok(local) = kept.send(to, packet)
        {
            return Ok(local);
        }
        // The socket is used up, or its address left the machine and may have come back. The old
        // one is closed after the new one has its port.
        let sent = Kept::open(self.address, None).and_then(|mut fresh| {
            let local = fresh.send(to, packet)?;
            *place = Some(fresh);
            Ok(local)
        });
        if sent.is_err() {
            *place = None;
        }
        sent
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
