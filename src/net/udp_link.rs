//! A transfer's own socket. It is not connected, because strangers must get ERROR 5 (RFC 1350 §4).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use socket2::{Domain, SockRef, Socket};

use super::outlet::Outlet;
use super::readiness::Readiness;
use super::{Arrived, Link, PortRange, sys};
use crate::limits::{
    RECEIVED_ALONE_BEFORE_NO_RUNS, TRANSFER_RECEIVE_BUFFER_OCTETS, TRANSFER_SEND_BUFFER_OCTETS,
};
use crate::transfer::{Blocks, Transmit};

/// A [`Link`] over a UDP socket of its own.
///
/// The fields that each packet needs come first and share a cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct UdpLink {
    socket: Arc<UdpSocket>,
    /// Whether an event reported entries in the error queue. The queue is not read without one,
    /// which saves a system call for each packet.
    errors: bool,
    /// Whether the kernel may be asked to cut a run into datagrams (`UDP_SEGMENT`). Cleared once it
    /// refuses because a segment doesn't fit the path's MTU or the device can't do it.
    segments: bool,
    /// Whether the kernel may return several datagrams at once (`UDP_GRO`).
    runs: bool,
    /// Datagrams that arrived singly since the last run.
    alone: u8,
    /// Set once the link is polled on its own.
    readiness: Option<Box<Readiness>>,
    local_addr: SocketAddr,
}

impl UdpLink {
    /// A new socket at the destination address of the request, so that replies come from there (its
    /// port is ignored), on a random port of the kernel's choice or of `ports`.
    ///
    /// # Errors
    /// `AddrInUse` if all ports of the range are in use, or the kernel's error.
    pub fn bind(local: SocketAddr, ports: Option<PortRange>) -> io::Result<Self> {
        let socket = Self::open(local, ports)?;
        Self::widen(&socket);
        Self::from_socket(socket)
    }

    /// A socket for one transfer, without a runtime yet: at the destination address of the request
    /// (its port is ignored), on a random port of the kernel's choice or of `ports`. Its packets
    /// may be fragmented.
    ///
    /// # Errors
    /// `AddrInUse` if all ports of the range are in use, or the kernel's error.
    pub fn open(local: SocketAddr, ports: Option<PortRange>) -> io::Result<Arc<UdpSocket>> {
        Ok(Arc::new(bound(local, ports, |socket| sys::prepare_transfer_socket(socket, &local))?))
    }

    /// Gives a socket buffers for whole windows. Without options, packets of 516 octets fit every
    /// buffer. The kernel grants what its limits allow; a smaller buffer only loses more packets.
    pub fn widen(socket: &UdpSocket) {
        let socket = SockRef::from(socket);
        let _ = socket.set_send_buffer_size(TRANSFER_SEND_BUFFER_OCTETS);
        let _ = socket.set_recv_buffer_size(TRANSFER_RECEIVE_BUFFER_OCTETS);
    }

    /// A link over a socket of [`open`](Self::open), possibly one that another link used before. It
    /// can be polled once that link has been dropped.
    ///
    /// # Errors
    /// When the kernel doesn't know the socket's address.
    pub fn from_socket(socket: Arc<UdpSocket>) -> io::Result<Self> {
        let local_addr = socket.local_addr()?;
        Ok(Self::from_bound(socket, local_addr))
    }

    /// The same for a socket that is known to be bound to `local_addr`.
    #[must_use]
    pub fn from_bound(socket: Arc<UdpSocket>, local_addr: SocketAddr) -> Self {
        Self { socket, errors: false, segments: true, runs: false, alone: 0, readiness: None, local_addr }
    }

    /// The socket itself, for sending from this TID after the session has ended.
    #[must_use]
    pub fn shared_socket(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket)
    }

    /// Stops asking for runs after a while without any: asking costs a twentieth of a receive.
    fn receive_run(&mut self, buffer: &mut [u8]) -> nix::Result<Arrived> {
        let received = sys::receive_run(&self.socket, buffer);
        match &received {
            Ok(arrived) if arrived.octets > arrived.segment => self.alone = 0,
            Ok(_) => self.alone = self.alone.saturating_add(1),
            Err(Errno::EAGAIN) if self.alone >= RECEIVED_ALONE_BEFORE_NO_RUNS => {
                self.runs = !sys::expect_no_runs(&self.socket);
            }
            Err(_) => {}
        }
        received
    }

    fn outlet<'a>(&'a self, to: &'a SocketAddr) -> Outlet<'a> {
        Outlet { socket: &self.socket, source: None, to }
    }

    fn send_blocks(&mut self, to: &SocketAddr, blocks: Blocks<'_>) -> io::Result<()> {
        let mut segments = self.segments;
        let sent = self.outlet(to).send_blocks(blocks, &mut segments);
        self.segments = segments;
        sent
    }
}

impl Link for UdpLink {
    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let readiness = match &mut self.readiness {
            Some(readiness) => readiness,
            none => none.insert(Box::new(Readiness::new(Arc::clone(&self.socket))?)),
        };
        self.errors |= ready!(readiness.poll_event(cx))?;
        Poll::Ready(Ok(()))
    }

    fn socket(&self) -> Option<&UdpSocket> {
        Some(&self.socket)
    }

    fn expect_errors(&mut self) {
        self.errors = true;
    }

    fn expect_runs(&mut self) {
        self.runs = self.runs || sys::expect_runs(&self.socket);
        self.alone = 0;
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        if self.runs {
            return Ok(self.receive_run(buffer)?);
        }
        let (octets, from) = sys::receive(&self.socket, buffer)?;
        Ok(Arrived::one(octets, from))
    }

    fn send(&mut self, to: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        match transmit {
            Transmit::Packet(packet) => self.outlet(&to).send_packet(packet),
            Transmit::Blocks(blocks) => self.send_blocks(&to, *blocks),
        }
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        if !self.errors {
            return None;
        }
        let unreachable = sys::take_unreachable(&self.socket);
        self.errors = unreachable.is_some();
        unreachable
    }
}

/// A socket at the address of `local` (its port is ignored), set up by `prepare`.
pub(super) fn bound(
    local: SocketAddr,
    ports: Option<PortRange>,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<UdpSocket> {
    let socket = sys::open_socket(Domain::for_address(local))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    prepare(&socket)?;
    match ports {
        None => socket.bind(&with_port(local, 0).into())?,
        Some(ports) => bind_within(&socket, local, ports)?,
    }
    Ok(socket.into())
}

fn bind_within(socket: &Socket, local: SocketAddr, ports: PortRange) -> io::Result<()> {
    for port in ports.shuffled() {
        match socket.bind(&with_port(local, port).into()) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            bound => return bound,
        }
    }
    let text = format!("no port of {ports} is free at {}: widen the port range", local.ip());
    Err(io::Error::new(io::ErrorKind::AddrInUse, text))
}

pub(super) fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
mod tests;
