//! Option lists of requests and OACKs (RFC 2347).

use std::fmt;

use super::Text;
use crate::limits;

/// Name and value pairs, in the order and the spelling of the packet. Names are never empty; values
/// may be (RFC 2090: `multicast`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Options<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'a> Options<'a> {
    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The options that follow the mode of a request or the opcode of an OACK. The first malformed
    /// pair ends the list: an empty name (padding), a name without a value, a value without a NUL.
    /// Pairs beyond [`limits::REQUEST_OPTIONS_MAX`] are ignored.
    pub(super) fn decode(mut octets: &'a [u8]) -> Self {
        let mut options = Self::new();
        while let Some((name, rest)) = Text::split(octets)
            && let Some((value, rest)) = Text::split(rest)
            && options.push(name, value)
        {
            octets = rest;
        }
        options
    }

    /// Appends an option. Returns `false` and changes nothing if the name is empty or the list
    /// already has 32 options.
    pub fn push(&mut self, name: Text<'a>, value: Text<'a>) -> bool {
        let fits = !name.is_empty() && self.0.len() < limits::REQUEST_OPTIONS_MAX;
        if fits {
            self.0.push((name, value));
        }
        fits
    }

    /// Changes the value of the first option called `name`.
    pub(crate) fn set(&mut self, name: &str, value: Text<'a>) {
        if let Some((_, old)) = self.0.iter_mut().find(|(other, _)| other.is(name)) {
            *old = value;
        }
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Text<'a>, &Text<'a>)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The value of the first option called `name`; case is ignored (RFC 2347). No client may give
    /// an option twice; if one does, the first counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Text<'a>> {
        self.iter().find(|(other, _)| other.is(name)).map(|(_, value)| value)
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of options.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The length of the list on the wire, in octets.
    #[must_use]
    pub fn wire_octets(&self) -> usize {
        self.iter().map(|(name, value)| name.as_bytes().len() + value.as_bytes().len() + 2).sum()
    }

    /// The same options, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Options<'static> {
        Options(self.0.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            name.encode(out);
            value.encode(out);
        }
    }
}

impl fmt::Display for Options<'_> {
    /// `blksize=1428 tsize=0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(index, (name, value))| {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")
        })
    }
}

/// Reads an option value: only ASCII digits (no sign, space or `0x`), at most `u64::MAX`; leading
/// zeros are accepted.
///
/// ```
/// use stagecoach::wire::decimal;
/// assert_eq!(decimal(b"001024"), Some(1024));
/// assert_eq!(decimal(b"-1"), None);
/// assert_eq!(decimal(b"18446744073709551616"), None);
/// ```
#[must_use]
pub fn decimal(value: &[u8]) -> Option<u64> {
    /// Digits of `u64::MAX`. Longer values are refused, leading zeros or not.
    const DIGITS_MAX: usize = 20;
    // Parsing would accept a sign.
    let is_valid = value.len() <= DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_valid)?.parse().ok()
}

#[cfg(test)]
mod tests;
