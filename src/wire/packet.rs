//! Packets.

use super::{DecodeError, Direction, ErrorCode, Opcode, Options, Request, Text};

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

#[cfg(test)]
mod tests;
