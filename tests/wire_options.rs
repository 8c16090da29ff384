//! Options in requests and their answers: RFC 2347, 2348, 2349 and 7440, and options without an
//! RFC.

mod common;

use std::time::{Duration, Instant};

use common::content::sparse_file;
use common::raw::{self, Client, Packet, ack, data, rrq, wrq};
use common::served::{GOOD, Served, read_from};

const QUIET: Duration = Duration::from_millis(300);

type Options<'a> = &'a [(&'a str, &'a str)];

fn pairs(options: Options) -> Vec<(String, String)> {
    options.iter().map(|&(name, value)| (name.into(), value.into())).collect()
}

/// Asks for `GOOD` and compares the OACK. Without granted options, DATA 1 or ACK 0 must come
/// instead of an OACK.
fn negotiates(served: &Served, asked: Options, granted: Options) {
    for (request, write) in [(rrq(GOOD, "octet", asked), false), (wrq("new", "octet", asked), true)] {
        let mut client = served.ask(&request);
        let wanted = |packet: &Packet| match packet {
            Packet::Oack(options) => *options == pairs(granted) && !granted.is_empty(),
            Packet::Data { block: 1, payload } => granted.is_empty() && !write && payload.len() == 512,
            Packet::Ack { block: 0, .. } => granted.is_empty() && write,
            _ => false,
        };
        let packet = client.next();
        assert!(wanted(&packet), "{asked:?} (write: {write}) is answered by {}", packet.brief());
        client.send(&raw::error(0, "that is all"));
    }
}

/// R2347-01, -02, -03, -05, -06, -07, -08, -13, -16, -17; R2348-01, -02; R2349-01; R7440-01, -02;
/// R2090-01; MS-02; LORE-03, -07, -08.
#[test]
fn no_option_is_refused() {
    let served = Served::new(&[]);
    let same: &[Options] = &[
        &[("blksize", "8")],
        &[("blksize", "9")],
        &[("blksize", "511")],
        &[("blksize", "512")],
        &[("blksize", "1428")],
        &[("blksize", "65464")],
        &[("BlKsIzE", "1024")],
        &[("timeout", "1")],
        &[("timeout", "255")],
        &[("windowsize", "1")],
        &[("windowsize", "64")],
        &[("utimeout", "10000")],
        &[("utimeout", "255000000")],
        &[("blksize2", "8")],
        &[("blksize2", "1024")],
        &[("rollover", "0")],
        &[("rollover", "1")],
        // The OACK keeps the client's order and spelling.
        &[("timeout", "2"), ("WINDOWSIZE", "4"), ("blksize", "1024")],
        &[("blksize", "1024"), ("timeout", "2"), ("WINDOWSIZE", "4")],
        &[("WindowSize", "4"), ("blksize", "1024"), ("Timeout", "2")],
    ];
    for options in same {
        negotiates(&served, options, options);
    }
    let lowered: &[(Options, Options)] = &[
        (&[("blksize", "65465")], &[("blksize", "65464")]),
        (&[("blksize", "70000")], &[("blksize", "65464")]),
        (&[("blksize", "4294967808")], &[("blksize", "65464")]),
        (&[("blksize", "18446744073709551615")], &[("blksize", "65464")]),
        (&[("windowsize", "65")], &[("windowsize", "64")]),
        (&[("windowsize", "65535")], &[("windowsize", "64")]),
        (&[("blksize2", "1000")], &[("blksize2", "512")]),
        (&[("blksize2", "65464")], &[("blksize2", "32768")]),
        // Leading zeros are accepted, and not repeated in the OACK.
        (&[("BLKSIZE", "001024")], &[("BLKSIZE", "1024")]),
        (&[("timeout", "0003")], &[("timeout", "3")]),
        // Of two options with one name, the first counts.
        (&[("blksize", "512"), ("blksize", "1024")], &[("blksize", "512")]),
        (&[("blksize", "1024"), ("BLKSIZE", "512")], &[("blksize", "1024")]),
        (&[("blksize", "1024"), ("blksize2", "512")], &[("blksize", "1024")]),
        (&[("blksize2", "512"), ("blksize", "1024")], &[("blksize2", "512")]),
        (&[("utimeout", "500000"), ("timeout", "1")], &[("utimeout", "500000")]),
        // An empty value ends nothing, as RFC 2090 asks. The server does not offer multicast.
        (&[("multicast", ""), ("blksize", "1024")], &[("blksize", "1024")]),
        (&[("foo", "bar"), ("timeout", "9"), ("x", "")], &[("timeout", "9")]),
        // Microsoft's loader: the OACK never copies `msftwindow`.
        (
            &[("blksize", "1456"), ("windowsize", "4"), ("msftwindow", "31416")],
            &[("blksize", "1456"), ("windowsize", "4")],
        ),
        // An option that can't be granted does not affect the others.
        (&[("blksize", "7"), ("timeout", "5")], &[("timeout", "5")]),
    ];
    for (asked, granted) in lowered {
        negotiates(&served, asked, granted);
    }
    let left_out: &[Options] = &[
        &[("foo", "bar")],
        &[("multicast", "")],
        &[("msftwindow", "31416")],
        &[("blksize", "0")],
        &[("blksize", "1")],
        &[("blksize", "7")],
        &[("blksize2", "7")],
        &[("timeout", "0")],
        &[("timeout", "256")],
        &[("utimeout", "9999")],
        &[("utimeout", "255000001")],
        &[("windowsize", "0")],
        &[("rollover", "2")],
        &[("rollover", "65535")],
    ];
    for options in left_out {
        negotiates(&served, options, &[]);
    }
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn opt_01_values_that_are_no_numbers_are_left_out() {
    let served = Served::new(&[]);
    let junk = [
        "",
        "+8",
        "-1",
        " 8",
        "8 ",
        "0x200",
        "1e3",
        "８",
        "12abc",
        "abc",
        "8.0",
        "1,024",
        "000000000000000000512",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{1}",
        "8\n",
    ];
    for option in ["blksize", "blksize2", "timeout", "utimeout", "windowsize", "tsize", "rollover"] {
        for value in junk {
            negotiates(&served, &[(option, value)], &[]);
        }
    }
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn strict_answers_bad_values_with_error_8() {
    let served = Served::new(&["--strict"]);
    let bad = [
        ("blksize", "7"),
        ("blksize", "65465"),
        ("blksize", "abc"),
        ("timeout", "0"),
        ("timeout", "256"),
        ("windowsize", "0"),
        ("windowsize", "65536"),
        ("tsize", "-1"),
        ("blksize", ""),
    ];
    for option in bad {
        for request in [rrq(GOOD, "octet", &[option]), wrq("new", "octet", &[option])] {
            let text = served.ask(&request).expect_error(8);
            assert_eq!(text, "Failure to negotiate RFC2347 options", "{option:?}");
        }
    }
    // An unknown option is no error (R2347-16). A valid option is granted.
    negotiates(&served, &[("foo", "bar"), ("blksize", "1024")], &[("blksize", "1024")]);
    negotiates(&served, &[("foo", "bar")], &[]);
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn r1785_01_without_options_the_server_is_rfc_1350() {
    let served = Served::new(&["--no-options"]);
    let five: Options =
        &[("blksize", "1024"), ("timeout", "2"), ("tsize", "0"), ("windowsize", "4"), ("rollover", "0")];
    negotiates(&served, five, &[]);
    negotiates(&served, &[("blksize", "junk")], &[]);
    served.still_serves();
}

#[test]
fn r2347_04_an_oack_has_the_octets_of_the_rfc() {
    let served = Served::new(&[]);
    let client = served.client();
    client.send(&rrq(GOOD, "octet", &[("TSize", "0"), ("foo", "1"), ("blkSIZE", "700")]));
    let mut buffer = [0; 600];
    client.socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (octets, _) = client.socket().recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[..octets], *b"\0\x06TSize\x001300\0blkSIZE\x00700\0");
    served.still_serves();
}

#[test]
fn r2347_09_no_data_before_ack_0() {
    let served = Served::new(&[]);
    for options in [&[("blksize", "512")][..], &[("windowsize", "4")]] {
        let mut client = served.offered(GOOD, options);
        client.expect_silence(QUIET);
        // An ACK that does not acknowledge the OACK changes nothing.
        client.send(&ack(1));
        client.send(&ack(65535));
        client.expect_silence(QUIET);
        client.send(&ack(0));
        assert_eq!(client.expect_data(1).len(), 512);
        client.drain(QUIET);
        client.send(&raw::error(0, "thank you"));
    }
    served.still_serves();
}

#[test]
fn r2347_10_an_oack_takes_the_place_of_ack_0() {
    let served = Served::new(&[]);
    let mut client = served.writing("new", &[("blksize", "16")]);
    client.expect_silence(QUIET);
    client.send(&data(1, b"sixteen octets.."));
    client.expect_ack(1);
    client.send(&data(2, b"."));
    client.expect_ack(2);
    assert_eq!(served.contents("new").as_deref(), Some(&b"sixteen octets..."[..]));
    served.still_serves();
}

#[test]
fn r2347_11_a_lost_oack_is_sent_again() {
    let served = Served::new(&["--ack-timeout", "0.1", "--timeout", "10"]);
    for request in [rrq(GOOD, "octet", &[("blksize", "600")]), wrq("new", "octet", &[("blksize", "600")])] {
        let mut client = served.ask(&request);
        let first = client.next();
        assert_eq!(first, Packet::Oack(pairs(&[("blksize", "600")])));
        assert_eq!(client.next(), first, "the same octets, from the same TID");
        client.send(&raw::error(0, "thank you"));
    }
    let mut client = served.reading(GOOD, &[("blksize", "600")]);
    client.expect_data(1);
    client.send(&ack(0));
    client.send(&ack(0));
    client.expect_silence(QUIET);
    client.send(&ack(1));
    client.expect_data(2);
    client.send(&ack(2));
    client.expect_data(3);
    client.send(&ack(3));
    served.still_serves();
}

/// R2347-12, CL-01, CL-02: boot ROMs ask for the size, and abort.
#[test]
fn a_size_probe_that_ends_with_an_error_is_no_failure() {
    let served = Served::new(&[]);
    served.still_serves();
    let before = served.daemon.open_descriptors();
    for (code, text) in [(8, "User aborted the transfer"), (0, "TFTP Aborted"), (3, "")] {
        let client = served.offered(GOOD, &[("tsize", "0"), ("blksize", "1468")]);
        client.send(&raw::error(code, text));
        client.expect_silence(QUIET);
        served.logged("read declined", GOOD);
    }
    served.descriptors_fall_to(before);
    let log = served.daemon.log();
    let of_transfers = log.lines().filter(|line| line.split(' ').nth(2) == Some("read"));
    assert!(of_transfers.clone().count() >= 4, "{log}");
    assert!(of_transfers.map(|line| line.split(' ').nth(1)).all(|level| level == Some("INFO")), "{log}");
    served.still_serves();
}

/// After an OACK, PXELINUX waits for ever at an ERROR.
#[test]
fn r2347_14_a_missing_file_is_refused_before_the_oack() {
    let served = Served::new(&[]);
    std::fs::create_dir(served.path("directory")).unwrap();
    let all: Options = &[("tsize", "0"), ("blksize", "1408"), ("windowsize", "4"), ("timeout", "5")];
    served.ask(&rrq("missing", "octet", all)).expect_error(1);
    served.ask(&rrq("directory", "octet", all)).expect_error(2);
    served.ask(&rrq("../outside", "octet", all)).expect_error(2);
    served.ask(&wrq(GOOD, "octet", all)).expect_error(6);
    served.ask(&wrq("missing/file", "octet", all)).expect_error(1);
    served.still_serves();
}

/// R2349-10, -11, -14, -15, -16.
#[test]
fn tsize_tells_the_true_size_of_files_of_any_size() {
    let served = Served::new(&[]);
    served.file("empty", b"");
    for (name, size) in
        [("empty", 0), ("2GiB", 1 << 31), ("4GiB", 1 << 32), ("more", (1 << 32) + 1), ("5GiB", 5 << 30)]
    {
        if size > 0 {
            sparse_file(&served.path(name), size);
        }
        // The client's own number has no more meaning than 0.
        for asked in ["0", "5"] {
            let mut client = served.ask(&rrq(name, "octet", &[("tsize", asked)]));
            assert_eq!(client.expect_oack(), [("tsize".into(), size.to_string())], "{name}");
            client.send(&raw::error(8, "User aborted the transfer"));
        }
    }
    // In netascii the size on the wire differs, so the server leaves the option out.
    let mut client = served.ask(&rrq(GOOD, "netascii", &[("tsize", "0"), ("blksize", "600")]));
    assert_eq!(client.expect_oack(), [("blksize".into(), "600".into())]);
    client.send(&raw::error(0, "thank you"));
    served.still_serves();
}

/// R2349-12, -13: the size of an upload is only the client's claim.
#[test]
fn a_wrong_tsize_of_an_upload_does_no_harm() {
    let served = Served::new(&[]);
    for (name, octets) in [("less", &[1u8; 5][..]), ("more", &[2; 600]), ("nothing", &[])] {
        let mut client = served.ask(&wrq(name, "octet", &[("tsize", "10")]));
        assert_eq!(client.expect_oack(), [("tsize".into(), "10".into())], "echoed as it was");
        for (number, block) in
            [&octets[..octets.len().min(512)], &octets[octets.len().min(512)..]].iter().enumerate()
        {
            if number == 0 || octets.len() >= 512 {
                client.send(&data(number as u16 + 1, block));
                client.expect_new_ack(number as u16 + 1);
            }
        }
        assert_eq!(served.contents(name).as_deref(), Some(octets), "{name}");
    }
    served.still_serves();
}

/// R2349-02: the interval that the client asked for, not the server's own. The upper bounds are
/// generous.
#[test]
fn a_negotiated_timeout_is_when_the_server_repeats() {
    let served = Served::new(&["--ack-timeout", "0.1"]);
    let patience = Duration::from_secs(8);
    for option in [("timeout", "1"), ("utimeout", "600000")] {
        let interval = if option.0 == "timeout" { 1000 } else { 600 };
        let mut client = served.ask(&rrq(GOOD, "octet", &[option]));
        client.expect_oack();
        client.send(&ack(0));
        client.expect_data(1);
        let sent = Instant::now();
        let (packet, _) = client.receive(patience).expect("it is sent again");
        assert!(matches!(packet, Packet::Data { block: 1, .. }), "{}", packet.brief());
        // A little less than the interval, as this end saw the first copy a little later than the
        // server sent it.
        let waited = sent.elapsed().as_millis();
        assert!(waited >= interval * 8 / 10, "{option:?}: after {waited} ms");
        client.send(&raw::error(0, "thank you"));
    }
    served.still_serves();
}

#[test]
fn r2348_04_the_block_size_holds_to_the_last_block() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
    served.file("file", &content);
    for blksize in ["8", "100", "1000", "3000", "3001"] {
        assert_eq!(served.read("file", "octet", &[("blksize", blksize)]), content, "{blksize}");
        served.write(blksize, "octet", &[("blksize", blksize)], &content);
        assert_eq!(served.contents(blksize).as_ref(), Some(&content), "{blksize}");
    }
    served.still_serves();
}

/// LORE-01, -03, -05: 0 follows block 65535, or 1 if the client asked for that. ACK 0 is then an
/// ordinary ACK.
#[test]
fn a_read_over_65535_blocks_uses_the_asked_rollover() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..65540u32 * 8 + 3).map(|n| (n ^ (n >> 8)) as u8).collect();
    served.file("long", &content);
    for (rollover, first_again) in [("0", 0u16), ("1", 1)] {
        let options = [("blksize", "8"), ("windowsize", "64"), ("rollover", rollover)];
        let mut client = served.reading("long", &options);
        let (mut octets, mut number) = (Vec::<u8>::new(), 0u16);
        for block in 1..=65541u32 {
            number = if number == 65535 { first_again } else { number + 1 };
            let payload = client.expect_data(number);
            octets.extend(&payload);
            if block.is_multiple_of(64) || payload.len() < 8 {
                client.send(&ack(number));
            }
        }
        assert!(octets == content, "rollover {rollover}");
    }
    served.still_serves();
}

/// LORE-04, D10: no option says which number follows 65535, so the server accepts both.
#[test]
fn an_upload_over_65535_blocks_goes_on_with_0_or_1() {
    let served = Served::new(&[]);
    std::thread::scope(|scope| {
        for (name, first_again) in [("zero", 0u16), ("one", 1)] {
            let served = &served;
            scope.spawn(move || {
                let mut client: Client = served.writing(name, &[("blksize", "8")]);
                let mut number = 0u16;
                for block in 1..=65538u32 {
                    number = if number == 65535 { first_again } else { number + 1 };
                    let payload = u64::from(block).to_be_bytes();
                    client.send(&data(number, if block == 65538 { &[] } else { &payload }));
                    client.expect_ack(number);
                }
                let written = served.contents(name).expect("it is published");
                let wanted: Vec<u8> = (1..65538u64).flat_map(u64::to_be_bytes).collect();
                assert!(written == wanted, "{name}");
            });
        }
    });
    served.still_serves();
}

#[test]
fn granted_options_hold_for_the_whole_transfer() {
    let served = Served::new(&[]);
    let mut client = served.ask(&rrq(GOOD, "octet", &[("foo", "1"), ("blksize", "100"), ("tsize", "0")]));
    assert_eq!(read_from(&mut client).len(), 1300);
    served.still_serves();
}
