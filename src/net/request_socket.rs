//! The well-known port, where requests arrive.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::{Domain, SockRef, Socket};

use super::readiness::Readiness;
use super::sys;

/// A socket that requests are sent to.
#[derive(Debug)]
pub struct RequestSocket {
    readiness: Readiness,
    local_addr: SocketAddr,
}

/// A datagram that arrived at a [`RequestSocket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The datagram's own length: when larger than the buffer, its tail was cut off.
    pub octets: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The address that it was sent to, which is the one to answer from, with the listening port. Where it was sent
    /// to many hosts at once, it is the receiving interface's own.
    pub to: SocketAddr,
    /// Whether it was sent to a broadcast or multicast address: no answer then (RFC 1123 §4.2.3.5).
    pub to_broadcast: bool,
}

impl RequestSocket {
    /// Binds `address`, for this process alone: a second server on the port must fail to start. An IPv6 socket
    /// takes no IPv4. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A [`BindError`] that says what would be right.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let socket = Self::open(address)?;
        Self::from_socket(socket).map_err(|source| BindError::Other { address, source })
    }

    /// Binds `address` as [`bind`](Self::bind) does, for [`from_socket`](Self::from_socket) to take up later, perhaps on
    /// another thread, and again after a restart.
    ///
    /// # Errors
    /// A [`BindError`] that says what would be right.
    pub fn open(address: SocketAddr) -> Result<Arc<UdpSocket>, BindError> {
        Self::open_prepared(address, |_| Ok(()))
    }

    /// The same for an address that no interface may have yet (`IP_FREEBIND`): requests arrive once
    /// one has it.
    ///
    /// # Errors
    /// As [`open`](Self::open); other systems than Linux can't do that.
    pub fn open_early(address: SocketAddr) -> Result<Arc<UdpSocket>, BindError> {
        Self::open_prepared(address, |socket| sys::allow_early_bind(socket, address.is_ipv6()))
    }

    fn open_prepared(
        address: SocketAddr,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<Arc<UdpSocket>, BindError> {
        let open = || {
            let socket = sys::open_socket(Domain::for_address(address))?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            prepare(&socket)?;
            let socket = UdpSocket::from(socket);
            // Before the first request can arrive: the kernel tells no address of those that came earlier.
            sys::prepare_request_socket(&socket, &address)?;
            SockRef::from(&socket).bind(&address.into())?;
            Ok(Arc::new(socket))
        };
        open().map_err(|error| BindError::new(address, error))
    }

    /// Listens on a socket that is bound already. Must be called inside a tokio runtime; a `RequestSocket` of the
    /// same socket on the same runtime must have been dropped.
    ///
    /// # Errors
    /// When the kernel can't tell where datagrams were sent to, or the runtime can't register the socket.
    pub fn from_socket(socket: Arc<UdpSocket>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local_addr = socket.local_addr()?;
        sys::prepare_request_socket(&socket, &local_addr)?;
        Ok(Self { readiness: Readiness::new(socket)?, local_addr })
    }

    /// The address that it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The socket itself, to be held by whoever restarts the listener.
    #[must_use]
    pub fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(self.readiness.socket())
    }

    /// Has transfers served from this socket too (single-port mode): windows have room, and of
    /// peers that are gone [`take_error`](Self::take_error) tells.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn share(&self) -> io::Result<()> {
        sys::share_request_socket(self.readiness.socket(), &self.local_addr)
    }

    /// Ready when there may be something to receive; with `true` if there may be an error to [`take`](Self::take_error) as well. Readiness is
    /// consumed: afterwards receive until `WouldBlock`, or wake the task yourself.
    ///
    /// # Errors
    /// When the runtime's reactor is gone.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // (Where the socket is not shared, receiving clears an error, and nobody asks whose it was.)
        self.readiness.poll_event(cx)
    }

    /// The next peer that the network reported unreachable, if the socket is [shared](Self::share).
    pub fn take_error(&mut self) -> Option<SocketAddr> {
        sys::take_unreachable(self.readiness.socket()).map(unmapped)
    }

    /// Takes one datagram without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when there is none. What the network reported about earlier datagrams is no error here.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let arrival = sys::receive_request(self.readiness.socket(), buffer)?;
        let from = unmapped(arrival.from);
        let mut to = unmapped(arrival.to.unwrap_or(self.local_addr));
        if from.is_ipv4() && to.is_ipv6() {
            // The kernel doesn't say where it was sent to, only that it came by IPv4.
            to.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        to.set_port(self.local_addr.port());
        Ok(Received { octets: arrival.octets, from, to, to_broadcast: arrival.to_broadcast })
    }
}

/// An IPv4 address as such: a socket for both families, which only others can have made, has it as an IPv6 address (RFC 4291 §2.5.5.2).
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        }
        _ => address,
    }
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody has the port.
    #[error(
        "port {} of {} is in use, perhaps by another TFTP server: stop that one, or choose another port",
        address.port(), address.ip()
    )]
    InUse {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The port is privileged, and the process is not.
    #[error(
        "port {} of {} needs a privilege: give the program CAP_NET_BIND_SERVICE, let systemd pass the socket, or \
         choose a port above 1023",
        address.port(), address.ip()
    )]
    Privileged {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// No interface has the address.
    #[error(
        "{} is not an address of this machine: choose one that `ip address` lists, or {} for all; if it comes later, \
         --wait-for-address starts without it",
        address.ip(), any(*address)
    )]
    NotAvailable {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// A link-local address without its interface.
    #[error("the link-local address {} needs its interface: write it as {}%eth0", address.ip(), address.ip())]
    NoInterface {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("can't listen on {address}: {source}")]
    Other {
        /// What was to be bound.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied if address.port() < 1024 => Self::Privileged { address },
            io::ErrorKind::AddrNotAvailable => Self::NotAvailable { address },
            io::ErrorKind::InvalidInput if lacks_interface(address) => Self::NoInterface { address },
            _ => Self::Other { address, source },
        }
    }
}

fn lacks_interface(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
}

fn any(address: SocketAddr) -> &'static str {
    if address.is_ipv6() { "::" } else { "0.0.0.0" }
}

#[cfg(test)]
mod tests;
