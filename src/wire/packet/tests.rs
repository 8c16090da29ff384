use proptest::collection::vec;
use proptest::prelude::*;

use super::{DecodeError, Opcode, Packet};
use crate::wire::{Direction, ErrorCode, Mode, Options, Request, Text};

fn text(octets: &str) -> Text<'_> {
    Text::new(octets.as_bytes()).unwrap()
}

fn options(pairs: &[(&'static str, &'static str)]) -> Options<'static> {
    let mut options = Options::new();
    for (name, value) in pairs {
        assert!(options.push(text(name), text(value)));
    }
    options
}

fn request(
    direction: Direction,
    mode: Mode<'static>,
    pairs: &[(&'static str, &'static str)],
) -> Packet<'static> {
    Packet::Request(Request::new(direction, text("f"), mode, options(pairs)).unwrap())
}

#[test]
fn golden_octets_of_every_packet() {
    let table = [
        ("R1350-01", request(Direction::Read, Mode::Octet, &[]), &b"\0\x01f\0octet\0"[..]),
        ("R1350-02", request(Direction::Write, Mode::Netascii, &[]), b"\0\x02f\0netascii\0"),
        (
            "R2347-01",
            request(Direction::Read, Mode::Octet, &[("blksize", "1428"), ("tsize", "0")]),
            b"\0\x01f\0octet\0blksize\x001428\0tsize\x000\0",
        ),
        ("R1350-20", Packet::Data { block: 1, payload: b"abc" }, b"\0\x03\0\x01abc"),
        ("R1350-21", Packet::Data { block: 2, payload: b"" }, b"\0\x03\0\x02"),
        ("R1350-02", Packet::Ack { block: 0 }, b"\0\x04\0\0"),
        ("LORE-01", Packet::Ack { block: 65535 }, b"\0\x04\xff\xff"),
        (
            "R1350-50",
            Packet::Error { code: ErrorCode::FILE_NOT_FOUND, message: text("File not found") },
            b"\0\x05\0\x01File not found\0",
        ),
        ("R2347-04", Packet::Oack(options(&[("TSize", "5368709120")])), b"\0\x06TSize\x005368709120\0"),
        ("R2347-04", Packet::Oack(Options::new()), b"\0\x06"),
    ];
    for (clause, packet, octets) in table {
        assert_eq!(packet.to_bytes(), octets, "{clause}");
        assert_eq!(Packet::decode(octets).as_ref(), Ok(&packet), "{clause}");
    }
}

#[test]
fn opcodes_are_those_of_the_rfcs() {
    let opcodes = [Opcode::Rrq, Opcode::Wrq, Opcode::Data, Opcode::Ack, Opcode::Error, Opcode::Oack];
    assert_eq!(opcodes.map(|opcode| opcode as u16), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn mal_01_to_04_what_is_no_request_is_refused() {
    let table: [(&str, &[u8]); 9] = [
        ("MAL-01: no NUL at all", b"\0\x01ab"),
        ("MAL-01: no NUL after the mode", b"\0\x01ab\0octet"),
        ("MAL-02: no filename", b"\0\x01\0octet\0"),
        ("MAL-02: no mode", b"\0\x01ab\0\0"),
        ("MAL-02: neither", b"\0\x02\0\0"),
        ("MAL-03: the datagram ends after the filename", b"\0\x01ab\0"),
        ("MAL-03: WRQ too", b"\0\x02ab\0"),
        ("an option list instead of a mode", b"\0\x01ab\0\0blksize\x008\0"),
        ("a name of 500 octets without an end", &[&b"\0\x01"[..], &[b'a'; 500]].concat()),
    ];
    for (what, octets) in table {
        assert!(matches!(Packet::decode(octets), Err(DecodeError::Malformed(_))), "{what}");
    }
}

#[test]
fn mal_04_runts_are_no_packets() {
    for octets in [&b""[..], b"\0", b"\0\x01", b"\0\x03", b"\0\x03\0", b"\0\x04\0", b"\0\x05\0", b"\0\x06a"] {
        assert_eq!(Packet::decode(octets), Err(DecodeError::Short), "{octets:?}");
    }
}

#[test]
fn r1350_54_opcodes_that_nobody_knows() {
    for opcode in [0, 7, 8, 9, 255, 256, 0x0100, 0x0300, 65535_u16] {
        let octets = [&opcode.to_be_bytes()[..], b"\0\0"].concat();
        assert_eq!(Packet::decode(&octets), Err(DecodeError::UnknownOpcode(opcode)));
    }
}

#[test]
fn r1350_29_octets_after_an_ack_are_ignored() {
    for extra in [0, 1, 2, 100] {
        let octets = [&b"\0\x04\0\x07"[..], &vec![0xff; extra]].concat();
        assert_eq!(Packet::decode(&octets), Ok(Packet::Ack { block: 7 }), "{extra} octets (MS-03)");
    }
}

#[test]
fn r1350_53_an_error_is_read_however_its_text_ends() {
    let table: [(&[u8], &[u8]); 5] = [
        (b"\0\x05\0\x08", b""),
        (b"\0\x05\0\x08\0", b""),
        (b"\0\x05\0\x08User aborted", b"User aborted"),
        (b"\0\x05\0\x08User aborted\0", b"User aborted"),
        (b"\0\x05\0\x08\xff\x1b[2J\0junk", b"\xff\x1b[2J"),
    ];
    for (octets, expected) in table {
        let Ok(Packet::Error { code, message }) = Packet::decode(octets) else { panic!("{octets:?}") };
        assert_eq!((code, message.as_bytes()), (ErrorCode::OPTION_NEGOTIATION, expected));
    }
}

#[test]
fn r2347_04_an_oack_with_trailing_garbage_is_read() {
    // R2347-04: syslinux and iPXE had to accept such OACKs.
    let Ok(Packet::Oack(options)) = Packet::decode(b"\0\x06blksize\x001408\0\0\0\0garbage") else { panic!() };
    assert_eq!(options.to_string(), "blksize=1408");
}

#[test]
fn errors_say_what_is_wrong() {
    let said = |octets| Packet::decode(octets).unwrap_err().to_string();
    assert_eq!(said(b"\0"), "the datagram is shorter than four octets");
    assert_eq!(said(b"\0\x09ab"), "opcode 9 is none of TFTP's");
    assert_eq!(said(b"\0\x01ab"), "malformed request: no NUL ends the filename");
    assert_eq!(said(b"\0\x01ab\0octet"), "malformed request: no NUL ends the mode");
    assert_eq!(said(b"\0\x01\0octet\0"), "malformed request: the filename is empty");
    assert_eq!(said(b"\0\x01f\0\0"), "malformed request: the mode is empty");
}

/// Lengths of filenames, modes, option names and values that overran fixed buffers in other
/// implementations (CVE classes A and B: a buffer for each field, and one for the OACK).
#[test]
fn fields_of_odd_lengths_are_read_whole_or_refused() {
    for length in [1, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 2000, 4096, 65_000] {
        let long = "x".repeat(length);
        for octets in [
            format!("\0\x01{long}\0octet\0"),
            format!("\0\x01f\0{long}\0"),
            format!("\0\x01f\0octet\0{long}\x001\0"),
            format!("\0\x01f\0octet\0blksize\0{long}\0"),
        ] {
            let packet = Packet::decode(octets.as_bytes()).unwrap();
            assert_eq!(packet.to_bytes(), octets.as_bytes(), "a field of {length} octets");
            let unended = &octets.as_bytes()[..octets.len() - 1];
            match Packet::decode(unended) {
                Ok(packet) => assert!(packet.to_bytes().len() < unended.len()),
                Err(error) => assert!(matches!(error, DecodeError::Malformed(_))),
            }
        }
    }
}

fn any_text(least: usize) -> impl Strategy<Value = Text<'static>> {
    vec(1..=255_u8, least..40).prop_map(|octets| Text::new(octets).unwrap())
}

fn any_options() -> impl Strategy<Value = Options<'static>> {
    vec((any_text(1), any_text(0)), 0..40).prop_map(|pairs| {
        let mut options = Options::new();
        for (name, value) in pairs {
            options.push(name, value);
        }
        options
    })
}

fn any_request() -> impl Strategy<Value = Request<'static>> {
    let direction = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
    let known = prop_oneof![Just("octet"), Just("NETASCII"), Just("mail")].prop_map(text);
    let mode = prop_oneof![known, any_text(1)];
    (direction, any_text(1), mode, any_options()).prop_map(|(direction, filename, mode, options)| {
        Request::new(direction, filename, Mode::from_text(mode).unwrap(), options).unwrap()
    })
}

/// Any packet but DATA, which borrows its payload.
fn any_packet() -> impl Strategy<Value = Packet<'static>> {
    prop_oneof![
        any_request().prop_map(Packet::Request),
        any::<u16>().prop_map(|block| Packet::Ack { block }),
        (any::<u16>(), any_text(0))
            .prop_map(|(code, message)| Packet::Error { code: ErrorCode(code), message }),
        any_options().prop_map(Packet::Oack),
    ]
}

proptest! {
    #[test]
    fn whatever_can_be_said_is_understood(packet in any_packet()) {
        let octets = packet.to_bytes();
        prop_assert_eq!(Packet::decode(&octets), Ok(packet));
    }

    #[test]
    fn a_block_arrives_as_it_was_sent(block: u16, payload in vec(any::<u8>(), 0..1500)) {
        let packet = Packet::Data { block, payload: &payload };
        let octets = packet.to_bytes();
        prop_assert_eq!(Packet::decode(&octets), Ok(packet));
    }

    #[test]
    fn no_datagram_can_make_a_server_panic(octets in vec(any::<u8>(), 0..600)) {
        let _ = Packet::decode(&octets);
    }

    #[test]
    fn what_is_read_is_written_and_read_alike(opcode in 1..=6_u8, rest in vec(any::<u8>(), 0..200)) {
        let octets = [&[0, opcode][..], &rest].concat();
        if let Ok(packet) = Packet::decode(&octets) {
            let again = packet.to_bytes();
            prop_assert_eq!(Packet::decode(&again), Ok(packet));
        }
    }

    /// MAL-12: valid packets with a few octets changed, cut, or put in.
    #[test]
    fn no_damaged_packet_can_make_a_server_panic(
        packet in any_packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut octets = packet.to_bytes();
        for (at, octet, how) in damage {
            let at = at.index(octets.len().max(1)).min(octets.len());
            match how {
                0 if at < octets.len() => octets[at] = octet,
                1 => octets.truncate(at),
                _ => octets.insert(at, octet),
            }
        }
        if let Ok(packet) = Packet::decode(&octets) {
            let again = packet.to_bytes();
            prop_assert_eq!(Packet::decode(&again), Ok(packet));
        }
    }

    #[test]
    fn an_owned_request_is_the_same(request in any_request()) {
        let octets = Packet::Request(request.clone()).to_bytes();
        let Ok(Packet::Request(read)) = Packet::decode(&octets) else { panic!() };
        prop_assert_eq!(read.into_owned(), request);
    }
}
