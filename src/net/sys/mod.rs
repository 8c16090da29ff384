//! The system calls, one for each function. None of them waits.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod system;

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};

use nix::errno::Errno;
use nix::sys::socket::SockaddrStorage;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use crate::limits::PENDING_ERRORS_PER_RECEIVE_MAX;

pub(super) use self::system::{
    add_to_epoll, allow_early_bind, expect_no_runs, expect_runs, new_epoll, open_socket,
    prepare_request_socket, prepare_transfer_socket, receive_request, receive_run, remove_from_epoll,
    send_slices, share_request_socket, take_ready, take_unreachable,
};

/// Asks for the full length of datagrams that are longer than the buffer.
#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::TRUNC);
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// A request's length and sender; if the kernel reports it, the address to answer from (the port
/// has no meaning), and whether the request was sent to many hosts at once.
pub(super) type Arrival = (usize, SocketAddr, Option<(SocketAddr, bool)>);

pub(super) fn send(socket: &UdpSocket, to: &SocketAddr, packet: &[u8]) -> nix::Result<()> {
    sendto(socket, packet, SendFlags::DONTWAIT, to).map(drop).map_err(errno)
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
    match errno {
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
        | Errno::EACCES => true,
        #[cfg(target_os = "linux")]
        Errno::ENONET => true,
        _ => false,
    }
}

/// The address, if it is one of UDP.
pub(super) fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    match address.as_sockaddr_in() {
        Some(v4) => Some(SocketAddrV4::from(*v4).into()),
        None => Some(without_label(SocketAddrV6::from(*address.as_sockaddr_in6()?).into())),
    }
}

/// The flow label is not part of a peer's identity.
fn without_label(mut address: SocketAddr) -> SocketAddr {
    if let SocketAddr::V6(v6) = &mut address {
        v6.set_flowinfo(0);
    }
    address
}
