//! Parsers of flag values: text in, a valid type out. clap puts the flag's name before each error.
//! The error says what is wrong with the value and gives a right one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::limits;
use crate::net::Mtu;
use crate::policy::{OnOutage, OverLimit, RefusedOption};
use crate::store::Symlinks;
use crate::transfer::{self, OnAbort, Rollover};
use crate::wire::{Direction, Mode};

/// A number within `range`; `noun` names it in errors ("a port").
pub(super) fn number<T>(text: &str, noun: &str, range: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        format!("{text:?} is not {noun}: write a number from {} to {}", range.start(), range.end())
    })
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    number(text, "a port", &(0..=u16::MAX))
}

pub(super) fn blksize(text: &str) -> Result<u16, String> {
    number(text, "a block size", &(limits::BLKSIZE_MIN..=limits::BLKSIZE_MAX))
}

pub(super) fn mtu(text: &str) -> Result<Mtu, String> {
    match text {
        "auto" => Ok(Mtu::OfInterface),
        _ => number(text, "an MTU", &limits::MTU_OCTETS)
            .map(Mtu::Octets)
            .map_err(|why| format!("{why}, or auto")),
    }
}

pub(super) fn windowsize(text: &str) -> Result<u16, String> {
    number(text, "a window size", &(1..=limits::WINDOWSIZE_MAX))
}

pub(super) fn transfers(text: &str) -> Result<usize, String> {
    number(text, "a number of transfers", &(1..=limits::TRANSFERS_MAX))
}

pub(super) fn load(text: &str) -> Result<usize, String> {
    number(text, "a number of transfers", &(1..=limits::BENCH_TRANSFERS_MAX))
}

/// A network, optionally limited to reads or writes: `10.0.0.0/8`, `2001:db8::/32:write`,
/// `192.0.2.7:read`.
pub(super) fn clients(text: &str) -> Result<Clients, String> {
    let (network, direction) = match text.rsplit_once(':') {
        Some((network, "read")) => (network, Some(Direction::Read)),
        Some((network, "write")) => (network, Some(Direction::Write)),
        _ => (text, None),
    };
    let network = self::network(network)
        .map_err(|why| format!("{why}, followed by :read or :write if the rule is for one of them"))?;
    Ok(Clients { network, direction })
}

/// An option, optionally limited to a network: `blksize`, `blksize=10.0.0.0/8`.
pub(super) fn refused_option(text: &str) -> Result<RefusedOption, String> {
    let (name, network) = match text.split_once('=') {
        Some((name, network)) => (name, Some(self::network(network)?)),
        None => (text, None),
    };
    let is_known = transfer::OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !is_known {
        return Err(format!(
            "{name:?} is not an option that the server grants: write one of {}",
            transfer::OPTIONS.join(", ")
        ));
    }
    Ok(RefusedOption { name: name.to_ascii_lowercase(), network })
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let wrong = || {
        format!(
            "{text:?} is not a network: write an address and the length of its prefix, such as 10.0.0.0/8 or 2001:db8::/32"
        )
    };
    let network: IpNet = network.ok_or_else(wrong)?;
    if network.addr() != network.network() {
        return Err(format!(
            "{text:?} has bits set after its prefix: write {} if you mean the network",
            network.trunc()
        ));
    }
    Ok(network)
}

pub(super) fn over_limit(text: &str) -> Result<OverLimit, String> {
    match text {
        "silence" => Ok(OverLimit::Silence),
        "error" => Ok(OverLimit::Error),
        _ => Err(format!("{text:?} is neither silence nor error")),
    }
}

pub(super) fn show_over_limit(over_limit: OverLimit) -> &'static str {
    match over_limit {
        OverLimit::Silence => "silence",
        OverLimit::Error => "error",
    }
}

pub(super) fn on_outage(text: &str) -> Result<OnOutage, String> {
    match text {
        "silence" => Ok(OnOutage::Silence),
        "error" => Ok(OnOutage::Error),
        _ => Err(format!("{text:?} is neither silence nor error")),
    }
}

pub(super) fn show_on_outage(on_outage: OnOutage) -> &'static str {
    match on_outage {
        OnOutage::Silence => "silence",
        OnOutage::Error => "error",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clients {
    pub(super) network: IpNet,
    /// The direction of their requests; `None` means both.
    pub(super) direction: Option<Direction>,
}

pub(super) fn arbiters(text: &str) -> Result<usize, String> {
    number(text, "a number of threads", &(1..=limits::ARBITERS_MAX))
}

/// Microseconds. The value has no effect.
pub(super) fn poll_us(text: &str) -> Result<Duration, String> {
    number(text, "a number of microseconds", &(0..=limits::POLL_US_MAX)).map(Duration::from_micros)
}

/// Seconds, optionally with a fraction: `0.5`, `15`.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let decimal = text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    let number = if decimal { text.parse::<f64>().ok() } else { None };
    let range = limits::SECONDS_FLAG;
    number.filter(|number| range.contains(number)).map(Duration::from_secs_f64).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("{text:?} is not a time: write seconds from {least} to {most}, such as 0.5")
    })
}

/// Seconds as [`seconds`] reads them, or `0`.
pub(super) fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0u32) => Ok(Duration::ZERO),
        _ => seconds(text).map_err(|why| format!("{why}, or 0")),
    }
}

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

/// Octets: a plain number, or one followed by K, M, G or T (powers of 1024). `4GiB` is accepted as
/// `4G`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let plain = text.strip_suffix("iB").unwrap_or(text);
    let unit = UNITS.into_iter().find(|(letter, _)| plain.ends_with([*letter, letter.to_ascii_lowercase()]));
    let (digits, shift) = match unit {
        Some((_, shift)) => (&plain[..plain.len() - 1], shift),
        None => (text, 0),
    };
    let well_formed = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    let octets = digits.parse::<u64>().ok().filter(|_| well_formed);
    octets.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(|| {
        format!("{text:?} is not a size: write octets, or a number followed by K, M, G or T, such as 256M")
    })
}

pub(super) fn size_above_zero(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("0 would allow no upload at all: write a larger size, or --read-only instead".into()),
        octets => Ok(octets),
    }
}

/// The shortest text that [`size`] reads as `octets`.
pub(super) fn show_size(octets: u64) -> String {
    match UNITS.into_iter().find(|(_, shift)| octets > 0 && octets.is_multiple_of(1 << shift)) {
        Some((letter, shift)) => format!("{}{letter}", octets >> shift),
        None => octets.to_string(),
    }
}

pub(super) fn on_abort(text: &str) -> Result<OnAbort, String> {
    match text {
        "discard" => Ok(OnAbort::Discard),
        "keep" => Ok(OnAbort::Keep),
        _ => Err(format!("{text:?} is neither discard nor keep")),
    }
}

pub(super) fn show_on_abort(on_abort: OnAbort) -> &'static str {
    match on_abort {
        OnAbort::Discard => "discard",
        OnAbort::Keep => "keep",
    }
}

pub(super) fn symlinks(text: &str) -> Result<Symlinks, String> {
    match text {
        "inside" => Ok(Symlinks::Inside),
        "deny" => Ok(Symlinks::Deny),
        "follow" => Ok(Symlinks::Follow),
        _ => Err(format!("{text:?} is none of inside, deny and follow")),
    }
}

pub(super) fn show_symlinks(symlinks: Symlinks) -> &'static str {
    match symlinks {
        Symlinks::Inside => "inside",
        Symlinks::Deny => "deny",
        Symlinks::Follow => "follow",
    }
}

pub(super) fn rollover(text: &str) -> Result<Rollover, String> {
    match text {
        "0" => Ok(Rollover::Zero),
        "1" => Ok(Rollover::One),
        _ => Err(format!("{text:?} is not what follows block 65535: write 0 or 1")),
    }
}

pub(super) fn show_rollover(rollover: Rollover) -> &'static str {
    match rollover {
        Rollover::Zero => "0",
        Rollover::One => "1",
    }
}

pub(super) fn path(text: &OsStr) -> Result<PathBuf, OsString> {
    if text.is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
}

/// A local address as typed: `192.0.2.1`, `2001:db8::1`, `[::1]`, `fe80::1%eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    address: IpAddr,
    /// The interface of a link-local address: name or index.
    scope: Option<String>,
}

impl Host {
    pub(super) fn is_unspecified(&self) -> bool {
        self.address.is_unspecified()
    }

    /// The socket address with this `port`. The interface is looked up by this call.
    ///
    /// # Errors
    /// A message, if there is no such interface.
    pub(super) fn with_port(&self, port: u16) -> Result<SocketAddr, String> {
        match self.address {
            IpAddr::V6(address) => {
                let scope = self.scope.as_deref().map_or(Ok(0), interface_index)?;
                Ok(SocketAddrV6::new(address, port, 0, scope).into())
            }
            IpAddr::V4(_) => Ok(SocketAddr::new(self.address, port)),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let (address, scope) = match bare.split_once('%') {
            Some((address, scope)) => (address, Some(scope)),
            None => (bare, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| {
            format!(
                "{text:?} is not an address: write an IPv4 or IPv6 address of this machine, such as 192.0.2.1"
            )
        })?;
        let link_local = matches!(address, IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address));
        match scope {
            None if link_local => Err(format!(
                "{text:?} is link-local, and may be on any interface: write which one, such as {address}%eth0"
            )),
            Some(_) if !link_local => {
                Err(format!("{text:?} is not link-local and takes no interface: write {address}"))
            }
            Some("") => Err(format!("{text:?} names no interface after the %: write {address}%eth0")),
            _ if address.is_multicast() => {
                Err(format!("{text:?} is a multicast address: write an address of this machine"))
            }
            _ => Ok(Self { address, scope: scope.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(scope) => write!(f, "{}%{scope}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// A server as typed: `boot.example`, `192.0.2.1:6969`, `[2001:db8::1]:69`, `fe80::1%eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
}

impl Server {
    /// Resolves the name. The addresses are in the order of preference.
    ///
    /// # Errors
    /// A message, if the name has no address.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let addresses: Vec<SocketAddr> =
            found.map_err(|error| format!("{:?} can't be resolved: {error}", self.host))?.collect();
        if addresses.is_empty() {
            return Err(format!("{:?} has no address", self.host));
        }
        Ok(addresses)
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, rest)) = text.split_once("://") {
            let (host, name) = rest.split_once('/').unwrap_or((rest, "NAME"));
            return Err(format!(
                "{text:?} is a URL: write the host {host:?} and the name of the file {name:?} as separate arguments"
            ));
        }
        let (host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some(split) => split,
            // An IPv6 address without brackets has no port.
            None if text.matches(':').count() > 1 => (text, ""),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = rest.strip_prefix(':');
        if host.is_empty() || host.contains(['[', ']', '/']) || (port.is_none() && !rest.is_empty()) {
            return Err(format!(
                "{text:?} is not a server: write HOST or HOST:PORT, such as [2001:db8::1]:69, and the name of the file as a separate argument"
            ));
        }
        let port = port.map_or(Ok(TFTP_PORT), |port| number(port, "a port", &(1..=u16::MAX)))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// The port of TFTP servers (RFC 1350 §4), which `get` and `put` use unless another is typed, as
/// all clients do. Our server listens on 9069 by default, which needs no privilege.
pub(super) const TFTP_PORT: u16 = 69;

/// Seconds of the `timeout` option (RFC 2349).
pub(super) fn interval(text: &str) -> Result<u64, String> {
    number(text, "an interval in seconds", &limits::TIMEOUT_OPTION_S)
}

pub(super) fn mode(text: &str) -> Result<Mode<'static>, String> {
    match text {
        "octet" => Ok(Mode::Octet),
        "netascii" => Ok(Mode::Netascii),
        _ => Err(format!("{text:?} is neither octet nor netascii")),
    }
}

/// Octets in powers of ten, for people: `1.2 MB`.
pub(super) fn show_octets(octets: u64) -> String {
    let mut number = octets as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if number < 999.95 {
            return if unit == "B" { format!("{octets} B") } else { format!("{number:.1} {unit}") };
        }
        number /= 1000.0;
    }
    format!("{number:.1} TB")
}

/// The index of an interface, from its name or from the index as text.
pub(super) fn interface_index(scope: &str) -> Result<u32, String> {
    if let Ok(index @ 1..) = scope.parse() {
        return Ok(index);
    }
    nix::net::if_::if_nametoindex(scope)
        .map_err(|_| format!("there is no interface {scope:?}: write the name or the index of one"))
}

#[cfg(test)]
mod tests;
