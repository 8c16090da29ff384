//! System calls with Linux's extensions.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use rustix::event::{Timespec, epoll};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use rustix::net::{RecvFlags, recv};
use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Arrival, past_pending, socket_addr};
use crate::limits::{REQUEST_RECEIVE_BUFFER_OCTETS, SOCKETS_PER_TURN, TRANSFER_SEND_BUFFER_OCTETS};
use crate::net::{Arrived, SocketEvent};

pub(in crate::net) fn new_epoll() -> io::Result<OwnedFd> {
    Ok(epoll::create(epoll::CreateFlags::CLOEXEC)?)
}

/// Adds a socket, edge-triggered: it is reported once for everything that has arrived.
pub(in crate::net) fn add_to_epoll(set: &OwnedFd, socket: &UdpSocket, token: u64) -> io::Result<()> {
    let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
    Ok(epoll::add(set, socket, epoll::EventData::new_u64(token), events)?)
}

pub(in crate::net) fn remove_from_epoll(set: &OwnedFd, socket: &UdpSocket) -> io::Result<()> {
    Ok(epoll::delete(set, socket)?)
}

/// The sockets that are ready now, at most [`SOCKETS_PER_TURN`].
pub(in crate::net) fn take_ready(set: &OwnedFd, ready: &mut Vec<SocketEvent>) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); SOCKETS_PER_TURN];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Nothing interrupts a call that does not wait.
    let (events, _) = epoll::wait(set, &mut room[..], Some(&at_once))?;
    ready.extend(events.iter().map(|event| {
        let (data, flags) = (event.data, event.flags);
        SocketEvent { token: data.u64(), error: flags.contains(epoll::EventFlags::ERR) }
    }));
    Ok(())
}

/// Buffer for control messages, aligned for their headers.
#[repr(C, align(8))]
struct ControlBuffer([u8; 128]);

/// A non-blocking datagram socket of one family, whose packets may be fragmented.
pub(in crate::net) fn open_socket(local: &SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(*local), kind, Some(Protocol::UDP))?;
    let_fragment(&socket, local.is_ipv6())?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Enables the error queue.
pub(in crate::net) fn prepare_transfer_socket(socket: &impl AsFd, local: &SocketAddr) -> nix::Result<()> {
    match local {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    }
}

/// Turns "don't fragment" off: blocks larger than the path's MTU are fragmented, and old PROMs that
/// drop packets with that bit receive the smaller ones too.
fn let_fragment(socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
    if !is_ipv6 {
        return Ok(set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?);
    }
    // An inherited socket may take IPv4 too.
    let _ = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT);
    Ok(set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?)
}

/// Lets a socket be bound to an address that no interface has yet.
pub(in crate::net) fn allow_early_bind(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 { socket.set_freebind_v6(true) } else { socket.set_freebind_v4(true) }
}

/// Enables the report of destination addresses, and asks for a large receive buffer.
pub(in crate::net) fn prepare_request_socket(socket: &impl AsFd, local: &SocketAddr) -> io::Result<()> {
    let_fragment(socket, local.is_ipv6())?;
    if local.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        // An inherited socket may take IPv4 too: only this reports its broadcast addresses.
        let _ = setsockopt(socket, sockopt::Ipv4PacketInfo, &true);
    } else {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    // Above net.core.rmem_max only with CAP_NET_ADMIN; a smaller buffer is acceptable.
    if setsockopt(socket, sockopt::RcvBufForce, &REQUEST_RECEIVE_BUFFER_OCTETS).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &REQUEST_RECEIVE_BUFFER_OCTETS);
    }
    Ok(())
}

/// Prepares a request socket for transfers too: the error queue, and a send buffer for windows.
pub(in crate::net) fn share_request_socket(socket: &UdpSocket, local: &SocketAddr) -> io::Result<()> {
    prepare_transfer_socket(socket, local)?;
    if setsockopt(socket, sockopt::SndBufForce, &TRANSFER_SEND_BUFFER_OCTETS).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &TRANSFER_SEND_BUFFER_OCTETS);
    }
    Ok(())
}

/// Sends `slices` as one datagram, or as datagrams of `segment` octets and one with the rest. They
/// leave from `source`, if given, which is one of the socket's addresses.
pub(in crate::net) fn send_slices(
    socket: &UdpSocket,
    source: Option<SocketAddr>,
    to: &SocketAddr,
    slices: &[IoSlice<'_>],
    segment: Option<u16>,
) -> nix::Result<()> {
    let to = SockaddrStorage::from(*to);
    let (mut v4, mut v6) = (None, None);
    match source {
        Some(SocketAddr::V4(source)) => {
            let ipi_spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(source.ip().octets()) };
            v4 = Some(libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst,
                ipi_addr: libc::in_addr { s_addr: 0 },
            });
        }
        Some(SocketAddr::V6(source)) => {
            let ipi6_addr = libc::in6_addr { s6_addr: source.ip().octets() };
            v6 = Some(libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: source.scope_id() });
        }
        None => {}
    }
    let source = v4.as_ref().map(ControlMessage::Ipv4PacketInfo);
    let source = source.or_else(|| v6.as_ref().map(ControlMessage::Ipv6PacketInfo));
    let segment = segment.as_ref().map(ControlMessage::UdpGsoSegments);
    let messages: SmallVec<[_; 2]> = source.into_iter().chain(segment).collect();
    sendmsg(socket.as_raw_fd(), slices, &messages, MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop)
}

/// Lets [`receive_run`] take several datagrams at once. `false` before Linux 5.0.
pub(in crate::net) fn expect_runs(socket: &UdpSocket) -> bool {
    setsockopt(socket, sockopt::UdpGroSegment, &true).is_ok()
}

/// Reverts [`expect_runs`] if the socket is empty: only [`receive_run`] can tell whether pending
/// data is several datagrams. `false` if it has to be called once more.
pub(in crate::net) fn expect_no_runs(socket: &UdpSocket) -> bool {
    let set = |runs| setsockopt(socket, sockopt::UdpGroSegment, &runs).is_ok();
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let is_empty = || recv(socket, &mut [0; 1], peek) == Err(rustix::io::Errno::AGAIN);
    // Once it is off, arriving runs are cut before they are queued; anything pending is older.
    set(false) && (is_empty() || !set(true))
}

/// Takes one datagram, or several of one length that arrived together (the last may be shorter).
pub(in crate::net) fn receive_run(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<Arrived> {
    past_pending(|| {
        let (octets, from, found) = receive_message(socket, buffer, MsgFlags::MSG_TRUNC, segment)?;
        Ok(Arrived { octets, segment: found.unwrap_or(octets), from })
    })
}

/// Takes one message of the socket: its length (one more than the buffer if it was cut and the
/// kernel has no length), its address, and the last that `find` finds in the control messages.
fn receive_message<T>(
    socket: &UdpSocket,
    buffer: &mut [u8],
    flags: MsgFlags,
    find: impl Fn(&ControlMessageOwned) -> Option<T>,
) -> nix::Result<(usize, SocketAddr, Option<T>)> {
    let room = buffer.len();
    let mut control = ControlBuffer([0; 128]);
    let mut slices = [IoSliceMut::new(buffer)];
    let (fd, flags) = (socket.as_raw_fd(), flags | MsgFlags::MSG_DONTWAIT);
    let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control.0), flags)?;
    let is_cut = message.flags.contains(MsgFlags::MSG_TRUNC);
    let octets = if is_cut { message.bytes.max(room + 1) } else { message.bytes };
    let from = message.address.as_ref().and_then(socket_addr).ok_or(Errno::EINTR)?;
    let found = message.cmsgs().ok().and_then(|all| all.filter_map(|one| find(&one)).last());
    Ok((octets, from, found))
}

/// The length of each datagram in a run.
fn segment(message: &ControlMessageOwned) -> Option<usize> {
    let ControlMessageOwned::UdpGroSegments(octets) = message else { return None };
    usize::try_from(*octets).ok().filter(|octets| *octets > 0)
}

/// The next destination in the error queue whose host answered that the port is closed.
///
/// "Host unreachable" and the like are skipped: routes come back, ports of transfers don't.
pub(in crate::net) fn take_unreachable(socket: &UdpSocket) -> Option<SocketAddr> {
    loop {
        // The queue also returns the datagram that caused the error; its octets are not needed.
        match receive_message(socket, &mut [0; 1], MsgFlags::MSG_ERRQUEUE, port_unreachable) {
            Ok((_, destination, Some(()))) => return Some(destination),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn port_unreachable(message: &ControlMessageOwned) -> Option<()> {
    let (ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)) = message
    else {
        return None;
    };
    let from_network = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    (from_network && error.ee_errno == libc::ECONNREFUSED as u32).then_some(())
}

/// Takes one datagram and its destination address.
pub(in crate::net) fn receive_request(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<Arrival> {
    // For IPv4 at a socket for both families there are two destinations: first an IPv6 address that
    // maps the other, then the IPv4 address.
    past_pending(|| receive_message(socket, buffer, MsgFlags::MSG_TRUNC, destination))
}

/// The address to answer from, and whether the datagram was sent to many hosts at once.
fn destination(message: &ControlMessageOwned) -> Option<(SocketAddr, bool)> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let [asked, own] = [info.ipi_addr, info.ipi_spec_dst]
                .map(|address| Ipv4Addr::from(address.s_addr.to_ne_bytes()));
            // The kernel has no own address for datagrams that arrived before packet info was
            // enabled (on an inherited socket); only the address in the packet is known.
            let own = if own.is_unspecified() { asked } else { own };
            // The kernel knows all broadcast addresses, and reports the interface's own too.
            let to_broadcast = asked != own || asked.is_broadcast() || asked.is_multicast();
            Some((SocketAddr::new(IpAddr::V4(own), 0), to_broadcast))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let asked = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // A link-local address has no meaning without its interface.
            let scope_id = if asked.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some((SocketAddrV6::new(asked, 0, 0, scope_id).into(), asked.is_multicast()))
        }
        _ => None,
    }
}
