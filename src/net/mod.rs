//! UDP: the sockets at which requests arrive, and one socket for each transfer. What only Linux can
//! do (segmented sends, the error queue, the address that a datagram was sent to) has a portable
//! substitute in `sys`.

mod link;
mod memory_link;
mod mtu;
mod outlet;
mod port_range;
mod readiness;
mod refusals;
mod request_socket;
mod shared_link;
mod socket_set;
mod sys;
mod udp_link;

#[cfg(test)]
mod test_support;

pub use self::link::{Arrived, Link};
pub use self::memory_link::MemoryLink;
pub use self::mtu::Mtu;
pub use self::port_range::{ParsePortRangeError, PortRange};
pub use self::refusals::Refusals;
pub use self::request_socket::{BindError, Received, RequestSocket};
pub use self::shared_link::{Inbox, SharedLink, send_from_port};
pub use self::socket_set::{SocketEvent, SocketSet};
#[cfg(test)]
pub(crate) use self::test_support::refuse_registrations;
pub use self::udp_link::UdpLink;
