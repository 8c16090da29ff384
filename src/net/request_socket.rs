//! The well-known port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};

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
    /// takes no IPv4. The socket is for a later [`from_socket`](Self::from_socket), possibly on
    /// another thread, and again after a restart.
    ///
    /// # Errors
    /// A [`BindError`], whose text says what to change.
    pub fn open(address: SocketAddr) -> Result<Arc<UdpSocket>, BindError> {
        Self::bind(address, false)
    }

    /// Like [`open`](Self::open) for an address that no interface may have yet (`IP_FREEBIND`):
    /// requests arrive once one has it.
    ///
    /// # Errors
    /// As for [`open`](Self::open); only Linux supports this.
    pub fn open_early(address: SocketAddr) -> Result<Arc<UdpSocket>, BindError> {
        Self::bind(address, true)
    }

    fn bind(address: SocketAddr, is_early: bool) -> Result<Arc<UdpSocket>, BindError> {
        let open = || {
            let socket = sys::open_socket(&address)?;
            if is_early {
                sys::allow_early_bind(&socket, address.is_ipv6())?;
            }
            // Before a request can arrive: the kernel doesn't report earlier destinations.
            sys::prepare_request_socket(&socket, &address)?;
            socket.bind(&address.into())?;
            Ok(Arc::new(socket.into()))
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

    /// Prepares the socket for transfers too (single-port mode): a larger send buffer, and
    /// [`take_error`](Self::take_error) reports unreachable peers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn share(&self) -> io::Result<()> {
        sys::share_request_socket(self.readiness.socket(), &self.local_addr)
    }

    /// Ready when there may be a datagram to receive; `true` if also an error to
    /// [`take`](Self::take_error). Afterwards receive until `WouldBlock`, or wake the task.
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
        let (octets, from, destination) = sys::receive_request(self.readiness.socket(), buffer)?;
        let (to, to_broadcast) = destination.unwrap_or((self.local_addr, false));
        let (from, mut to) = (unmapped(from), unmapped(to));
        if from.is_ipv4() && to.is_ipv6() {
            // The kernel doesn't report the destination, only that it was an IPv4 address.
            to.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        to.set_port(self.local_addr.port());
        Ok(Received { octets, from, to, to_broadcast })
    }
}

/// An IPv4 address in its own form. Sockets for both families, which only other programs make, have
/// it as an IPv6 address (RFC 4291 §2.5.5.2).
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => (v4, address.port()).into(),
        IpAddr::V6(_) => address,
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
        address.ip(), if address.is_ipv6() { "::" } else { "0.0.0.0" }
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

#[cfg(test)]
mod tests;
