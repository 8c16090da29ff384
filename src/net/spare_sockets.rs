//! Sockets of transfers that are over, for transfers to come.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::time::Instant;

use super::udp_link::with_port;
use crate::limits::{SPARE_SOCKET_REST_MAX, SPARE_SOCKET_USES_MAX, SPARE_SOCKETS_MAX, SPARE_SOCKETS_MIN};

/// Sockets that short transfers have left behind. To make a socket, bind and close it is a quarter of what a file of one block costs.
///
/// No client meets a port twice here, whatever comes late: a TID should not soon be used again (RFC 1350 §4), and what makes two transfers one is
/// that both their TIDs are the same. Whoever else still sends to such a port is a stranger there, as he would be at any other. A socket that got
/// something while nobody had it is closed, every one is after a few uses, and all are when nobody wants them for a moment. The one that has rested
/// longest is the next, and none is if there are only a few.
#[derive(Debug, Default)]
pub struct SpareSockets(VecDeque<Resting>);

/// A socket, and who was answered from it.
#[derive(Debug)]
pub struct Spare {
    /// The socket, which is bound.
    pub socket: Arc<UdpSocket>,
    /// Where to.
    pub local: SocketAddr,
    /// Those who have met its port.
    pub met: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Resting {
    spare: Spare,
    since: Instant,
}

impl Spare {
    /// Whether nothing has come to it, and no word of what left it.
    fn is_quiet(&self) -> bool {
        let nothing = self.socket.recv(&mut [0]);
        nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl SpareSockets {
    /// A socket at `local`'s address, whatever its port, that `peer` hasn't met.
    pub fn take(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<Spare> {
        while self.0.len() >= SPARE_SOCKETS_MIN {
            // (A link-local address is one with its interface.)
            let is_there = |spare: &Spare| spare.local == with_port(local, spare.local.port());
            let fits = |spare: &Spare| is_there(spare) && !spare.met.contains(&peer);
            let at = self.0.iter().position(|resting| fits(&resting.spare))?;
            let Resting { spare, .. } = self.0.remove(at)?;
            if spare.is_quiet() {
                return Some(spare);
            }
        }
        None
    }

    /// Keeps a socket, if there is room, and nobody else has it. `true` for the first that is kept: from now on somebody has to
    /// [`close_rested`](Self::close_rested).
    pub fn give_back(&mut self, spare: Spare, now: Instant) -> bool {
        let is_worn = spare.met.len() >= SPARE_SOCKET_USES_MAX;
        if is_worn || Arc::strong_count(&spare.socket) > 1 || self.0.len() >= SPARE_SOCKETS_MAX {
            return false;
        }
        self.0.push_back(Resting { spare, since: now });
        self.0.len() == 1
    }

    /// Closes those that nobody has wanted for a while. `true` if there are others.
    pub fn close_rested(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|resting| now - resting.since >= SPARE_SOCKET_REST_MAX) {
            self.0.pop_front();
        }
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
