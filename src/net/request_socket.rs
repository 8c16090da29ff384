//! The well-known port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::{Domain, SockRef, Socket};

use super::readiness::Readiness;
use super::sys;

/// A socket that receives requests.
#[derive(Debug)]
pub struct RequestSocket {
    readiness: Readiness,
    local_addr: SocketAddr,
}

/// A datagram that arrived at a [`RequestSocket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The length of the datagram: if larger than the buffer, the tail was cut off.
    pub octets: usize,
    /// The sender.
    pub from: SocketAddr,
    /// The destination address, which is the one to answer from, with the listening port. For a
    /// datagram to many hosts, this is the receiving interface's own address.
    pub to: SocketAddr,
    /// Whether it was sent to a broadcast or multicast address: no answer (RFC 1123 §4.2.3.5).
    pub to_broadcast: bool,
}

impl RequestSocket {
    /// Binds `address` exclusively: a second server on the port must fail to start. An IPv6 socket
    /// takes no IPv4. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A [`BindError`], whose text says what to change.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let socket = Self::open(address)?;
        Self::from_socket(socket).map_err(|source| BindError::Other { address, source })
    }

    /// Binds `address` like [`bind`](Self::bind), for a later [`from_socket`](Self::from_socket),
    /// possibly on another thread, and again after a restart.
    ///
    /// # Errors
    /// A [`BindError`], whose text says what to change.
    pub fn open(address: SocketAddr) -> Result<Arc<UdpSocket>, BindError> {
        Self::open_prepared(address, |_| Ok(()))
    }

    /// Like [`open`](Self::open) for an address that no interface may have yet (`IP_FREEBIND`):
    /// requests arrive once one has it.
    ///
    /// # Errors
    /// As for [`open`](Self::open); only Linux supports this.
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
            // Before a request can arrive: the kernel doesn't report earlier destinations.
            sys::prepare_request_socket(&socket, &address)?;
            SockRef::from(&socket).bind(&address.into())?;
            Ok(Arc::new(socket))
        };
        open().map_err(|error| BindError::new(address, error))
    }

    /// Listens on a bound socket. Must be called inside a tokio runtime, after any other
    /// `RequestSocket` of the same socket and runtime has been dropped.
    ///
    /// # Errors
    /// When the kernel can't report destinations, or the runtime can't register the socket.
    pub fn from_socket(socket: Arc<UdpSocket>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local_addr = socket.local_addr()?;
        sys::prepare_request_socket(&socket, &local_addr)?;
        Ok(Self { readiness: Readiness::new(socket)?, local_addr })
    }

    /// The address of the socket.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The socket itself, for the supervisor that restarts the listener.
    #[must_use]
    pub fn socket(&self) -> Arc<UdpSocket> {
        Arc::clone(self.readiness.socket())
    }

    /// Prepares the socket for transfers too (single-port mode): a larger send buffer, and
    /// [`take_error`](Self::take_error) reports unreachable peers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn share(&self) -> io::Result<()> {
        sys::share_request_socket(self.readiness.socket(), &self.local_addr)
    }

    /// Ready when there may be something to receive; `true` if there may also be an error to
    /// [`take`](Self::take_error). Readiness is consumed: afterwards receive until `WouldBlock`, or
    /// wake the task.
    ///
    /// # Errors
    /// When the runtime's reactor is gone.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // If the socket is not shared, receiving clears errors, and their peers don't matter.
        self.readiness.poll_event(cx)
    }

    /// The next peer that the network reported unreachable, if the socket is [shared](Self::share).
    pub fn take_error(&mut self) -> Option<SocketAddr> {
        sys::take_unreachable(self.readiness.socket()).map(unmapped)
    }

    /// Takes one datagram without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when there is none. Errors of earlier datagrams are not reported here.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let arrival = sys::receive_request(self.readiness.socket(), buffer)?;
        let from = unmapped(arrival.from);
        let mut to = unmapped(arrival.to.unwrap_or(self.local_addr));
        if from.is_ipv4() && to.is_ipv6() {
            // The kernel doesn't report the destination, only that it was an IPv4 address.
            to.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        to.set_port(self.local_addr.port());
        Ok(Received { octets: arrival.octets, from, to, to_broadcast: arrival.to_broadcast })
    }
}

/// An IPv4 address in its own form: sockets for both families, which only other programs make, have
/// it as an IPv6 address (RFC 4291 §2.5.5.2).
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
    /// Another process has the port.
    #[error(
        "port {} of {} is in use, perhaps by another TFTP server: stop that one, or choose another port",
        address.port(), address.ip()
    )]
    InUse {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The port is privileged, and the process is not.
    #[error(
        "port {} of {} needs a privilege: give the program CAP_NET_BIND_SERVICE, let systemd pass the socket, or \
         choose a port above 1023",
        address.port(), address.ip()
    )]
    Privileged {
        /// The address to bind.
        address: SocketAddr,
    },
    /// No interface has the address.
    #[error(
        "{} is not an address of this machine: choose one that `ip address` lists, or {} for all; if it comes later, \
         --wait-for-address starts without it",
        address.ip(), any(*address)
    )]
    NotAvailable {
        /// The address to bind.
        address: SocketAddr,
    },
    /// A link-local address without its interface.
    #[error("the link-local address {} needs its interface: write it as {}%eth0", address.ip(), address.ip())]
    NoInterface {
        /// The address to bind.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("can't listen on {address}: {source}")]
    Other {
        /// The address to bind.
        address: SocketAddr,
        /// The kernel's error.
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
