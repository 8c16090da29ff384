//! A transfer's connection to its peer through the well-known port, which all transfers share.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedSender;

use super::outlet::Outlet;
use super::{Arrived, Link};
use crate::limits::{INBOX_DATAGRAMS_MAX, TRANSFER_RECEIVE_BUFFER_OCTETS};
use crate::transfer::Transmit;

/// A [`Link`] through a shared socket. The socket's owner receives, and pushes this peer's
/// datagrams into the [`Inbox`].
#[derive(Debug)]
pub struct SharedLink {
    socket: Arc<UdpSocket>,
    inbox: Arc<Inbox>,
    peer: SocketAddr,
    local: SocketAddr,
    /// The source address of datagrams, if the socket has several.
    source: Option<SocketAddr>,
    /// Whether the kernel may be asked to cut a run into datagrams.
    segments: bool,
}

impl SharedLink {
    /// A link to `peer` from `local`, the destination of its request.
    #[must_use]
    pub fn new(socket: Arc<UdpSocket>, inbox: Arc<Inbox>, peer: SocketAddr, local: SocketAddr) -> Self {
        let source = source(&socket, local);
        Self { socket, inbox, peer, local, source, segments: true }
    }
}

impl Link for SharedLink {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn join(&mut self, ready: &UnboundedSender<u64>, token: u64) -> bool {
        let mut arrivals = self.inbox.lock();
        (arrivals.ready, arrivals.is_notified) = (Some((ready.clone(), token)), false);
        if !arrivals.datagrams.is_empty() || arrivals.gone {
            arrivals.notify();
        }
        true
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let mut arrivals = self.inbox.lock();
        arrivals.is_notified = false;
        let datagram = arrivals.datagrams.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        arrivals.octets -= datagram.len();
        let taken = datagram.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&datagram[..taken]);
        Ok(Arrived::one(datagram.len(), self.peer))
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        Outlet { socket: &self.socket, source: self.source, to: &to }.send(transmit, &mut self.segments)
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        std::mem::take(&mut self.inbox.lock().gone).then_some(self.peer)
    }
}

/// Datagrams of one transfer at a shared port, until its session receives them. The capacity is
/// that of a socket; further datagrams are lost in the same way.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Arrivals>);

#[derive(Debug, Default)]
struct Arrivals {
    /// Answers to blocks fit inline.
    datagrams: VecDeque<SmallVec<[u8; 16]>>,
    octets: usize,
    /// The network reported that the peer's port is closed.
    gone: bool,
    /// The queue of ready links that the link has joined, and its token there.
    ready: Option<(UnboundedSender<u64>, u64)>,
    /// Whether the token was sent and nothing has been received since.
    is_notified: bool,
}

impl Inbox {
    /// Adds a datagram. `false` if there is no room for it.
    pub fn push(&self, datagram: &[u8]) -> bool {
        let mut arrivals = self.lock();
        let has_room = arrivals.datagrams.len() < INBOX_DATAGRAMS_MAX
            && arrivals.octets + datagram.len() <= TRANSFER_RECEIVE_BUFFER_OCTETS;
        if has_room {
            arrivals.octets += datagram.len();
            arrivals.datagrams.push_back(SmallVec::from_slice(datagram));
            arrivals.notify();
        }
        has_room
    }

    /// Reports that the peer's port is closed.
    pub fn set_gone(&self) {
        let mut arrivals = self.lock();
        arrivals.gone = true;
        arrivals.notify();
    }

    /// A panic elsewhere leaves the state consistent, because each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrivals {
    fn notify(&mut self) {
        if let Some((ready, token)) = &self.ready
            && !std::mem::replace(&mut self.is_notified, true)
        {
            // Without its receiver, the thread of the session has ended.
            let _ = ready.send(*token);
        }
    }
}

/// Sends a packet through the well-known port, from `local`, the destination of the request.
///
/// # Errors
/// When the kernel refuses permanently.
pub fn send_from_port(
    socket: &UdpSocket,
    local: SocketAddr,
    to: SocketAddr,
    packet: &[u8],
) -> io::Result<()> {
    Outlet { socket, source: source(socket, local), to: &to }.send_packet(packet)
}

/// The source address to pass to the kernel, if the socket has several.
fn source(socket: &UdpSocket, local: SocketAddr) -> Option<SocketAddr> {
    let has_several = socket.local_addr().is_ok_and(|bound| bound.ip().is_unspecified());
    (has_several && !local.ip().is_unspecified()).then_some(local)
}

#[cfg(test)]
mod tests;
