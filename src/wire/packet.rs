//! The six packets.

use super::{DecodeError, Direction, ErrorCode, Opcode, Options, Request, Text};

/// A TFTP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ or WRQ: a request for a transfer.
    Request(Request<'a>),
    /// DATA: a block. The first that is shorter than the block size is the last (RFC 1350 §2).
    Data {
        /// Block number, modulo 2^16.
        block: u16,
        /// The block's octets.
        payload: &'a [u8],
    },
    /// ACK: everything up to this block has come.
    Ack {
        /// Block number; 0 answers a write request or an OACK.
        block: u16,
    },
    /// ERROR: the transfer is over. It is neither answered nor repeated.
    Error {
        /// What kind.
        code: ErrorCode,
        /// A few words for people.
        message: Text<'a>,
    },
    /// OACK: the options that were accepted, with the values that hold (RFC 2347).
    Oack(Options<'a>),
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    ///
    /// What the RFCs leave open is read kindly: octets after an ACK are ignored (Windows puts one there), an ERROR's
    /// text may lack its NUL, a request's option list ends where it can't be read.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with it.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        if let [0, 6] = datagram {
            return Ok(Self::Oack(Options::new()));
        }
        let ([opcode_high, opcode_low, first, second], rest) =
            datagram.split_first_chunk::<4>().ok_or(DecodeError::Short)?;
        let number = u16::from_be_bytes([*first, *second]);
        let body = &datagram[2..];
        Ok(match u16::from_be_bytes([*opcode_high, *opcode_low]) {
            1 => Self::Request(Request::decode(Direction::Read, body)?),
            2 => Self::Request(Request::decode(Direction::Write, body)?),
            3 => Self::Data { block: number, payload: rest },
            4 => Self::Ack { block: number },
            5 => Self::Error { code: ErrorCode(number), message: Text::until_nul(rest) },
            6 => Self::Oack(Options::decode(body)),
            other => return Err(DecodeError::UnknownOpcode(other)),
        })
    }

    /// Appends the packet's octets to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut start = |opcode: Opcode| out.extend_from_slice(&(opcode as u16).to_be_bytes());
        match self {
            Self::Request(request) => request.encode(out),
            Self::Data { block, payload } => {
                start(Opcode::Data);
                out.extend_from_slice(&block.to_be_bytes());
                out.extend_from_slice(payload);
            }
            Self::Ack { block } => {
                start(Opcode::Ack);
                out.extend_from_slice(&block.to_be_bytes());
            }
            Self::Error { code, message } => {
                start(Opcode::Error);
                out.extend_from_slice(&code.0.to_be_bytes());
                message.encode(out);
            }
            Self::Oack(options) => {
                start(Opcode::Oack);
                options.encode(out);
            }
        }
    }

    /// The packet's octets.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Room for all but DATA, long requests and long OACKs.
        let mut out = Vec::with_capacity(64);
        self.encode(&mut out);
        out
    }
}

#[cfg(test)]
mod tests;
