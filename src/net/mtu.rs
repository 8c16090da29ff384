//! The largest packet that can be sent.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use super::sys::socket_addr;
use crate::transfer::DATA_HEADER_OCTETS;

/// What bounds a block besides the client's wish. Larger packets are fragmented; some firmware
/// can't reassemble fragments, and some networks drop them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mtu {
    /// No bound.
    #[default]
    Unbounded,
    /// The MTU of the interface that has the transfer's address.
    OfInterface,
    /// The size of an IP packet in octets.
    Octets(u16),
}

impl Mtu {
    /// The largest block that fits one packet from `local`. `None` if there is no bound, or if the
    /// bound isn't known.
    ///
    /// [`OfInterface`](Self::OfInterface) asks the operating system and may block.
    #[must_use]
    pub(crate) fn blksize_max(self, local: SocketAddr) -> Option<u16> {
        let mtu = match self {
            Self::Unbounded => return None,
            Self::OfInterface => interface_mtu(local.ip())?,
            Self::Octets(octets) => octets.into(),
        };
        let ip_header = if local.is_ipv4() { IPV4_HEADER_OCTETS } else { IPV6_HEADER_OCTETS };
        let blksize = mtu.saturating_sub(ip_header + UDP_HEADER_OCTETS + DATA_HEADER_OCTETS);
        Some(u16::try_from(blksize).unwrap_or(u16::MAX))
    }
}

const IPV4_HEADER_OCTETS: usize = 20;
const IPV6_HEADER_OCTETS: usize = 40;
const UDP_HEADER_OCTETS: usize = 8;

/// The MTU of the interface with this address; `None` if the system doesn't report one.
fn interface_mtu(address: IpAddr) -> Option<usize> {
    let ip = |interface: &InterfaceAddress| Some(socket_addr(interface.address.as_ref()?)?.ip());
    let name = getifaddrs().ok()?.find(|interface| ip(interface) == Some(address))?.interface_name;
    let text = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("mtu")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests;
