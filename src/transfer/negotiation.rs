//! Option negotiation (RFC 2347, 2348, 2349, 7440).

use std::time::Duration;

use super::Rollover;
use crate::error::Failure;
use crate::limits;
use crate::wire::{Direction, Mode, Options, Packet, Request, Text, decimal};

/// What both ends of a transfer have agreed on. The default is a transfer without options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Octets of every block but the last (RFC 2348).
    pub blksize: u16,
    /// Blocks sent before an ACK must come (RFC 7440).
    pub windowsize: u16,
    /// Negotiated retransmission interval (RFC 2349 `timeout`, tftp-hpa `utimeout`).
    pub interval: Option<Duration>,
    /// Number of the block after 65535.
    pub rollover: Rollover,
    /// Whether the client asked for that number. If not, a receiver accepts either.
    pub rollover_agreed: bool,
    /// Whether line ends are converted.
    pub netascii: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            blksize: limits::BLKSIZE_DEFAULT,
            windowsize: 1,
            interval: None,
            rollover: Rollover::default(),
            rollover_agreed: false,
            netascii: false,
        }
    }
}

/// What the server is willing to grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Whether options are read at all.
    pub options: bool,
    /// Whether a value that its RFC forbids causes ERROR 8 instead of being left out.
    pub strict: bool,
    /// Largest block size granted.
    pub blksize_max: u16,
    /// Largest window granted.
    pub windowsize_max: u16,
    /// Octets that a window may have in total; one block is always granted.
    pub window_octets_max: usize,
    /// Number of the block after 65535 if the client doesn't ask for one.
    pub rollover: Rollover,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            options: true,
            strict: false,
            blksize_max: limits::BLKSIZE_MAX,
            windowsize_max: limits::WINDOWSIZE_MAX_DEFAULT,
            window_octets_max: limits::WINDOW_OCTETS_MAX,
            rollover: Rollover::default(),
        }
    }
}

/// The result of a negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The terms of the transfer.
    pub terms: Terms,
    /// The options of the OACK, spelled and ordered as in the request. Empty: no OACK.
    pub accepted: Options<'static>,
}

impl Agreement {
    /// The OACK, if there is anything to acknowledge (RFC 2347: never an empty one).
    #[must_use]
    pub fn oack(&self) -> Option<Vec<u8>> {
        (!self.accepted.is_empty()).then(|| Packet::Oack(self.accepted.clone()).to_bytes())
    }

    /// Datagrams that may be sent for `request` before its sender has answered, at least one: a
    /// forged request gets at most [`limits::UNPROVEN_OCTETS_RATIO`] times its octets of OACKs.
    #[must_use]
    pub fn allowance(&self, request: &Request<'_>) -> u32 {
        if self.accepted.is_empty() {
            return limits::UNPROVEN_DATAGRAMS_MAX;
        }
        let oack = 2 + self.accepted.wire_octets();
        let affordable = request.wire_octets() * limits::UNPROVEN_OCTETS_RATIO / oack;
        u32::try_from(affordable).unwrap_or(u32::MAX).clamp(1, limits::UNPROVEN_DATAGRAMS_MAX)
    }
}

/// Answers the options of `request` for a file of `size` octets (`None` for an upload, or if the
/// size isn't known). Options that are unknown, malformed, out of range, or repeated are left out,
/// as RFC 2347 allows; values that are too large get the largest value granted.
///
/// # Errors
/// [`Failure::Negotiation`] under [`Offer::strict`], for a known option whose value its RFC
/// forbids.
///
/// ```
/// use stagecoach::internals::transfer::{negotiate, Offer};
/// use stagecoach::wire::Packet;
///
/// let octets = b"\0\x01f\0octet\0TSize\x000\0blksize\x0070000\0";
/// let Ok(Packet::Request(rrq)) = Packet::decode(octets) else { panic!() };
/// let agreement = negotiate(&rrq, &Offer::default(), Some(5_368_709_120)).unwrap();
/// assert_eq!(agreement.accepted.to_string(), "TSize=5368709120 blksize=65464");
/// ```
pub fn negotiate(request: &Request<'_>, offer: &Offer, size: Option<u64>) -> Result<Agreement, Failure> {
    let netascii = request.mode == Mode::Netascii;
    let mut terms = Terms { netascii, rollover: offer.rollover, ..Terms::default() };
    let mut accepted = Options::new();
    for (index, (name, value)) in request.options.iter().enumerate().filter(|_| offer.options) {
        let Some(known) = known(name) else { continue };
        let has_rival = rival(known).is_some_and(|rival| accepted.get(rival).is_some());
        if has_rival || is_repeated(&request.options, index, name) {
            continue;
        }
        let number = decimal(value.as_bytes());
        let granted = number.and_then(|number| match known {
            // Left out of netascii reads: RFC 2349 means the octets of the file, not of the wire.
            "tsize" if request.direction == Direction::Read => size.filter(|_| !netascii),
            _ => offer.bound(known, number),
        });
        let mut changed = terms;
        let Some(granted) = granted.filter(|&number| changed.set(known, number).is_some()) else {
            let is_forbidden = number.is_none() || known != "tsize";
            if offer.strict && is_forbidden {
                return Err(Failure::Negotiation);
            }
            continue;
        };
        let answer = Text::from(granted);
        let octets = 2 + accepted.wire_octets() + name.as_bytes().len() + answer.as_bytes().len() + 2;
        if octets <= limits::OACK_OCTETS_MAX {
            terms = changed;
            accepted.push(name.clone().into_owned(), answer);
        }
    }
    if terms.windowsize > offer.largest_window(&terms) {
        terms.windowsize = offer.largest_window(&terms);
        accepted.set("windowsize", u64::from(terms.windowsize).into());
    }
    Ok(Agreement { terms, accepted })
}

/// The names of the options that may be granted.
pub const OPTIONS: [&str; 7] =
    ["blksize", "blksize2", "timeout", "utimeout", "tsize", "windowsize", "rollover"];

/// The option that is called `name`, as in [`OPTIONS`].
fn known(name: &Text<'_>) -> Option<&'static str> {
    OPTIONS.into_iter().find(|known| name.is(known))
}

/// The other option for the same term. The first that is answered counts.
fn rival(known: &str) -> Option<&'static str> {
    match known {
        "blksize" => Some("blksize2"),
        "blksize2" => Some("blksize"),
        "timeout" => Some("utimeout"),
        "utimeout" => Some("timeout"),
        _ => None,
    }
}

/// Whether an earlier option has the name, too. The first of two counts, as in [`Options::get`].
fn is_repeated(options: &Options<'_>, index: usize, name: &Text<'_>) -> bool {
    options.iter().take(index).any(|(other, _)| other.is(name.as_bytes()))
}

impl Offer {
    /// The number to answer an option with: `number`, or the largest that is granted, even above
    /// the maximum of the RFC. py3tftp does the same.
    fn bound(&self, known: &str, number: u64) -> Option<u64> {
        let (granted_max, rfc_max) = match known {
            "blksize" | "blksize2" => (self.blksize_max, limits::BLKSIZE_MAX),
            "windowsize" => (self.windowsize_max, limits::WINDOWSIZE_MAX),
            _ => return Some(number),
        };
        if self.strict && number > rfc_max.into() {
            return None;
        }
        let number = number.min(granted_max.into());
        if known == "blksize2" { Some(1 << number.checked_ilog2()?) } else { Some(number) }
    }

    /// The largest window that a session may hold and that block numbers without 0 can distinguish.
    fn largest_window(&self, terms: &Terms) -> u16 {
        let held = self.window_octets_max / usize::from(terms.blksize);
        let distinct = limits::WINDOWSIZE_MAX - u16::from(terms.rollover == Rollover::One);
        u16::try_from(held).unwrap_or(u16::MAX).clamp(1, distinct)
    }
}

impl Terms {
    /// Sets what an option of this number says; `None` if its RFC forbids the number. A block below
    /// the minimum of RFC 2348 can't be answered with a larger one, which would exceed the request.
    fn set(&mut self, known: &str, number: u64) -> Option<()> {
        let small = u16::try_from(number);
        match known {
            "blksize" | "blksize2" => {
                let valid = limits::BLKSIZE_MIN..=limits::BLKSIZE_MAX;
                self.blksize = small.ok().filter(|blksize| valid.contains(blksize))?;
            }
            "windowsize" => self.windowsize = small.ok().filter(|&windowsize| windowsize > 0)?,
            "timeout" if limits::TIMEOUT_OPTION_S.contains(&number) => {
                self.interval = Some(Duration::from_secs(number));
            }
            "utimeout" if limits::UTIMEOUT_OPTION_US.contains(&number) => {
                self.interval = Some(Duration::from_micros(number));
            }
            "rollover" if number <= 1 => {
                self.rollover = if number == 0 { Rollover::Zero } else { Rollover::One };
                self.rollover_agreed = true;
            }
            "tsize" => {}
            _ => return None,
        }
        Some(())
    }
}

/// The terms that an OACK sets for the client that sent `request`.
///
/// # Errors
/// [`Failure::Negotiation`] if the server answers an option that was not requested, or twice, or
/// with a value that its RFC forbids (RFC 2347: the client ends the transfer with ERROR 8).
pub(super) fn accept(request: &Request<'_>, oack: &Options<'_>) -> Result<Terms, Failure> {
    let mut terms = Terms { netascii: request.mode == Mode::Netascii, ..Terms::default() };
    for (index, (name, value)) in oack.iter().enumerate() {
        if is_repeated(oack, index, name) {
            return Err(Failure::Negotiation);
        }
        accept_option(&mut terms, request, name, value).ok_or(Failure::Negotiation)?;
    }
    Ok(terms)
}

fn accept_option(terms: &mut Terms, request: &Request<'_>, name: &Text<'_>, value: &Text<'_>) -> Option<()> {
    let known = known(name)?;
    let asked = decimal(request.options.get(known)?.as_bytes())?;
    let number = decimal(value.as_bytes())?;
    let is_valid = match known {
        "blksize" | "blksize2" | "windowsize" => number <= asked,
        "tsize" => true,
        _ => number == asked,
    };
    terms.set(known, number).filter(|()| is_valid)
}

#[cfg(test)]
mod tests;
