//! netascii: lines end in CR LF on the wire, and any other CR is followed by NUL (RFC 1350 §1
//! refers to RFC 764, the NVT of telnet).
//!
//! The converters take a stream in pieces of any size and append to a buffer. The output does not
//! depend on where the stream is cut, so blocks and slabs may end within a line.
//!
//! ```
//! use bytes::BytesMut;
//! use stagecoach::wire::netascii::{Decoder, Encoder};
//!
//! let mut wire = BytesMut::new();
//! Encoder::default().encode(b"a\nb\r", &mut wire);
//! assert_eq!(&wire[..], b"a\r\nb\r\0");
//!
//! // A block may end between the CR and its LF.
//! let (mut decoder, mut file) = (Decoder::default(), BytesMut::new());
//! decoder.decode(&wire[..2], &mut file);
//! decoder.decode(&wire[2..], &mut file);
//! decoder.finish(&mut file);
//! assert_eq!(&file[..], b"a\nb\r");
//! ```

use bytes::{BufMut, BytesMut};

const NUL: u8 = 0;
const LF: u8 = b'\n';
const CR: u8 = b'\r';

/// Turns the octets of a file into netascii.
///
/// Each octet is converted on its own, so the encoder has no state and needs no end. It is a value
/// all the same, so that callers handle it like a [`Decoder`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoder {}

impl Encoder {
    /// Appends the netascii of `octets` to `out`: at least as many octets, at most twice as many.
    ///
    /// LF becomes CR LF. Every CR becomes CR NUL, even before a LF, so a file with CR LF line ends
    /// is restored exactly. Octets from 0x80 on are unchanged ("8 bit ascii").
    pub fn encode(&mut self, octets: &[u8], out: &mut BytesMut) {
        out.reserve(octets.len());
        let mut rest = octets;
        while let Some(plain) = rest.iter().position(|&octet| octet == CR || octet == LF) {
            out.put_slice(&rest[..plain]);
            out.put_slice(if rest[plain] == LF { &[CR, LF] } else { &[CR, NUL] });
            rest = &rest[plain + 1..];
        }
        out.put_slice(rest);
    }
}

/// Turns netascii into the octets of a file.
///
/// A clone taken between two pieces continues as the original would. A transfer that can be resumed
/// saves nothing else of its decoder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoder {
    /// The last octet was a CR. Its meaning depends on the next octet, so it was not output yet.
    cr_pending: bool,
}

impl Decoder {
    /// Appends the file's octets for `octets` to `out`: at most as many, and one more if a CR was
    /// pending.
    ///
    /// CR LF becomes LF, CR NUL becomes CR. No RFC allows another octet after a CR, but some
    /// clients send unconverted files as netascii. Both octets are kept then.
    pub fn decode(&mut self, octets: &[u8], out: &mut BytesMut) {
        out.reserve(octets.len() + usize::from(self.cr_pending));
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            if self.cr_pending {
                self.cr_pending = false;
                match first {
                    LF => out.put_u8(LF),
                    NUL => out.put_u8(CR),
                    // Not consumed yet: the octet may be a CR that needs its own LF or NUL.
                    _ => {
                        out.put_u8(CR);
                        continue;
                    }
                }
                rest = &rest[1..];
                continue;
            }
            let plain = rest.iter().position(|&octet| octet == CR).unwrap_or(rest.len());
            out.put_slice(&rest[..plain]);
            self.cr_pending = plain < rest.len();
            rest = rest.get(plain + 1..).unwrap_or_default();
        }
    }

    /// Ends the stream: a pending CR is kept. The decoder can then be used for a new stream.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.cr_pending) {
            out.put_u8(CR);
        }
    }
}

#[cfg(test)]
mod tests;
