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

    /// Datagrams that may be sent for `request` before its sender has answered, at least one. A
    /// forged request gets at most [`UNPROVEN_OCTETS_RATIO`](limits::UNPROVEN_OCTETS_RATIO) times
    /// its own octets of OACKs.
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
/// size isn't known).
///
/// Options that are unknown, malformed, out of range, or repeated are left out, as RFC 2347 allows;
/// values that are too large get the largest value granted.
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
    let terms = Terms { netascii, rollover: offer.rollover, ..Terms::default() };
    let mut table = Table { offer, request, size, terms, blksize: false, interval: false, others: 0 };
    let mut accepted = Options::new();
    if !offer.options {
        return Ok(Agreement { terms, accepted });
    }
    for (index, (name, value)) in request.options.iter().enumerate() {
        if is_repeated(&request.options, index, name) {
            continue;
        }
        let before = table.clone();
        let Some(answer) = table.answer(name, value)? else { continue };
        let octets = 2 + accepted.wire_octets() + name.as_bytes().len() + answer.as_bytes().len() + 2;
        if octets > limits::OACK_OCTETS_MAX {
            table = before;
            continue;
        }
        accepted.push(name.clone().into_owned(), answer);
    }
    let terms = table.terms;
    Ok(bound_window(offer, Agreement { terms, accepted }))
}

/// Whether an earlier option has the name, too. The first of two counts, as in [`Options::get`].
fn is_repeated(options: &Options<'_>, index: usize, name: &Text<'_>) -> bool {
    let is_same = |other: &Text<'_>| other.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    options.iter().take(index).any(|(other, _)| is_same(other))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Blksize,
    Blksize2,
    Timeout,
    Utimeout,
    Tsize,
    Windowsize,
    Rollover,
}

/// The names of the options that may be granted.
pub const OPTIONS: [&str; 7] =
    ["blksize", "blksize2", "timeout", "utimeout", "tsize", "windowsize", "rollover"];

impl Known {
    /// In the order of [`OPTIONS`].
    const ALL: [Self; OPTIONS.len()] = [
        Self::Blksize,
        Self::Blksize2,
        Self::Timeout,
        Self::Utimeout,
        Self::Tsize,
        Self::Windowsize,
        Self::Rollover,
    ];

    fn from_name(name: &Text<'_>) -> Option<Self> {
        let is = |word: &str| name.as_bytes().eq_ignore_ascii_case(word.as_bytes());
        OPTIONS.into_iter().zip(Self::ALL).find_map(|(word, known)| is(word).then_some(known))
    }
}

#[derive(Clone)]
struct Table<'a> {
    offer: &'a Offer,
    request: &'a Request<'a>,
    size: Option<u64>,
    terms: Terms,
    /// `blksize` or `blksize2` was answered; the first one wins.
    blksize: bool,
    /// `timeout` or `utimeout` was answered; the first one wins.
    interval: bool,
    /// Other answered options, one bit each.
    others: u8,
}

impl Table<'_> {
    /// The value to answer with, or `None` to leave the option out.
    fn answer(&mut self, name: &Text<'_>, value: &Text<'_>) -> Result<Option<Text<'static>>, Failure> {
        let Some(known) = Known::from_name(name) else { return Ok(None) };
        if self.is_answered(known) {
            return Ok(None);
        }
        let answer = decimal(value.as_bytes()).and_then(|number| self.value(known, number));
        // Left out of netascii reads: RFC 2349 means the octets of the file, not of the wire.
        let unknowable = known == Known::Tsize && decimal(value.as_bytes()).is_some();
        match answer {
            Some(number) => {
                self.mark_answered(known);
                Ok(Some(Text::from(number)))
            }
            None if self.offer.strict && !unknowable => Err(Failure::Negotiation),
            None => Ok(None),
        }
    }

    fn value(&mut self, known: Known, number: u64) -> Option<u64> {
        let terms = &mut self.terms;
        match known {
            Known::Blksize => {
                terms.blksize = blksize(self.offer, number)?;
                Some(terms.blksize.into())
            }
            Known::Blksize2 => {
                terms.blksize = 1 << blksize(self.offer, number)?.ilog2();
                Some(terms.blksize.into())
            }
            Known::Windowsize => {
                terms.windowsize = windowsize(self.offer, number)?;
                Some(terms.windowsize.into())
            }
            Known::Timeout => {
                let number = limits::TIMEOUT_OPTION_S.contains(&number).then_some(number)?;
                terms.interval = Some(Duration::from_secs(number));
                Some(number)
            }
            Known::Utimeout => {
                let number = limits::UTIMEOUT_OPTION_US.contains(&number).then_some(number)?;
                terms.interval = Some(Duration::from_micros(number));
                Some(number)
            }
            Known::Tsize => match self.request.direction {
                Direction::Read => self.size.filter(|_| !terms.netascii),
                Direction::Write => Some(number),
            },
            Known::Rollover => {
                terms.rollover = rollover(number)?;
                terms.rollover_agreed = true;
                Some(number)
            }
        }
    }

    fn is_answered(&self, known: Known) -> bool {
        match known {
            Known::Blksize | Known::Blksize2 => self.blksize,
            Known::Timeout | Known::Utimeout => self.interval,
            other => self.others & (1 << other as u8) != 0,
        }
    }

    fn mark_answered(&mut self, known: Known) {
        match known {
            Known::Blksize | Known::Blksize2 => self.blksize = true,
            Known::Timeout | Known::Utimeout => self.interval = true,
            other => self.others |= 1 << other as u8,
        }
    }
}

/// The block size to answer: `number`, or the largest that is granted. `None` below RFC 2348's
/// minimum, because a larger answer would exceed the request.
fn blksize(offer: &Offer, number: u64) -> Option<u16> {
    let valid =
        number >= limits::BLKSIZE_MIN.into() && !(offer.strict && number > limits::BLKSIZE_MAX.into());
    valid.then(|| u16::try_from(number).unwrap_or(u16::MAX).min(offer.blksize_max))
}

/// The window size to answer: `number`, or the largest that is granted, even above RFC 7440's
/// maximum. py3tftp does the same.
fn windowsize(offer: &Offer, number: u64) -> Option<u16> {
    let valid = number > 0 && !(offer.strict && number > limits::WINDOWSIZE_MAX.into());
    valid.then(|| u16::try_from(number).unwrap_or(u16::MAX).min(offer.windowsize_max))
}

/// Lowers the window to what a session may hold and what block numbers without 0 can distinguish.
fn bound_window(offer: &Offer, mut agreement: Agreement) -> Agreement {
    let terms = &mut agreement.terms;
    let held = offer.window_octets_max / usize::from(terms.blksize);
    let told_apart =
        if terms.rollover == Rollover::One { limits::WINDOWSIZE_MAX - 1 } else { limits::WINDOWSIZE_MAX };
    let most = u16::try_from(held).unwrap_or(u16::MAX).min(told_apart).max(1);
    if terms.windowsize > most {
        terms.windowsize = most;
        let mut accepted = Options::new();
        for (name, value) in agreement.accepted.iter() {
            let is_window = Known::from_name(name) == Some(Known::Windowsize);
            accepted.push(name.clone(), if is_window { Text::from(u64::from(most)) } else { value.clone() });
        }
        agreement.accepted = accepted;
    }
    agreement
}

/// The terms that an OACK sets for the client that sent `request`.
///
/// # Errors
/// [`Failure::Negotiation`] if the server answers an option that was not requested, or twice, or
/// with a value that its RFC forbids (RFC 2347: the client ends the transfer with ERROR 8).
pub(super) fn accept(request: &Request<'_>, oack: &Options<'_>) -> Result<Terms, Failure> {
    let mut terms = Terms { netascii: request.mode == Mode::Netascii, ..Terms::default() };
    for (index, (name, value)) in oack.iter().enumerate() {
        let name_text = std::str::from_utf8(name.as_bytes()).map_err(|_| Failure::Negotiation)?;
        let asked = request.options.get(name_text).and_then(|asked| decimal(asked.as_bytes()));
        let number = decimal(value.as_bytes());
        let (Some(known), Some(asked), Some(number)) = (Known::from_name(name), asked, number) else {
            return Err(Failure::Negotiation);
        };
        if is_repeated(oack, index, name) {
            return Err(Failure::Negotiation);
        }
        accept_option(&mut terms, known, asked, number).ok_or(Failure::Negotiation)?;
    }
    Ok(terms)
}

/// Sets the option that was `asked` for and answered with `number`; `None` if that is invalid.
fn accept_option(terms: &mut Terms, known: Known, asked: u64, number: u64) -> Option<()> {
    let at_most = |most: u16| u16::try_from(number).ok().filter(|_| number <= asked.min(most.into()));
    let the_same = || (number == asked).then_some(number);
    match known {
        Known::Blksize | Known::Blksize2 => {
            terms.blksize = at_most(limits::BLKSIZE_MAX).filter(|&number| number >= limits::BLKSIZE_MIN)?;
        }
        Known::Windowsize => {
            terms.windowsize = at_most(limits::WINDOWSIZE_MAX).filter(|&number| number > 0)?;
        }
        Known::Timeout => {
            let number = the_same().filter(|number| limits::TIMEOUT_OPTION_S.contains(number))?;
            terms.interval = Some(Duration::from_secs(number));
        }
        Known::Utimeout => {
            let number = the_same().filter(|number| limits::UTIMEOUT_OPTION_US.contains(number))?;
            terms.interval = Some(Duration::from_micros(number));
        }
        Known::Tsize => {}
        Known::Rollover => {
            terms.rollover = rollover(the_same()?)?;
            terms.rollover_agreed = true;
        }
    }
    Some(())
}

fn rollover(number: u64) -> Option<Rollover> {
    match number {
        0 => Some(Rollover::Zero),
        1 => Some(Rollover::One),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
