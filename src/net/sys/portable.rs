//! Portable system calls. Replies leave from the address that the listening socket is bound to.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Arrival, receive, send_slices};
use crate::limits::{REQUEST_RECEIVE_BUFFER_OCTETS, TRANSFER_SEND_BUFFER_OCTETS};
use crate::net::{Arrived, SocketEvent};

/// There is no such set: each socket is waited for on its own.
#[derive(Debug)]
pub(in crate::net) enum Epoll {}

impl Epoll {
    pub(in crate::net) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::net) fn add(&self, _: &UdpSocket, _: u64) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::net) fn remove(&self, _: &UdpSocket) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::net) fn take_ready(&self, _: &mut Vec<SocketEvent>) -> io::Result<()> {
        match *self {}
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        match *self {}
    }
}

/// Fragmentation is up to the system.
pub(in crate::net) fn open_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(in crate::net) fn prepare_transfer_socket(_: &Socket, _: &SocketAddr) -> io::Result<()> {
    Ok(())
}

pub(in crate::net) fn allow_early_bind(_: &Socket, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(in crate::net) fn prepare_request_socket(socket: &UdpSocket, _: &SocketAddr) -> io::Result<()> {
    // A smaller buffer is acceptable.
    let _ = SockRef::from(socket).set_recv_buffer_size(REQUEST_RECEIVE_BUFFER_OCTETS);
    Ok(())
}

pub(in crate::net) fn share_request_socket(socket: &UdpSocket, _: &SocketAddr) -> io::Result<()> {
    let _ = SockRef::from(socket).set_send_buffer_size(TRANSFER_SEND_BUFFER_OCTETS);
    Ok(())
}

/// The source address is up to the system.
pub(in crate::net) fn send_from(
    socket: &UdpSocket,
    _: SocketAddr,
    to: &SocketAddr,
    slices: &[IoSlice<'_>],
    segment: Option<u16>,
) -> nix::Result<()> {
    if segment.is_some() { Err(Errno::EOPNOTSUPP) } else { send_slices(socket, to, slices) }
}

pub(in crate::net) fn send_segments(
    _: &UdpSocket,
    _: &SocketAddr,
    _: &[IoSlice<'_>],
    _: u16,
) -> nix::Result<()> {
    Err(Errno::EOPNOTSUPP)
}

pub(in crate::net) fn expect_runs(_: &UdpSocket) -> bool {
    false
}

pub(in crate::net) fn expect_no_runs(_: &UdpSocket) -> bool {
    true
}

pub(in crate::net) fn receive_run(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<Arrived> {
    let (octets, from) = receive(socket, buffer)?;
    Ok(Arrived::one(octets, from))
}

pub(in crate::net) fn take_unreachable(_: &UdpSocket) -> Option<SocketAddr> {
    None
}

pub(in crate::net) fn receive_request(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<Arrival> {
    let (octets, from) = receive(socket, buffer)?;
    Ok(Arrival { octets, from, to: None, to_broadcast: false })
}
