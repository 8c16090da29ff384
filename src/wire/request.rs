//! Read and write requests (RFC 1350 §5, RFC 2347).

use std::fmt;

use super::{DecodeError, Opcode, Options, Text};

/// What a request asks for, from the client's view.
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

/// A transfer mode. Names of modes are compared without case (RFC 1350 §1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode<'a> {
    /// `octet`: the file's octets, unchanged.
    Octet,
    /// `netascii`: line ends are converted.
    Netascii,
    /// `mail`: obsolete and not served.
    Mail,
    /// Any other name.
    Unknown(UnknownMode<'a>),
}

/// A mode name that RFC 1350 does not define.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownMode<'a>(Text<'a>);

impl<'a> Mode<'a> {
    /// The mode called `name`; `None` for an empty name.
    #[must_use]
    pub fn from_text(name: Text<'a>) -> Option<Self> {
        Some(match name {
            _ if name.is_empty() => return None,
            _ if name.is("octet") => Self::Octet,
            _ if name.is("netascii") => Self::Netascii,
            _ if name.is("mail") => Self::Mail,
            name => Self::Unknown(UnknownMode(name)),
        })
    }

    /// The name of the mode; known modes are in lower case.
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
#[non_exhaustive]
pub struct Request<'a> {
    /// Whether the client reads or writes.
    pub direction: Direction,
    filename: Text<'a>,
    /// How the octets of the file are transferred. [`Mode::from_text`] refuses an empty name.
    pub mode: Mode<'a>,
    /// The options that the client asks for.
    pub options: Options<'a>,
}

impl<'a> Request<'a> {
    /// A request, or `None` if the filename is empty.
    #[must_use]
    pub fn new(
        direction: Direction,
        filename: Text<'a>,
        mode: Mode<'a>,
        options: Options<'a>,
    ) -> Option<Self> {
        (!filename.is_empty()).then_some(Self { direction, filename, mode, options })
    }

    /// The name as the client wrote it. Never empty.
    #[must_use]
    pub fn filename(&self) -> &Text<'a> {
        &self.filename
    }

    /// The length of the request on the wire, in octets.
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
        let malformed = DecodeError::Malformed;
        let (filename, rest) = Text::split(octets).ok_or(malformed("no NUL ends the filename"))?;
        let (mode, rest) = Text::split(rest).ok_or(malformed("no NUL ends the mode"))?;
        let mode = Mode::from_text(mode).ok_or(malformed("the mode is empty"))?;
        let request = Self::new(direction, filename, mode, Options::decode(rest));
        request.ok_or(malformed("the filename is empty"))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let opcode = if self.direction == Direction::Read { Opcode::Rrq } else { Opcode::Wrq };
        out.extend_from_slice(&[0, opcode as u8]);
        self.filename.encode(out);
        out.extend_from_slice(self.mode.as_bytes());
        out.push(0);
        self.options.encode(out);
    }
}

#[cfg(test)]
mod tests;
