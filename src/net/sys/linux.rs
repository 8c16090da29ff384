//! System calls with Linux's extensions.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

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

use super::{Arrival, past_pending, without_label};
use crate::limits::{REQUEST_RECEIVE_BUFFER_OCTETS, SOCKETS_PER_TURN, TRANSFER_SEND_BUFFER_OCTETS};
use crate::net::{Arrived, SocketEvent};

/// An edge-triggered set of sockets: each is reported once for everything that has arrived.
#[derive(Debug)]
pub(in crate::net) struct Epoll(OwnedFd);

impl Epoll {
    pub(in crate::net) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    pub(in crate::net) fn add(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(&self.0, socket, epoll::EventData::new_u64(token), events)?)
    }

    pub(in crate::net) fn remove(&self, socket: &UdpSocket) -> io::Result<()> {
        Ok(epoll::delete(&self.0, socket)?)
    }

    /// The sockets that are ready now, at most [`SOCKETS_PER_TURN`].
    pub(in crate::net) fn take_ready(&self, ready: &mut Vec<SocketEvent>) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); SOCKETS_PER_TURN];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (events, _) = epoll::wait(&self.0, &mut room[..], Some(&at_once))?;
        ready.extend(events.iter().map(|event| {
            let (data, flags) = (event.data, event.flags);
            SocketEvent { token: data.u64(), error: flags.contains(epoll::EventFlags::ERR) }
        }));
        Ok(())
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Buffer for control messages, aligned for their headers.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
struct ControlBuffer([u8; 128]);

impl ControlBuffer {
    const fn new() -> Self {
        Self([0; 128])
    }
}

/// A non-blocking datagram socket whose packets may be fragmented.
pub(in crate::net) fn open_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let_fragment(&socket, domain == Domain::IPV6)?;
    Ok(socket)
}

/// Enables the error queue.
pub(in crate::net) fn prepare_transfer_socket(socket: &impl AsFd, local: &SocketAddr) -> io::Result<()> {
    if local.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    }
    Ok(())
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
pub(in crate::net) fn prepare_request_socket(socket: &UdpSocket, local: &SocketAddr) -> io::Result<()> {
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

/// Sends `slices` from `source`, one of the socket's addresses: as one datagram, or as datagrams of
/// `segment` octets and one with the rest.
pub(in crate::net) fn send_from(
    socket: &UdpSocket,
    source: SocketAddr,
    to: &SocketAddr,
    slices: &[IoSlice<'_>],
    segment: Option<u16>,
) -> nix::Result<()> {
    let to = SockaddrStorage::from(*to);
    let (v4, v6) = (source_v4(source), source_v6(source));
    let mut messages = SmallVec::<[ControlMessage<'_>; 2]>::new();
    match (&v4, &v6) {
        (Some(v4), _) => messages.push(ControlMessage::Ipv4PacketInfo(v4)),
        (_, Some(v6)) => messages.push(ControlMessage::Ipv6PacketInfo(v6)),
        _ => {}
    }
    if let Some(segment) = &segment {
        messages.push(ControlMessage::UdpGsoSegments(segment));
    }
    sendmsg(socket.as_raw_fd(), slices, &messages, MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop)
}

fn source_v4(source: SocketAddr) -> Option<libc::in_pktinfo> {
    let SocketAddr::V4(v4) = source else { return None };
    let address = libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) };
    Some(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: libc::in_addr { s_addr: 0 } })
}

fn source_v6(source: SocketAddr) -> Option<libc::in6_pktinfo> {
    let SocketAddr::V6(v6) = source else { return None };
    Some(libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
        ipi6_ifindex: v6.scope_id(),
    })
}

/// Sends `slices` as datagrams of `segment` octets and one with the rest.
pub(in crate::net) fn send_segments(
    socket: &UdpSocket,
    to: &SocketAddr,
    slices: &[IoSlice<'_>],
    segment: u16,
) -> nix::Result<()> {
    let to = SockaddrStorage::from(*to);
    let segments = [ControlMessage::UdpGsoSegments(&segment)];
    sendmsg(socket.as_raw_fd(), slices, &segments, MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop)
}

/// Lets [`receive_run`] take several datagrams at once. `false` before Linux 5.0.
pub(in crate::net) fn expect_runs(socket: &UdpSocket) -> bool {
    setsockopt(socket, sockopt::UdpGroSegment, &true).is_ok()
}

/// Reverts [`expect_runs`] if the socket is empty: only [`receive_run`] can tell whether pending
/// data is several datagrams. `false` if it has to be called once more.
pub(in crate::net) fn expect_no_runs(socket: &UdpSocket) -> bool {
    let set = |runs| setsockopt(socket, sockopt::UdpGroSegment, &runs).is_ok();
    // From here on, arriving runs are cut before they are queued; anything pending is older.
    if !set(false) {
        return false;
    }
    let is_empty =
        recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) == Err(rustix::io::Errno::AGAIN);
    is_empty || !set(true)
}

/// Takes one datagram, or several of one length that arrived together (the last may be shorter).
pub(in crate::net) fn receive_run(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<Arrived> {
    past_pending(|| {
        let room = buffer.len();
        let mut control = ControlBuffer::new();
        let mut slices = [IoSliceMut::new(buffer)];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC);
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control.0), flags)?;
        let octets = own_length(message.bytes, room, message.flags);
        let segment = message.cmsgs().ok().and_then(|mut all| all.find_map(|one| segment(&one)));
        let from = socket_addr(message.address.as_ref()).ok_or(Errno::EINTR)?;
        Ok(Arrived { octets, segment: segment.unwrap_or(octets), from })
    })
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
        let mut control = ControlBuffer::new();
        // The queue also returns the datagram that caused the error; its octets are not needed.
        let mut quoted = [0; 1];
        let mut slices = [IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_raw_fd();
        let message = match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control.0), flags) {
            Ok(message) => message,
            Err(Errno::EINTR) => continue,
            Err(_) => return None,
        };
        let gone = message.cmsgs().is_ok_and(|mut all| all.any(|one| is_port_unreachable(&one)));
        if gone && let Some(destination) = socket_addr(message.address.as_ref()) {
            return Some(destination);
        }
    }
}

fn is_port_unreachable(message: &ControlMessageOwned) -> bool {
    let (ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)) = message
    else {
        return false;
    };
    let from_network = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    from_network && error.ee_errno == libc::ECONNREFUSED as u32
}

/// Takes one datagram and its destination address.
pub(in crate::net) fn receive_request(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<Arrival> {
    past_pending(|| {
        let room = buffer.len();
        let mut control = ControlBuffer::new();
        let mut slices = [IoSliceMut::new(buffer)];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC);
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control.0), flags)?;
        // For IPv4 at a socket for both families there are two: first an IPv6 address that maps the
        // other, then the IPv4 address.
        let destination = message.cmsgs().ok().and_then(|all| all.filter_map(|one| destination(&one)).last());
        Ok(Arrival {
            octets: own_length(message.bytes, room, message.flags),
            from: socket_addr(message.address.as_ref()).ok_or(Errno::EINTR)?,
            to: destination.map(|(to, _)| to),
            to_broadcast: destination.is_some_and(|(_, to_broadcast)| to_broadcast),
        })
    })
}

/// The length of the datagram; one more than the buffer if it was cut and the kernel has no length.
fn own_length(octets: usize, room: usize, flags: MsgFlags) -> usize {
    if flags.contains(MsgFlags::MSG_TRUNC) { octets.max(room + 1) } else { octets }
}

fn socket_addr(address: Option<&SockaddrStorage>) -> Option<SocketAddr> {
    let address = address?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from(*v4));
    }
    Some(without_label(SocketAddrV6::from(*address.as_sockaddr_in6()?).into()))
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
