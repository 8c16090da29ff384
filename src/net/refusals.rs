//! Sockets that requests are refused from.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::Socket;

use super::outlet::lost_is_fine;
use super::udp_link::{bound, with_port};
use super::{PortRange, sys};
use crate::limits::{REFUSAL_ADDRESSES_MAX, REFUSAL_SOCKETS, REFUSALS_PER_SOCKET};

/// Sends the ERRORs that refuse requests, from ports other than the one that requests are sent to (RFC 1350 §4).
///
/// A refusal has no answer: what arrives at its port is read by nobody. So one socket does for the refusals of many clients.
/// Sockets are made when they are wanted, a few for each local address, and each gives way to one with another port in time.
#[derive(Debug)]
pub struct Refusals {
    /// Where transfers may use only these, a refusal borrows one for a moment and keeps none from them.
    ports: Option<PortRange>,
    /// The address that was new last is the last.
    desks: Vec<Desk>,
}

/// The sockets at one address.
#[derive(Debug)]
struct Desk {
    /// Its port means nothing.
    address: SocketAddr,
    sockets: [Option<Kept>; REFUSAL_SOCKETS],
    /// Which is next.
    turn: usize,
}

#[derive(Debug)]
struct Kept {
    socket: UdpSocket,
    local: SocketAddr,
    sent: u32,
}

impl Refusals {
    /// No sockets yet. Of `ports`, if there are any, none is kept.
    #[must_use]
    pub fn new(ports: Option<PortRange>) -> Self {
        Self { ports, desks: Vec::new() }
    }

    /// Sends `packet` from `from`'s address, whatever its port. Returns that address with the port it was sent from, which is not the
    /// one of the refusal before.
    ///
    /// # Errors
    /// `AddrInUse` when every port of the range is taken; else what the kernel says. A packet that is lost on the way is no error.
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
        // Worn out, or its address has left the machine, and perhaps come back since. The old one is closed after the new one has its port.
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
        let socket = bound(address, ports, starve)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, sent: 0 })
    }

    fn send(&mut self, to: SocketAddr, packet: &[u8]) -> io::Result<SocketAddr> {
        self.sent += 1;
        lost_is_fine(sys::send(&self.socket, &to, packet))?;
        Ok(self.local)
    }
}

/// The kernel keeps as little as it can of what nobody will read.
fn starve(socket: &Socket) -> io::Result<()> {
    let _ = socket.set_recv_buffer_size(1);
    Ok(())
}

#[cfg(test)]
mod tests;
