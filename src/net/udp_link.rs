//! A transfer's own socket. It is not connected, because strangers must get ERROR 5 (RFC 1350 §4).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use socket2::{SockRef, Socket};

use super::outlet::Outlet;
use super::readiness::Readiness;
use super::{Arrived, Link, PortRange, sys};
use crate::limits::{
    RECEIVED_ALONE_BEFORE_NO_RUNS, TRANSFER_RECEIVE_BUFFER_OCTETS, TRANSFER_SEND_BUFFER_OCTETS,
};
use crate::transfer::Transmit;

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
    /// Whether the kernel may cut a run into datagrams (`UDP_SEGMENT`): it has not refused yet.
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
    /// A link over `socket`, which is bound to `local_addr`. Another link may have used the socket
    /// before; this one can be polled once that link has been dropped.
    #[must_use]
    pub fn new(socket: Arc<UdpSocket>, local_addr: SocketAddr) -> Self {
        Self { socket, errors: false, segments: true, runs: false, alone: 0, readiness: None, local_addr }
    }

    /// A link over a new socket as of [`open`](Self::open), with buffers for whole windows.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn bind(local: SocketAddr, ports: Option<PortRange>) -> io::Result<Self> {
        let socket = Self::open(local, ports)?;
        Self::widen(&socket);
        let local_addr = socket.local_addr()?;
        Ok(Self::new(socket, local_addr))
    }

    /// A socket for one transfer at the destination address of the request, so that replies come
    /// from there (its port is ignored), on a random port of the kernel's choice or of `ports`. Its
    /// packets may be fragmented.
    ///
    /// # Errors
    /// `AddrInUse` if all ports of the range are in use, or the kernel's error.
    pub fn open(local: SocketAddr, ports: Option<PortRange>) -> io::Result<Arc<UdpSocket>> {
        let socket = bound(local, ports)?;
        sys::prepare_transfer_socket(&socket, &local)?;
        Ok(Arc::new(socket.into()))
    }

    /// Gives a socket buffers for whole windows. Without options, packets of 516 octets fit every
    /// buffer. The kernel grants what its limits allow; a smaller buffer only loses more packets.
    pub fn widen(socket: &UdpSocket) {
        let socket = SockRef::from(socket);
        let _ = socket.set_send_buffer_size(TRANSFER_SEND_BUFFER_OCTETS);
        let _ = socket.set_recv_buffer_size(TRANSFER_RECEIVE_BUFFER_OCTETS);
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
        Outlet { socket: &self.socket, source: None, to: &to }.send(transmit, &mut self.segments)
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

/// A socket at the address of `local` (its port is ignored).
pub(super) fn bound(local: SocketAddr, ports: Option<PortRange>) -> io::Result<Socket> {
    let socket = sys::open_socket(&local)?;
    match ports {
        None => socket.bind(&with_port(local, 0).into())?,
        Some(ports) => bind_within(&socket, local, ports)?,
    }
    Ok(socket)
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
