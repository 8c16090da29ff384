//! Which client may do what. Knows no sockets and no files.

mod access;

use std::net::{IpAddr, SocketAddr};

pub use self::access::{Access, AccessRule, RefusedOption};
use crate::error::Failure;
use crate::wire::{Direction, Mode, Request};

/// What requests are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// No uploads.
    pub read_only: bool,
    /// Modes that no RFC knows are refused; else they count as `octet`.
    pub strict: bool,
    /// A read that was sent to a broadcast address is answered if its file is there (RFC 906); else
    /// never (RFC 1123 §4.2.3.5).
    pub answer_broadcast: bool,
}

/// What becomes of a request when there is no place for one more transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverLimit {
    /// It gets no answer: the client repeats it, and there may be a place then.
    #[default]
    Silence,
    /// It gets ERROR 0: the client gives up, or asks another server.
    Error,
}

/// What a read gets when the store can't say whether the file is there, before anything else was
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnOutage {
    /// It gets no answer: the client repeats it, and the store may answer then. PXELINUX takes any
    /// ERROR for "no such file".
    #[default]
    Silence,
    /// It gets ERROR 0.
    Error,
}

impl OnOutage {
    /// Whether a request that has had no answer yet is left without one because of `failure`.
    #[must_use]
    pub fn is_silent(self, direction: Direction, failure: Failure) -> bool {
        self == Self::Silence && direction == Direction::Read && failure.is_outage()
    }
}

impl Rules {
    /// Whether a request may be served, whatever file it is for.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admit(&self, request: &Request<'_>) -> Result<(), Failure> {
        match request.mode {
            Mode::Octet | Mode::Netascii => {}
            Mode::Mail => return Err(Failure::UnsupportedMode),
            Mode::Unknown(_) if self.strict => return Err(Failure::UnsupportedMode),
            Mode::Unknown(_) => {}
        }
        if self.read_only && request.direction == Direction::Write {
            return Err(Failure::ReadOnly);
        }
        Ok(())
    }
}

/// Why a datagram's sender gets no answer at all, whatever it sent: nobody can be reached there, or it is this server itself.
///
/// `to` is the address that it was sent to, with the listening port.
#[must_use]
pub fn unanswerable(from: SocketAddr, to: SocketAddr) -> Option<&'static str> {
    let nobody = match from.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    let own = from.port() == to.port() && (from.ip() == to.ip() || from.ip().is_loopback());
    if nobody || from.port() == 0 {
        Some("its source address can't be answered")
    } else if own {
        Some("its source is this server's own port")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
