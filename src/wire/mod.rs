//! Encoding and decoding of packets.
//!
//! Decoding borrows from the datagram, never copies a payload, and never panics, whatever the
//! octets. Every [`Packet`] can be encoded, and decodes to the same packet again.
//!
//! ```
//! use stagecoach::wire::Packet;
//!
//! let packet = Packet::decode(b"\x00\x03\x00\x01hello").unwrap();
//! assert_eq!(packet, Packet::Data { block: 1, payload: b"hello" });
//! assert_eq!(packet.to_bytes(), b"\x00\x03\x00\x01hello");
//! ```

mod codes;
pub mod netascii;
mod options;
mod packet;
mod request;
mod text;

pub use self::codes::{DecodeError, ErrorCode, Opcode};
pub use self::options::{Options, decimal};
pub use self::packet::Packet;
pub use self::request::{Direction, Mode, Request, UnknownMode};
pub use self::text::Text;
pub(crate) use self::text::escaped;
