//! Strings on the wire: octets that end with a NUL.

use std::borrow::Cow;
use std::fmt;

/// A TFTP string: any octets but NUL. No encoding is assumed.
///
/// [`Display`](fmt::Display) escapes everything but printable ASCII, so that a client's text can't
/// forge log lines or control a terminal.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text<'a>(Cow<'a, [u8]>);

impl<'a> Text<'a> {
    /// The text of `octets`, or `None` if they contain a NUL.
    pub fn new(octets: impl Into<Cow<'a, [u8]>>) -> Option<Self> {
        let octets = octets.into();
        (!octets.contains(&0)).then_some(Self(octets))
    }

    /// The text of `octets` up to the first NUL, or all of them if there is none.
    #[must_use]
    pub fn until_nul(octets: &'a [u8]) -> Self {
        let end = octets.iter().position(|&octet| octet == 0).unwrap_or(octets.len());
        Self(Cow::Borrowed(&octets[..end]))
    }

    /// Splits the leading text and its NUL off `octets`; `None` if there is no NUL.
    pub(super) fn split(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let end = octets.iter().position(|&octet| octet == 0)?;
        Some((Self(Cow::Borrowed(&octets[..end])), &octets[end + 1..]))
    }

    /// Whether the text is `word` in any case.
    pub(crate) fn is(&self, word: impl AsRef<[u8]>) -> bool {
        self.0.eq_ignore_ascii_case(word.as_ref())
    }

    /// The octets, without the NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same text, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        out.push(0);
    }
}

impl From<u64> for Text<'static> {
    /// Decimal, as in option values: no sign, no leading zero (RFC 2348, RFC 2349).
    fn from(number: u64) -> Self {
        Self(Cow::Owned(number.to_string().into_bytes()))
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(&self.0, f)
    }
}

/// Writes octets for a log: everything but printable ASCII is escaped.
pub(crate) fn escaped(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Nearly all names are plain, and escaping octet by octet takes ten times as long.
    let is_plain = |octet: &u8| matches!(octet, b' '..=b'~') && !matches!(octet, b'\'' | b'"' | b'\\');
    match std::str::from_utf8(octets) {
        Ok(text) if octets.iter().all(is_plain) => f.write_str(text),
        _ => fmt::Display::fmt(&octets.escape_ascii(), f),
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests;
