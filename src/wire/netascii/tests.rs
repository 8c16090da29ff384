use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Decoder, Encoder};

fn encoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), BytesMut::new());
    pieces.into_iter().for_each(|piece| encoder.encode(piece, &mut out));
    out.to_vec()
}

fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut decoder, mut out) = (Decoder::default(), BytesMut::new());
    pieces.into_iter().for_each(|piece| decoder.decode(piece, &mut out));
    decoder.finish(&mut out);
    out.to_vec()
}

/// A reference decoder, which sees the whole stream at once.
fn decoded_by_the_book(wire: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut at = 0;
    while at < wire.len() {
        let (octet, taken) = match (wire[at], wire.get(at + 1)) {
            (b'\r', Some(b'\n')) => (b'\n', 2),
            (b'\r', Some(0)) => (b'\r', 2),
            (octet, _) => (octet, 1),
        };
        file.push(octet);
        at += taken;
    }
    file
}

/// Clause, octets of the file, octets on the wire; checked in both directions.
const BOTH_WAYS: &[(&str, &[u8], &[u8])] = &[
    ("R1350-40: the clause's own file", b"\x61\x0a\x62\x0d", b"\x61\x0d\x0a\x62\x0d\x00"),
    ("R1350-40: nothing", b"", b""),
    ("R1350-40: no line end at all", b"kernel", b"kernel"),
    ("R1350-40: LF alone", b"\n", b"\r\n"),
    ("R1350-40: CR alone", b"\r", b"\r\0"),
    ("R1350-40: lines that ended in CR LF already", b"a\r\nb\r\n", b"a\r\0\r\nb\r\0\r\n"),
    ("R1350-40: LF CR", b"\n\r", b"\r\n\r\0"),
    ("R1350-40: several in a row", b"\n\n\r\r", b"\r\n\r\n\r\0\r\0"),
    ("R1350-40: a NUL of the file is no part of a CR", b"a\0b\r\0", b"a\0b\r\0\0"),
    ("R1350-43: 8 bit ascii passes", b"\x80caf\xc3\xa9\xff\n", b"\x80caf\xc3\xa9\xff\r\n"),
];

/// Clause, octets on the wire that our encoder never makes, octets of the file.
const RECEIVED_ONLY: &[(&str, &[u8], &[u8])] = &[
    ("R1350-43: CR before another octet keeps both", b"a\rb", b"a\rb"),
    ("R1350-43: CR before 8 bit ascii keeps both", b"\r\xff", b"\r\xff"),
    ("R1350-43: CR as the very last octet is kept", b"a\r", b"a\r"),
    ("R1350-43: nothing but a CR", b"\r", b"\r"),
    ("R1350-43: the second CR belongs to its LF", b"\r\r\n", b"\r\n"),
    ("R1350-43: the second CR belongs to its NUL", b"\r\r\0", b"\r\r"),
    ("R1350-43: CRs to the end", b"\r\r\r", b"\r\r\r"),
    ("R1350-43: a LF without CR is kept", b"a\nb", b"a\nb"),
    ("R1350-43: a NUL without CR is kept", b"a\0b", b"a\0b"),
    ("R1350-43: the LF after a CR NUL stands alone", b"\r\0\n", b"\r\n"),
];

#[test]
fn golden_octets_both_ways() {
    for (clause, file, wire) in BOTH_WAYS {
        assert_eq!(encoded([*file]), *wire, "encoding, {clause}");
        assert_eq!(decoded([*wire]), *file, "decoding, {clause}");
    }
}

#[test]
fn golden_octets_from_clients_that_convert_badly() {
    for (clause, wire, file) in RECEIVED_ONLY {
        assert_eq!(decoded([*wire]), *file, "{clause}");
    }
}

#[test]
fn golden_octets_arrive_one_by_one() {
    for (clause, file, wire) in BOTH_WAYS {
        assert_eq!(encoded(file.chunks(1)), *wire, "encoding, {clause}");
        assert_eq!(decoded(wire.chunks(1)), *file, "decoding, {clause}");
    }
    for (clause, wire, file) in RECEIVED_ONLY {
        assert_eq!(decoded(wire.chunks(1)), *file, "{clause}");
    }
}

#[test]
fn r1350_41_a_line_end_may_straddle_two_blocks() {
    let mut file = vec![b'x'; 511];
    file.extend_from_slice(b"\ny");
    let wire = encoded([&file[..]]);
    let blocks: Vec<_> = wire.chunks(512).collect();
    assert_eq!(blocks[0][511], b'\r');
    assert_eq!(blocks[1], b"\ny");
    assert_eq!(decoded(blocks), file);
}

#[test]
fn r1350_41_block_fullness_counts_converted_octets() {
    assert_eq!(encoded([&[b'\n'; 256][..]]).len(), 512, "one full block, so an empty one has to follow");
}

#[test]
fn an_empty_piece_leaves_the_pending_cr_alone() {
    assert_eq!(decoded([&b"a\r"[..], b"", b"", b"\nb"]), b"a\nb");
}

#[test]
fn a_cr_that_waits_is_not_in_the_output_yet() {
    let (mut decoder, mut out) = (Decoder::default(), BytesMut::new());
    decoder.decode(b"a\r", &mut out);
    assert_eq!(&out[..], b"a");
    assert_ne!(decoder, Decoder::default());
}

#[test]
fn finishing_twice_adds_one_cr() {
    let (mut decoder, mut out) = (Decoder::default(), BytesMut::new());
    decoder.decode(b"\r", &mut out);
    decoder.finish(&mut out);
    decoder.finish(&mut out);
    assert_eq!(&out[..], b"\r");
    assert_eq!(decoder, Decoder::default());
}

#[test]
fn what_is_in_the_buffer_already_stays() {
    let mut out = BytesMut::from(&b"before\r"[..]);
    Encoder::default().encode(b"\n", &mut out);
    assert_eq!(&out[..], b"before\r\r\n");
    let mut out = BytesMut::from(&b"before\r"[..]);
    Decoder::default().decode(b"\n", &mut out);
    assert_eq!(&out[..], b"before\r\n");
}

/// Octets that matter to the converters, among runs of any octets.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop_oneof![Just(b'\r'), Just(b'\n'), Just(0)].prop_map(|octet| vec![octet]),
        1 => any::<u8>().prop_map(|octet| vec![octet]),
        1 => vec(any::<u8>(), 0..40),
    ];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Where a stream is cut. The same place twice makes an empty piece.
fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(stream.len());
    let mut from = 0;
    ends.into_iter().map(|end| &stream[std::mem::replace(&mut from, end)..end]).collect()
}

proptest! {
    #[test]
    fn a_file_comes_back_as_it_was(file in octets(), sent in cuts(), received in cuts()) {
        let wire = encoded(cut(&file, &sent));
        prop_assert_eq!(decoded(cut(&wire, &received)), file);
    }

    #[test]
    fn a_file_is_encoded_alike_however_it_is_cut(file in octets(), cuts in cuts()) {
        prop_assert_eq!(encoded(cut(&file, &cuts)), encoded([&file[..]]));
    }

    #[test]
    fn any_wire_is_decoded_by_the_book_however_cut(wire in octets(), cuts in cuts()) {
        prop_assert_eq!(decoded(cut(&wire, &cuts)), decoded_by_the_book(&wire));
    }

    #[test]
    fn no_bare_cr_and_no_bare_lf_is_sent(file in octets()) {
        let wire = encoded([&file[..]]);
        for (at, octet) in wire.iter().enumerate() {
            match octet {
                b'\r' => prop_assert!(matches!(wire.get(at + 1), Some(0 | b'\n')), "bare CR at {}", at),
                b'\n' => prop_assert!(at > 0 && wire[at - 1] == b'\r', "bare LF at {}", at),
                _ => {}
            }
        }
    }

    #[test]
    fn output_stays_within_its_bounds(octets in octets()) {
        let wire = encoded([&octets[..]]);
        prop_assert!((octets.len()..=2 * octets.len()).contains(&wire.len()));
        let file = decoded([&octets[..]]);
        prop_assert!(file.len() <= octets.len() && 2 * file.len() >= octets.len());
    }

    #[test]
    fn a_resumed_transfer_goes_on_from_a_clone(wire in octets(), at in any::<Index>()) {
        let (before, after) = wire.split_at(at.index(wire.len() + 1));
        let (mut first_life, mut file) = (Decoder::default(), BytesMut::new());
        first_life.decode(before, &mut file);
        let mut second_life = first_life.clone();
        // The clone must not see what the first decoder does later.
        first_life.decode(b"lost\r", &mut BytesMut::new());
        second_life.decode(after, &mut file);
        second_life.finish(&mut file);
        prop_assert_eq!(file.to_vec(), decoded_by_the_book(&wire));
    }
}
