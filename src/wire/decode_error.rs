//! Why a datagram can't be decoded.

/// Why a datagram is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer octets than any packet has.
    #[error("the datagram is shorter than four octets")]
    Short,
    /// No packet begins so.
    #[error("opcode {0} is none of TFTP's")]
    UnknownOpcode(u16),
    /// It begins as a request and isn't one.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}
