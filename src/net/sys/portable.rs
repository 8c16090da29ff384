//! Portable system calls. Replies leave from the address that the listening socket is bound to.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendmsg};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Arrival, receive};
use crate::limits::{REQUEST_RECEIVE_BUFFER_OCTETS, TRANSFER_SEND_BUFFER_OCTETS};
use crate::net::{Arrived, SocketEvent};

/// There is no such set: each socket is waited for on its own.
pub(in crate::net) fn new_epoll() -> io::Result<OwnedFd> {
    unsupported()
}

pub(in crate::net) fn add_to_epoll(_: &OwnedFd, _: &UdpSocket, _: u64) -> io::Result<()> {
    unsupported()
}

pub(in crate::net) fn remove_from_epoll(_: &OwnedFd, _: &UdpSocket) -> io::Result<()> {
    unsupported()
}

pub(in crate::net) fn take_ready(_: &OwnedFd, _: &mut Vec<SocketEvent>) -> io::Result<()> {
    unsupported()
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fragmentation is up to the system.
pub(in crate::net) fn open_socket(local: &SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(*local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

pub(in crate::net) fn prepare_transfer_socket(_: &Socket, _: &SocketAddr) -> nix::Result<()> {
    Ok(())
}

pub(in crate::net) fn allow_early_bind(_: &Socket, _: bool) -> io::Result<()> {
    unsupported()
}

pub(in crate::net) fn prepare_request_socket(socket: &impl AsFd, _: &SocketAddr) -> io::Result<()> {
    // A smaller buffer is acceptable.
    let _ = SockRef::from(socket).set_recv_buffer_size(REQUEST_RECEIVE_BUFFER_OCTETS);
    Ok(())
}

pub(in crate::net) fn share_request_socket(socket: &UdpSocket, _: &SocketAddr) -> io::Result<()> {
    let _ = SockRef::from(socket).set_send_buffer_size(TRANSFER_SEND_BUFFER_OCTETS);
    Ok(())
}

/// The source address is up to the system.
pub(in crate::net) fn send_slices(
    socket: &UdpSocket,
    _: Option<SocketAddr>,
    to: &SocketAddr,
    slices: &[IoSlice<'_>],
    segment: Option<u16>,
) -> nix::Result<()> {
    if segment.is_some() {
        return Err(Errno::EOPNOTSUPP);
    }
    let to = SockaddrStorage::from(*to);
    sendmsg(socket.as_raw_fd(), slices, &[], MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop)
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
    Ok((octets, from, None))
}
