//! Errors of decoding.

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
