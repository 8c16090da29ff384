//! Read and write requests (RFC 1350 §5, RFC 2347).

use std::fmt;

use super::{DecodeError, Opcode, Options, Text};

/// What a request asks for, as seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// RRQ: the client reads, the server sends.
    Read,
    /// WRQ: the client writes, the server receives.
    Write,
}

impl Direction {
    /// `read` or `write`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A transfer mode. Its name is compared without case (RFC 1350 §1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mode<'a> {
    /// `octet`: the file's octets as they are.
    Octet,
    /// `netascii`: line ends are converted.
    Netascii,
    /// `mail`, obsolete and not served.
    Mail,
    /// Any other word.
    Unknown(UnknownMode<'a>),
}

/// A mode name that is none of the three that RFC 1350 has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownMode<'a>(Text<'a>);

impl<'a> Mode<'a> {
    /// The mode called `name`; `None` for an empty name.
    #[must_use]
    pub fn from_text(name: Text<'a>) -> Option<Self> {
        let is = |word: &str| name.as_bytes().eq_ignore_ascii_case(word.as_bytes());
        Some(match name {
            _ if name.is_empty() => return None,
            _ if is("octet") => Self::Octet,
            _ if is("netascii") => Self::Netascii,
            _ if is("mail") => Self::Mail,
            name => Self::Unknown(UnknownMode(name)),
        })
    }

    /// Its name, in lower case if it is a known one.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Octet => b"octet",
            Self::Netascii => b"netascii",
            Self::Mail => b"mail",
            Self::Unknown(UnknownMode(name)) => name.as_bytes(),
        }
    }

    /// The same mode, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Mode<'static> {
        match self {
            Self::Octet => Mode::Octet,
            Self::Netascii => Mode::Netascii,
            Self::Mail => Mode::Mail,
            Self::Unknown(UnknownMode(name)) => Mode::Unknown(UnknownMode(name.into_owned())),
        }
    }
}

impl fmt::Display for Mode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

/// A request for one transfer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// Whether the client reads or writes.
    pub direction: Direction,
    filename: Text<'a>,
    /// How the file's octets are carried. Its name is never empty: [`new`](Self::new) sees to it.
    pub mode: Mode<'a>,
    /// What the client asks for besides.
    pub options: Options<'a>,
}

impl<'a> Request<'a> {
    /// A request, or `None` for an empty filename (which asks for nothing).
    #[must_use]
    pub fn new(
        direction: Direction,
        filename: Text<'a>,
        mode: Mode<'a>,
        options: Options<'a>,
    ) -> Option<Self> {
        (!filename.is_empty()).then_some(Self { direction, filename, mode, options })
    }

    /// The name asked for, as the client wrote it. Never empty.
    #[must_use]
    pub fn filename(&self) -> &Text<'a> {
        &self.filename
    }

    /// Octets that it takes on the wire.
    #[must_use]
    pub fn wire_octets(&self) -> usize {
        2 + self.filename.as_bytes().len() + 1 + self.mode.as_bytes().len() + 1 + self.options.wire_octets()
    }

    /// The same request, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Request<'static> {
        Request {
            direction: self.direction,
            filename: self.filename.into_owned(),
            mode: self.mode.into_owned(),
            options: self.options.into_owned(),
        }
    }

    pub(super) fn decode(direction: Direction, octets: &'a [u8]) -> Result<Self, DecodeError> {
        let (filename, rest) =
            Text::split(octets).ok_or(DecodeError::Malformed("no NUL ends the filename"))?;
        let (mode, rest) = Text::split(rest).ok_or(DecodeError::Malformed("no NUL ends the mode"))?;
        let mode = Mode::from_text(mode).ok_or(DecodeError::Malformed("the mode is empty"))?;
        Self::new(direction, filename, mode, Options::decode(rest))
            .ok_or(DecodeError::Malformed("the filename is empty"))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let opcode = match self.direction {
            Direction::Read => Opcode::Rrq,
            Direction::Write => Opcode::Wrq,
        };
        out.extend_from_slice(&(opcode as u16).to_be_bytes());
        self.filename.encode(out);
        out.extend_from_slice(self.mode.as_bytes());
        out.push(0);
        self.options.encode(out);
    }
}

#[cfg(test)]
mod tests;
