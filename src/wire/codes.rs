//! Opcodes, error codes, and the errors of decoding.

use std::fmt;

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
