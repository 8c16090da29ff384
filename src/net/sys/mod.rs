//! The system calls, one for each function. None of them waits.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

use std::io::IoSlice;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendmsg};
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use crate::limits::PENDING_ERRORS_PER_RECEIVE_MAX;

#[cfg(target_os = "linux")]
pub(super) use self::linux::{
    Epoll, allow_early_bind, expect_no_runs, expect_runs, open_socket, prepare_request_socket,
    prepare_transfer_socket, receive_request, receive_run, send_from, send_segments, share_request_socket,
    take_unreachable,
};
#[cfg(not(target_os = "linux"))]
pub(super) use self::portable::{
    Epoll, allow_early_bind, expect_no_runs, expect_runs, open_socket, prepare_request_socket,
    prepare_transfer_socket, receive_request, receive_run, send_from, send_segments, share_request_socket,
    take_unreachable,
};

/// Asks for the full length of datagrams that are longer than the buffer.
#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::TRUNC);
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// A request as the kernel reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) octets: usize,
    pub(super) from: SocketAddr,
    /// The address to answer from; `None` if the kernel doesn't report it. The port has no meaning.
    pub(super) to: Option<SocketAddr>,
    pub(super) to_broadcast: bool,
}

pub(super) fn send(socket: &UdpSocket, to: &SocketAddr, packet: &[u8]) -> nix::Result<()> {
    sendto(socket, packet, SendFlags::DONTWAIT, to).map(drop).map_err(errno)
}

/// Sends `slices` as one datagram like [`send`]. A short datagram is cheaper to copy.
pub(super) fn send_slices(socket: &UdpSocket, to: &SocketAddr, slices: &[IoSlice<'_>]) -> nix::Result<()> {
    let to = SockaddrStorage::from(*to);
    sendmsg(socket.as_raw_fd(), slices, &[], MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop)
}

/// Takes one datagram: its length and its sender. If the kernel doesn't report the length of a
/// longer datagram, the length is that of the buffer.
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<(usize, SocketAddr)> {
    past_pending(|| {
        let (_, octets, from) = recvfrom(socket, &mut *buffer, RECEIVE).map_err(errno)?;
        let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(Errno::EINTR)?;
        Ok((octets, without_label(from)))
    })
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Repeats a receive that returned an earlier datagram's error; the report clears the error.
fn past_pending<T>(mut receive: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    for _ in 0..PENDING_ERRORS_PER_RECEIVE_MAX {
        match receive() {
            Err(errno) if is_pending(errno) => {}
            received => return received,
        }
    }
    Err(Errno::EAGAIN)
}

/// Whether an errno belongs to an earlier datagram (from an ICMP) or is an interruption.
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

/// The flow label is not part of a peer's identity.
fn without_label(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.flowinfo() != 0 => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        _ => address,
    }
}
