//! netascii: lines end in CR LF on the wire, and any other CR is followed by NUL (RFC 1350 §1
//! refers to RFC 764, the NVT of telnet). The converters take a stream in pieces of any size: the
//! output does not depend on where the stream is cut.
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

/// Turns the octets of a file into netascii. Each octet is converted on its own, so the encoder has
/// no state; it is a value so that callers handle it like a [`Decoder`].
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
        for line in octets.split_inclusive(|&octet| octet == CR || octet == LF) {
            let (plain, end): (_, &[u8]) = match line {
                [plain @ .., LF] => (plain, &[CR, LF]),
                [plain @ .., CR] => (plain, &[CR, NUL]),
                plain => (plain, &[]),
            };
            out.put_slice(plain);
            out.put_slice(end);
        }
    }
}

/// Turns netascii into the octets of a file. A clone continues as the original would.
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
        for line in octets.split_inclusive(|&octet| octet == CR) {
            let (end_of_pair, rest): (&[u8], _) = match line {
                _ if !self.cr_pending => (&[], line),
                [LF, rest @ ..] => (&[LF], rest),
                [NUL, rest @ ..] => (&[CR], rest),
                // The octet may be a CR that needs its own LF or NUL.
                _ => (&[CR], line),
            };
            let plain = rest.strip_suffix(&[CR]).unwrap_or(rest);
            out.put_slice(end_of_pair);
            out.put_slice(plain);
            self.cr_pending = plain.len() < rest.len();
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
