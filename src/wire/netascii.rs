//! netascii: lines end in CR LF on the wire, and a CR that ends none is followed by NUL (RFC 1350 §1 points to
//! RFC 764, the NVT of telnet).
//!
//! The converters take a stream in pieces of any size and append to a buffer. Cutting the stream elsewhere never
//! changes what comes out, so that neither blocks nor slabs have to fall between lines.
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
/// What becomes of an octet depends on that octet alone, so there is no state to carry and nothing to finish. It is
/// passed like a [`Decoder`] all the same: who converts need not know which way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoder {}

impl Encoder {
    /// Appends the netascii of `octets` to `out`: at least as many octets, at most twice as many.
    ///
    /// LF becomes CR LF, and every CR becomes CR NUL, one before a LF too: so a file comes back as it was, even
    /// where its lines ended in CR LF before. Octets from 0x80 on pass unchanged ("8 bit ascii").
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
/// A clone taken between two pieces goes on from there as the original would: it is all that a transfer must keep
/// to be resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoder {
    /// The last octet was a CR, and what it means depends on the next. It is not in the output yet.
    cr_pending: bool,
}

impl Decoder {
    /// Appends to `out` the file's octets that `octets` stand for: at most one more, if a CR was waiting.
    ///
    /// CR LF becomes LF, CR NUL becomes CR. No RFC lets anything else follow a CR, but files that were never
    /// converted are sent as netascii by some: both octets are kept then, rather than losing either.
    pub fn decode(&mut self, octets: &[u8], out: &mut BytesMut) {
        out.reserve(octets.len() + usize::from(self.cr_pending));
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            if self.cr_pending {
                self.cr_pending = false;
                match first {
                    LF => out.put_u8(LF),
                    NUL => out.put_u8(CR),
                    // Not taken yet: it may be a CR itself, that waits for its own LF or NUL.
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

    /// Ends the stream: a CR that was its very last octet is kept. The decoder is then as new.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if std::mem::take(&mut self.cr_pending) {
            out.put_u8(CR);
        }
    }
}

#[cfg(test)]
mod tests;
