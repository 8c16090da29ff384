//! The settings of a server, after they were checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;
use crate::net::{Mtu, PortRange};
use crate::policy::{Access, OnOutage, OverLimit, RefusedOption};
use crate::store::DirectoryOptions;
use crate::transfer::{Offer, OnAbort, Timeouts};

/// Port that the server listens on by default: unprivileged, as py3tftp's.
pub const PORT_DEFAULT: u16 = 9069;

/// Everything a server needs to know to start. The default is what `stagecoach` without arguments does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen.
    pub listen: Listen,
    /// Addresses that no interface has yet are listened on all the same: requests arrive once one
    /// has them. Without it the server doesn't start.
    pub wait_for_address: bool,
    /// The directory that is served.
    pub root: PathBuf,
    /// What uploads and links may do there.
    pub directory: DirectoryOptions,
    /// No uploads at all.
    pub read_only: bool,
    /// The RFCs' letter: ERROR 8 for option values out of range, ERROR 4 for unknown modes and for packets that no transfer has.
    pub strict: bool,
    /// Reads that are sent to a broadcast address are answered, where their file is there.
    pub answer_broadcast: bool,
    /// What becomes of an upload whose sender stopped.
    pub on_abort: OnAbort,
    /// What is granted of the options that clients ask for.
    pub offer: Offer,
    /// What bounds blocks beside that.
    pub mtu: Mtu,
    /// When packets are repeated, and when a peer is given up.
    pub timeouts: Timeouts,
    /// Transfers are served from the port that requests are sent to.
    pub single_port: bool,
    /// Ports that transfers use; any, if `None`.
    pub ports: Option<PortRange>,
    /// Who may read and write.
    pub access: Access,
    /// Options that are granted to nobody, or not to all.
    pub refused_options: Vec<RefusedOption>,
    /// Live transfers at once.
    pub transfers_max: usize,
    /// Those of one client, by its address; no bound of its own, if `None`.
    pub transfers_per_client_max: Option<usize>,
    /// What becomes of requests beyond those.
    pub over_limit: OverLimit,
    /// What a read gets when the store can't say whether the file is there.
    pub on_outage: OnOutage,
    /// Threads that transfers are spread over.
    pub arbiters: usize,
    /// Time that live transfers get to end by themselves when a signal ends the server; none if zero.
    pub drain_timeout: Duration,
    /// Faults that tests plan. It needs the feature `chaos`, which is off by default.
    #[cfg(feature = "chaos")]
    pub chaos: crate::chaos::Chaos,
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
            // One is for the listeners, the log, the pool and the kernel's own work, which else take turns with a transfer's thread.
            arbiters: processors.saturating_sub(1).max(1),
            drain_timeout: limits::DRAIN_TIMEOUT_DEFAULT,
            #[cfg(feature = "chaos")]
            chaos: crate::chaos::Chaos::default(),
        }
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Addresses, each with a socket of its own. None: every address of the machine, by IPv4 and, where the machine has it, IPv6.
    pub hosts: Vec<SocketAddr>,
    /// Port for the addresses that are not named in [`hosts`](Self::hosts): 0 lets the kernel choose.
    pub port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { hosts: Vec::new(), port: PORT_DEFAULT }
    }
}

impl Listen {
    /// The addresses to bind, and whether each must succeed: `::` stands for both families, but a machine without IPv6 still
    /// serves IPv4 when nobody asked for IPv6 by name.
    #[must_use]
    pub fn addresses(&self) -> Vec<(SocketAddr, Required)> {
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

/// Whether the server may start without an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// It must be bound.
    Yes,
    /// It is left out where the machine doesn't have it.
    IfPossible,
}
