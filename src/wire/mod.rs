//! Encoding and decoding of packets.
//!
//! [`Packet`] is what a TFTP datagram says (RFC 1350 §5, RFC 2347). Decoding borrows from the
//! datagram, never copies a payload, and never panics, whatever the octets. Every packet that can
//! be constructed can be encoded, and decodes to the same packet again.
//!
//! ```
//! use stagecoach::wire::Packet;
//!
//! let packet = Packet::decode(b"\x00\x03\x00\x01hello").unwrap();
//! assert_eq!(packet, Packet::Data { block: 1, payload: b"hello" });
//! assert_eq!(packet.to_bytes(), b"\x00\x03\x00\x01hello");
//! ```

mod decode_error;
mod error_code;
pub mod netascii;
mod opcode;
mod options;
mod packet;
mod request;
mod text;

pub use self::decode_error::DecodeError;
pub use self::error_code::ErrorCode;
pub use self::opcode::Opcode;
pub use self::options::{Options, decimal};
pub use self::packet::Packet;
pub use self::request::{Direction, Mode, Request, UnknownMode};
pub use self::text::Text;
pub(crate) use self::text::escaped;
