//! The bodies of the fuzz targets. `tests/fuzz_corpus.rs` runs them over the kept corpus.

#![allow(dead_code, unused_imports, reason = "each target uses one of them")]

mod machine;

pub(crate) use self::machine::machine;
use stagecoach::internals::transfer::{Offer, negotiate};
use stagecoach::wire::{Packet, netascii};

/// Octets are a packet or not. A parsed packet is written with the same octets, and parsed again to
/// an equal packet.
pub(crate) fn packet(octets: &[u8]) {
    let Ok(packet) = Packet::decode(octets) else { return };
    let written = packet.to_bytes();
    assert_eq!(Packet::decode(&written).as_ref(), Ok(&packet));
}

/// The options in the answer to a request are options of the request, in its spelling and order,
/// and fit an OACK.
pub(crate) fn request(octets: &[u8]) {
    let opcode = 1 + octets.first().map_or(0, |octet| octet % 2);
    let octets = [&[0, opcode], octets].concat();
    let Ok(Packet::Request(request)) = Packet::decode(&octets) else { return };
    let _ = format!("{} {} {}", request.filename(), request.mode, request.options);
    for (strict, size) in [(false, None), (false, Some(u64::MAX)), (true, Some(0))] {
        let mut offer = Offer::default();
        offer.strict = strict;
        let Ok(agreement) = negotiate(&request, &offer, size) else { continue };
        let mut asked = request.options.iter();
        for (name, _) in agreement.accepted.iter() {
            assert!(asked.any(|(other, _)| other == name), "{name} was not asked for, or not there");
        }
        assert!(agreement.oack().is_none_or(|oack| oack.len() <= 512));
        assert!((1..=3).contains(&agreement.allowance(&request)));
        assert!(agreement.terms.blksize >= 8 && agreement.terms.windowsize >= 1);
    }
}

/// The same for a read and a write with a valid name and mode, so that all octets are options.
pub(crate) fn options(octets: &[u8]) {
    for name in ["name", "other"] {
        request(&[name.as_bytes(), b"\0octet\0", octets].concat());
    }
}

/// A text is converted to the same octets in whatever pieces it arrives, and back to itself.
pub(crate) fn netascii(octets: &[u8]) {
    let Some((&size, text)) = octets.split_first() else { return };
    let (mut whole, mut pieces) = (bytes::BytesMut::new(), bytes::BytesMut::new());
    netascii::Encoder::default().encode(text, &mut whole);
    let mut encoder = netascii::Encoder::default();
    text.chunks(usize::from(size).max(1)).for_each(|piece| encoder.encode(piece, &mut pieces));
    assert_eq!(whole, pieces);
    let mut decoder = netascii::Decoder::default();
    let mut back = bytes::BytesMut::new();
    whole.chunks(usize::from(size).max(1)).for_each(|piece| decoder.decode(piece, &mut back));
    decoder.finish(&mut back);
    assert_eq!(back, text);
}
