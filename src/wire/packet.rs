//! Packets, their opcodes and error codes.

use std::fmt;

use super::{Direction, Options, Request, Text};

/// A TFTP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ or WRQ: a request for a transfer.
    Request(Request<'a>),
    /// DATA: a block. The first block shorter than the block size is the last (RFC 1350 §2).
    Data {
        /// Block number, modulo 2^16.
        block: u16,
        /// The octets of the block.
        payload: &'a [u8],
    },
    /// ACK: all blocks up to this one were received.
    Ack {
        /// Block number; 0 answers a write request or an OACK.
        block: u16,
    },
    /// ERROR: ends the transfer. It is neither answered nor repeated.
    Error {
        /// The kind of error.
        code: ErrorCode,
        /// A short text for people.
        message: Text<'a>,
    },
    /// OACK: the accepted options with their final values (RFC 2347).
    Oack(Options<'a>),
}

impl<'a> Packet<'a> {
    /// Decodes one datagram.
    ///
    /// Where the RFCs leave room, decoding is lenient: octets after an ACK are ignored (Windows
    /// sends one), the text of an ERROR may lack its NUL, and a malformed option ends an option
    /// list.
    ///
    /// # Errors
    /// [`DecodeError`] says why the datagram is not a packet.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        if let [0, 6] = datagram {
            return Ok(Self::Oack(Options::new()));
        }
        let (&[high, low, first, second], rest) = datagram.split_first_chunk().ok_or(DecodeError::Short)?;
        let number = u16::from_be_bytes([first, second]);
        let body = &datagram[2..];
        Ok(match u16::from_be_bytes([high, low]) {
            1 => Self::Request(Request::decode(Direction::Read, body)?),
            2 => Self::Request(Request::decode(Direction::Write, body)?),
            3 => Self::Data { block: number, payload: rest },
            4 => Self::Ack { block: number },
            5 => Self::Error { code: ErrorCode(number), message: Text::until_nul(rest) },
            6 => Self::Oack(Options::decode(body)),
            other => return Err(DecodeError::UnknownOpcode(other)),
        })
    }

    /// Appends the octets of the packet to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut start = |opcode: Opcode, number: u16| {
            let [high, low] = number.to_be_bytes();
            out.extend_from_slice(&[0, opcode as u8, high, low]);
        };
        match self {
            Self::Request(request) => request.encode(out),
            Self::Data { block, payload } => {
                start(Opcode::Data, *block);
                out.extend_from_slice(payload);
            }
            Self::Ack { block } => start(Opcode::Ack, *block),
            Self::Error { code, message } => {
                start(Opcode::Error, code.0);
                message.encode(out);
            }
            Self::Oack(options) => {
                out.extend_from_slice(&[0, Opcode::Oack as u8]);
                options.encode(out);
            }
        }
    }

    /// The octets of the packet.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.encode(&mut out);
        out
    }
}

/// The first two octets of every packet (RFC 1350 §5; 6: RFC 2347).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[expect(missing_docs, reason = "the RFCs' own words")]
pub enum Opcode {
    Rrq = 1,
    Wrq = 2,
    Data = 3,
    Ack = 4,
    Error = 5,
    Oack = 6,
}

/// The code of an ERROR packet (RFC 1350 appendix; code 8: RFC 2347). A peer may send any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// 0: not defined, see the message.
    pub const NOT_DEFINED: Self = Self(0);
    /// 1: file not found.
    pub const FILE_NOT_FOUND: Self = Self(1);
    /// 2: access violation.
    pub const ACCESS_VIOLATION: Self = Self(2);
    /// 3: disk full or allocation exceeded.
    pub const DISK_FULL: Self = Self(3);
    /// 4: illegal TFTP operation.
    pub const ILLEGAL_OPERATION: Self = Self(4);
    /// 5: unknown transfer ID.
    pub const UNKNOWN_TID: Self = Self(5);
    /// 6: file already exists.
    pub const FILE_EXISTS: Self = Self(6);
    /// 7: no such user (`mail` mode; never sent).
    pub const NO_SUCH_USER: Self = Self(7);
    /// 8: the option negotiation ended the transfer (RFC 2347).
    pub const OPTION_NEGOTIATION: Self = Self(8);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reason why a datagram is not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The datagram has fewer octets than any packet.
    #[error("the datagram is shorter than four octets")]
    Short,
    /// The opcode is not one of TFTP's.
    #[error("opcode {0} is none of TFTP's")]
    UnknownOpcode(u16),
    /// The datagram has the opcode of a request but is not a valid request.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}

#[cfg(test)]
mod tests;
