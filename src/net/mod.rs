//! UDP: the sockets at which requests arrive, and one socket for each transfer.
//!
//! The system calls are in `sys`. What only Linux can do (segmented sends, the error queue, the
//! address that a datagram was sent to) has a portable substitute there.

mod link;
mod memory_link;
mod mtu;
mod outlet;
mod port_range;
mod readiness;
mod refusals;
mod request_socket;
mod shared_link;
mod socket_event;
mod socket_set;
mod sys;
mod udp_link;

#[cfg(test)]
mod test_support;

pub use self::link::{Arrived, Link};
pub use self::memory_link::MemoryLink;
pub use self::mtu::Mtu;
pub use self::port_range::{ParsePortRangeError, PortRange};
#[cfg(test)]
pub(crate) use self::readiness::refuse_registrations;
pub use self::refusals::Refusals;
pub use self::request_socket::{BindError, Received, RequestSocket};
pub use self::shared_link::{Inbox, SharedLink, send_from_port};
pub use self::socket_event::SocketEvent;
pub use self::socket_set::SocketSet;
pub use self::udp_link::UdpLink;
