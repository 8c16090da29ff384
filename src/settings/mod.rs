//! The settings of a server, after they were checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::chaos::Chaos;
use crate::limits;
pub use crate::net::{Mtu, ParsePortRangeError, PortRange};
pub use crate::policy::{Access, AccessRule, OnOutage, OverLimit, RefusedOption};
use crate::store::DirectoryOptions;
pub use crate::transfer::{Offer, OnAbort, Rollover, Timeouts};

/// The port that the server listens on by default: unprivileged, and the same as py3tftp's.
pub const PORT_DEFAULT: u16 = 9069;

/// Everything that a server needs to start. The default is that of `stagecoach` without arguments.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The addresses and the port to listen on.
    pub listen: Listen,
    /// Listen also on addresses that no interface has yet: requests arrive once one has them.
    /// Otherwise such an address is a start error.
    pub wait_for_address: bool,
    /// The directory to serve.
    pub root: PathBuf,
    /// The rules for uploads and links in that directory.
    pub directory: DirectoryOptions,
    /// Refuse all uploads.
    pub read_only: bool,
    /// Follow the RFCs to the letter: ERROR 8 for option values out of range, ERROR 4 for unknown
    /// modes and for packets that belong to no transfer.
    pub strict: bool,
    /// Answer reads that are sent to a broadcast address, if the file exists.
    pub answer_broadcast: bool,
    /// What to do with an upload whose client stopped.
    pub on_abort: OnAbort,
    /// Limits of the options that are granted.
    pub offer: Offer,
    /// A further limit on the block size.
    pub mtu: Mtu,
    /// When packets are repeated, and when a peer is given up.
    pub timeouts: Timeouts,
    /// Serve transfers from the port that requests are sent to.
    pub single_port: bool,
    /// Ports for transfers; `None` for any.
    pub ports: Option<PortRange>,
    /// Which clients may read and write.
    pub access: Access,
    /// Options that are not granted, to some clients or to all.
    pub refused_options: Vec<RefusedOption>,
    /// Concurrent transfers.
    pub transfers_max: usize,
    /// Concurrent transfers of one client, by its address; `None` for no limit per client.
    pub transfers_per_client_max: Option<usize>,
    /// What requests beyond these limits get.
    pub over_limit: OverLimit,
    /// What a read gets when the store can't say whether the file exists.
    pub on_outage: OnOutage,
    /// Threads that share the transfers.
    pub arbiters: usize,
    /// How long live transfers may take to end after a signal; zero ends them at once.
    pub drain_timeout: Duration,
    /// Faults that tests plan: none without the feature `chaos`.
    pub(crate) chaos: Chaos,
}

impl Default for Settings {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: Listen::default(),
            wait_for_address: false,
            root: PathBuf::from("."),
            directory: DirectoryOptions::default(),
            read_only: false,
            strict: false,
            answer_broadcast: false,
            on_abort: OnAbort::default(),
            offer: Offer::default(),
            mtu: Mtu::default(),
            timeouts: Timeouts::default(),
            single_port: false,
            ports: None,
            access: Access::default(),
            refused_options: Vec::new(),
            transfers_max: limits::TRANSFERS_MAX_DEFAULT,
            transfers_per_client_max: None,
            over_limit: OverLimit::default(),
            on_outage: OnOutage::default(),
            // One processor is left for the listeners, the log, the thread pool and the kernel,
            // which would otherwise share one with transfers.
            arbiters: processors.saturating_sub(1).max(1),
            drain_timeout: limits::DRAIN_TIMEOUT_DEFAULT,
            chaos: Default::default(),
        }
    }
}

#[cfg(feature = "chaos")]
impl Settings {
    /// Plans faults. This needs the Cargo feature `chaos`, which is off by default.
    pub fn set_chaos(&mut self, chaos: Chaos) {
        self.chaos = chaos;
    }
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// Addresses, each with a socket of its own. If empty: every address of the machine, over IPv4
    /// and, if available, IPv6.
    pub hosts: Vec<SocketAddr>,
    /// The port if [`hosts`](Self::hosts) is empty; 0 lets the kernel choose.
    pub port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { hosts: Vec::new(), port: PORT_DEFAULT }
    }
}

impl Listen {
    /// The addresses to bind, and whether each is required. By default, and for a single `::`,
    /// these are both families. Only the default also allows a machine without IPv6.
    #[must_use]
    pub(crate) fn addresses(&self) -> Vec<(SocketAddr, Required)> {
        let any_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.port);
        let any_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), self.port);
        if self.hosts.is_empty() {
            return vec![(any_v4, Required::Yes), (any_v6, Required::IfPossible)];
        }
        let mut addresses: Vec<_> = self.hosts.iter().map(|&host| (host, Required::Yes)).collect();
        if let [(only, _)] = addresses[..]
            && only.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        {
            addresses.push((SocketAddr::new(any_v4.ip(), only.port()), Required::Yes));
        }
        addresses
    }
}

/// Whether the server needs an address to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    /// The address must be bound.
    Yes,
    /// The address is skipped if the machine doesn't have it.
    IfPossible,
}
