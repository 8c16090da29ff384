//! Which client may do what. Knows no sockets and no files.

mod access;

use std::net::{IpAddr, SocketAddr};

pub use self::access::{Access, AccessRule, RefusedOption};
use crate::error::Failure;
use crate::wire::{Direction, Mode, Request};

/// Rules for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Uploads are refused.
    pub read_only: bool,
    /// Modes that no RFC defines are refused; otherwise they count as `octet`.
    pub strict: bool,
    /// A read that was sent to a broadcast address is answered if its file exists (RFC 906);
    /// otherwise it never is (RFC 1123 §4.2.3.5).
    pub answer_broadcast: bool,
}

/// What a request gets at the server's limit of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OverLimit {
    /// No answer: the client repeats the request, and may be served then.
    #[default]
    Silence,
    /// ERROR 0: the client gives up, or asks another server.
    Error,
}

/// What a read gets when the store can't say whether the file exists, before any other answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnOutage {
    /// No answer: the client repeats the request, and the store may be available then. PXELINUX
    /// takes any ERROR for "no such file".
    #[default]
    Silence,
    /// ERROR 0.
    Error,
}

impl OnOutage {
    /// Whether a request that has had no answer yet gets none because of `failure`.
    #[must_use]
    pub(crate) fn is_silent(self, direction: Direction, failure: Failure) -> bool {
        self == Self::Silence && direction == Direction::Read && failure.is_outage()
    }
}

impl Rules {
    /// Whether a request is allowed, regardless of its file.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn admit(&self, request: &Request<'_>) -> Result<(), Failure> {
        match request.mode {
            Mode::Mail => Err(Failure::UnsupportedMode),
            Mode::Unknown(_) if self.strict => Err(Failure::UnsupportedMode),
            _ if self.read_only && request.direction == Direction::Write => Err(Failure::ReadOnly),
            Mode::Octet | Mode::Netascii | Mode::Unknown(_) => Ok(()),
        }
    }
}

/// Why a datagram gets no answer whatever it contains: its source can't be reached, or is the
/// server's own port. `to` is the address that it was sent to, with the listening port.
#[must_use]
pub(crate) fn unanswerable(from: SocketAddr, to: SocketAddr) -> Option<&'static str> {
    let nobody = match from.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    let own = from.port() == to.port() && (from.ip() == to.ip() || from.ip().is_loopback());
    match nobody || from.port() == 0 {
        true => Some("its source address can't be answered"),
        false => own.then_some("its source is this server's own port"),
    }
}

#[cfg(test)]
mod tests;
