//! Parsers of flag values: text in, a valid type out. clap puts the flag's name before each error.
//! The error says what is wrong with the value and gives a right one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::limits;
use crate::net::Mtu;
use crate::policy::{AccessRule, OnOutage, OverLimit, RefusedOption};
use crate::store::Symlinks;
use crate::transfer::{self, OnAbort, Rollover};
use crate::wire::{Direction, Mode};

/// A number within `range`; `noun` names it in errors ("a port").
pub(super) fn number<T>(text: &str, noun: &str, range: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    // `parse` would accept a plus sign.
    let digits = text.bytes().all(|octet| octet.is_ascii_digit()).then_some(text);
    let number = digits.and_then(|digits| digits.parse().ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        format!("{text:?} is not {noun}: write a number from {} to {}", range.start(), range.end())
    })
}

/// A value that is typed as a word.
pub(super) trait Words: Clone + PartialEq + Sized + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Words for OverLimit {
    const WORDS: &'static [(&'static str, Self)] = &[("silence", Self::Silence), ("error", Self::Error)];
}

impl Words for OnOutage {
    const WORDS: &'static [(&'static str, Self)] = &[("silence", Self::Silence), ("error", Self::Error)];
}

impl Words for OnAbort {
    const WORDS: &'static [(&'static str, Self)] = &[("discard", Self::Discard), ("keep", Self::Keep)];
}

impl Words for Symlinks {
    const WORDS: &'static [(&'static str, Self)] =
        &[("inside", Self::Inside), ("deny", Self::Deny), ("follow", Self::Follow)];
}

impl Words for Rollover {
    const WORDS: &'static [(&'static str, Self)] = &[("0", Self::Zero), ("1", Self::One)];
}

impl Words for Mode<'static> {
    const WORDS: &'static [(&'static str, Self)] = &[("octet", Self::Octet), ("netascii", Self::Netascii)];
}

pub(super) fn word<T: Words>(text: &str) -> Result<T, String> {
    let found = T::WORDS.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is unknown: write {}", words.join(" or "))
    })
}

/// The word that [`word`] reads as `value`.
pub(super) fn show_word<T: Words>(value: &T) -> &'static str {
    T::WORDS.iter().find(|(_, other)| other == value).map_or("", |(word, _)| word)
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

pub(super) fn allowed(text: &str) -> Result<AccessRule, String> {
    access_rule(true, text)
}

pub(super) fn denied(text: &str) -> Result<AccessRule, String> {
    access_rule(false, text)
}

/// A network, optionally limited to reads or writes: `10.0.0.0/8`, `2001:db8::/32:write`,
/// `192.0.2.7:read`.
fn access_rule(allow: bool, text: &str) -> Result<AccessRule, String> {
    let (network, direction) = match text.rsplit_once(':') {
        Some((network, "read")) => (network, Some(Direction::Read)),
        Some((network, "write")) => (network, Some(Direction::Write)),
        _ => (text, None),
    };
    let network = self::network(network)
        .map_err(|why| format!("{why}, followed by :read or :write if the rule is for one of them"))?;
    Ok(AccessRule { allow, network, direction })
}

/// An option, optionally limited to a network: `blksize`, `blksize=10.0.0.0/8`.
pub(super) fn refused_option(text: &str) -> Result<RefusedOption, String> {
    let (name, network) = match text.split_once('=') {
        Some((name, network)) => (name, Some(self::network(network)?)),
        None => (text, None),
    };
    if !transfer::OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Err(format!(
            "{name:?} is not an option that the server grants: write one of {}",
            transfer::OPTIONS.join(", ")
        ));
    }
    Ok(RefusedOption { name: name.to_ascii_lowercase(), network })
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network: IpNet = network.map_err(|_| {
        format!(
            "{text:?} is not a network: write an address and the length of its prefix, such as 10.0.0.0/8 or 2001:db8::/32"
        )
    })?;
    if network.addr() != network.network() {
        return Err(format!(
            "{text:?} has bits set after its prefix: write {} if you mean the network",
            network.trunc()
        ));
    }
    Ok(network)
}

pub(super) fn arbiters(text: &str) -> Result<usize, String> {
    number(text, "a number of threads", &(1..=limits::ARBITERS_MAX))
}

pub(super) fn poll_us(text: &str) -> Result<u64, String> {
    number(text, "a number of microseconds", &(0..=limits::POLL_US_MAX))
}

/// Seconds, optionally with a fraction: `0.5`, `15`.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let decimal = text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.').then_some(text);
    let range = limits::SECONDS_FLAG;
    let number = decimal.and_then(|decimal| decimal.parse().ok()).filter(|number| range.contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| {
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
    let with_unit = UNITS.into_iter().find_map(|(letter, shift)| {
        Some((plain.strip_suffix([letter, letter.to_ascii_lowercase()])?, shift))
    });
    let (digits, shift) = with_unit.unwrap_or((text, 0));
    let octets = number(digits, "a size", &(0..=u64::MAX)).ok();
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

pub(super) fn path(text: &OsStr) -> Result<PathBuf, OsString> {
    if text.is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
}

/// A local address, with port 0: `192.0.2.1`, `2001:db8::1`, `[::1]`, `fe80::1%eth0`.
pub(super) fn host(text: &str) -> Result<SocketAddr, String> {
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
    match (address, scope) {
        (IpAddr::V6(address), None) if address.is_unicast_link_local() => Err(format!(
            "{text:?} is link-local, and may be on any interface: write which one, such as {address}%eth0"
        )),
        (IpAddr::V6(address), Some("")) if address.is_unicast_link_local() => {
            Err(format!("{text:?} names no interface after the %: write {address}%eth0"))
        }
        (IpAddr::V6(address), Some(scope)) if address.is_unicast_link_local() => {
            Ok(SocketAddrV6::new(address, 0, 0, interface_index(scope)?).into())
        }
        (_, Some(_)) => Err(format!("{text:?} is not link-local and takes no interface: write {address}")),
        _ if address.is_multicast() => {
            Err(format!("{text:?} is a multicast address: write an address of this machine"))
        }
        _ => Ok(SocketAddr::new(address, 0)),
    }
}

/// A server as typed: `boot.example`, `192.0.2.1:6969`, `[2001:db8::1]:69`, `fe80::1%eth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
}

impl Server {
    /// Resolves the name. There is at least one address. They are in the order of preference.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let host = &self.host;
        let found = (host.as_str(), self.port).to_socket_addrs();
        let addresses: Vec<_> =
            found.map_err(|error| format!("{host:?} can't be resolved: {error}"))?.collect();
        if addresses.is_empty() { Err(format!("{host:?} has no address")) } else { Ok(addresses) }
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

/// The port of TFTP servers (RFC 1350 §4). Our server listens on 9069 by default, which needs no
/// privilege.
const TFTP_PORT: u16 = 69;

/// Seconds of the `timeout` option (RFC 2349).
pub(super) fn interval(text: &str) -> Result<u64, String> {
    number(text, "an interval in seconds", &limits::TIMEOUT_OPTION_S)
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
fn interface_index(scope: &str) -> Result<u32, String> {
    if let Ok(index @ 1..) = scope.parse() {
        return Ok(index);
    }
    nix::net::if_::if_nametoindex(scope)
        .map_err(|_| format!("there is no interface {scope:?}: write the name or the index of one"))
}

#[cfg(test)]
mod tests;
