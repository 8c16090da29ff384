//! The system calls, one to a function. All of them return at once.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, sendmsg};

use crate::limits::PENDING_ERRORS_PER_RECEIVE_MAX;

#[cfg(target_os = "linux")]
pub(super) use self::linux::{
    open_socket, prepare_request_socket, prepare_transfer_socket, receive_request, send_segments,
    take_unreachable,
};
#[cfg(not(target_os = "linux"))]
pub(super) use self::portable::{
    open_socket, prepare_request_socket, prepare_transfer_socket, receive_request, send_segments,
    take_unreachable,
};

/// Asks for a datagram's own length, also when the buffer is shorter.
#[cfg(target_os = "linux")]
const RECEIVE: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_TRUNC);
#[cfg(not(target_os = "linux"))]
const RECEIVE: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// A request as the kernel tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) octets: usize,
    pub(super) from: SocketAddr,
    /// The address to answer from; `None` where the kernel doesn't say. Its port means nothing.
    pub(super) to: Option<SocketAddr>,
    pub(super) to_broadcast: bool,
}

/// Sends `slices` as one datagram.
pub(super) fn send(socket: &UdpSocket, to: &SockaddrStorage, slices: &[IoSlice<'_>]) -> nix::Result<()> {
    sendmsg(socket.as_raw_fd(), slices, &[], MsgFlags::MSG_DONTWAIT, Some(to)).map(drop)
}

/// Takes one datagram: its own length (where the kernel tells; else one more than the buffer's) and its sender.
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<(usize, SocketAddr)> {
    past_pending(|| {
        let room = buffer.len();
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, None, RECEIVE)?;
        let from = socket_addr(message.address.as_ref()).ok_or(Errno::EINTR)?;
        Ok((own_length(message.bytes, room, message.flags), from))
    })
}

/// Repeats a receive that was told of an earlier datagram's fate instead: the call that reports it clears it.
fn past_pending<T>(mut receive: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    for _ in 0..PENDING_ERRORS_PER_RECEIVE_MAX {
        match receive() {
            Err(errno) if is_pending(errno) => {}
            received => return received,
        }
    }
    Err(Errno::EAGAIN)
}

/// Whether an errno tells of an earlier datagram's fate (what the kernel makes of an ICMP), or of nothing.
fn is_pending(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EINTR
            | Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETDOWN
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::EMSGSIZE
            | Errno::EPROTO
            | Errno::EACCES
    ) || is_linux_pending(errno)
}

#[cfg(target_os = "linux")]
fn is_linux_pending(errno: Errno) -> bool {
    errno == Errno::ENONET
}

#[cfg(not(target_os = "linux"))]
fn is_linux_pending(_: Errno) -> bool {
    false
}

fn own_length(octets: usize, room: usize, flags: MsgFlags) -> usize {
    if flags.contains(MsgFlags::MSG_TRUNC) { octets.max(room + 1) } else { octets }
}

/// The flow label is dropped: it is not part of who a peer is.
fn socket_addr(address: Option<&SockaddrStorage>) -> Option<SocketAddr> {
    let address = address?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from(*v4));
    }
    let v6 = SocketAddrV6::from(*address.as_sockaddr_in6()?);
    Some(SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into())
}
