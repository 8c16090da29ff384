use super::{Direction, Mode, Request};
use crate::wire::{Options, Packet, Text};

fn decode(octets: &[u8]) -> Request<'_> {
    match Packet::decode(octets) {
        Ok(Packet::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// Every way of writing `word` in small and capital letters.
fn spellings(word: &str) -> Vec<String> {
    (0..1_u32 << word.len())
        .map(|capitals| {
            let letter = |(at, letter): (usize, char)| match capitals >> at & 1 {
                0 => letter,
                _ => letter.to_ascii_uppercase(),
            };
            word.chars().enumerate().map(letter).collect()
        })
        .collect()
}

#[test]
fn r1350_11_modes_are_known_in_every_spelling() {
    for (word, mode) in [("octet", Mode::Octet), ("netascii", Mode::Netascii), ("mail", Mode::Mail)] {
        for spelling in spellings(word) {
            assert_eq!(decode(format!("\0\x01f\0{spelling}\0").as_bytes()).mode, mode, "{spelling}");
        }
    }
}

#[test]
fn r1350_14_other_modes_are_kept_as_they_came() {
    for word in ["binary", "image", "octet ", "octe", "octets", "\u{ff4f}ctet", "Binary"] {
        let octets = format!("\0\x01f\0{word}\0");
        let mode = decode(octets.as_bytes()).mode;
        assert!(matches!(mode, Mode::Unknown(_)), "{word}");
        assert_eq!(mode.as_bytes(), word.as_bytes());
    }
}

#[test]
fn mal_08_names_are_octets_and_escaped_for_people() {
    let request = decode(b"\0\x01caf\xe9\x1b\n\0octet\0");
    assert_eq!(request.filename().as_bytes(), b"caf\xe9\x1b\n");
    assert_eq!(request.filename().to_string(), r"caf\xe9\x1b\n");
}

#[test]
fn mal_07_10_long_names_are_never_cut() {
    for length in [255, 256, 511, 512, 1500, 2048] {
        let name = "n".repeat(length);
        assert_eq!(decode(format!("\0\x02{name}\0octet\0").as_bytes()).filename().as_bytes().len(), length);
    }
}

#[test]
fn mal_05_06_a_damaged_option_spoils_no_request() {
    for tail in ["tsize", "tsize\0", "tsize\x000", "\0", "\0\0\0", "\u{7f}"] {
        let octets = format!("\0\x01f\0octet\0blksize\x001024\0{tail}");
        let request = decode(octets.as_bytes());
        assert_eq!(request.options.to_string(), "blksize=1024", "{tail:?}");
    }
}

#[test]
fn a_request_for_nothing_cannot_be_made() {
    let new = |name: &'static str, mode: &'static str| {
        let (name, mode) = (Text::new(name.as_bytes()).unwrap(), Text::new(mode.as_bytes()).unwrap());
        Request::new(Direction::Read, name, Mode::from_text(mode)?, Options::new())
    };
    assert!(new("f", "octet").is_some());
    assert!(new("", "octet").is_none());
    assert!(new("f", "").is_none());
}

#[test]
fn directions_are_named_for_what_the_client_does() {
    let directions = [decode(b"\0\x01f\0octet\0"), decode(b"\0\x02f\0octet\0")].map(|it| it.direction);
    assert_eq!(directions, [Direction::Read, Direction::Write]);
    assert_eq!(directions.map(|it| it.to_string()), ["read", "write"]);
    assert_eq!(format!("{:>6}", Direction::Read), "  read");
}
