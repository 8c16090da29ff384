//! The answer to each request: RFC 1350 §1, §2, §4, §5, RFC 906, and malformed requests (MAL-).

mod common;

use std::collections::HashSet;
use std::net::UdpSocket;
use std::time::Duration;

use common::raw::{self, Client, Packet, ack, data, rrq, wrq};
use common::served::{GOOD, Served};

const QUIET: Duration = Duration::from_millis(300);

#[test]
fn r1350_01_a_read_gets_block_1_from_a_new_port() {
    let served = Served::new(&[]);
    served.file("three", b"abc");
    let mut client = served.ask(b"\0\x01three\0octet\0");
    assert_eq!(client.expect_data(1), b"abc");
    assert_ne!(client.tid().port(), served.daemon.port(), "a TID of its own");
    client.send(&ack(1));
    client.expect_silence(QUIET);
    served.still_serves();
}

#[test]
fn r1350_02_a_write_gets_ack_0_and_nothing_else() {
    let served = Served::new(&["--ack-timeout", "2"]);
    let mut client = served.ask(b"\0\x02new\0octet\0");
    client.expect_ack(0);
    assert_ne!(client.tid().port(), served.daemon.port(), "a TID of its own");
    client.expect_silence(QUIET);
    client.send(&data(1, b"abc"));
    client.expect_new_ack(1);
    assert_eq!(served.contents("new").as_deref(), Some(&b"abc"[..]));
    served.still_serves();
}

#[test]
fn r1350_04_transfer_ids_are_not_sequential() {
    let served = Served::new(&[]);
    served.file("three", b"abc");
    let ports: Vec<u16> = (0..200)
        .map(|_| {
            let mut client = served.ask(&rrq("three", "octet", &[]));
            client.expect_data(1);
            client.send(&ack(1));
            client.tid().port()
        })
        .collect();
    let steps = || ports.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0]));
    assert!(steps().all(|step| step != 0), "a port is used twice in a row: {ports:?}");
    let small = steps().filter(|step| step.abs() <= 8).count();
    assert!(small < 20, "{small} of 200 ports are near the one before: {ports:?}");
    let distinct: HashSet<u16> = ports.iter().copied().collect();
    assert!(distinct.len() > 150, "only {} ports in 200 transfers", distinct.len());
    served.still_serves();
}

/// R1350-11, -12, -13, -14.
#[test]
fn modes_ignore_case_and_mail_is_refused() {
    let served = Served::new(&[]);
    served.file("line", b"a\n");
    let cases: &[(&str, Result<&[u8], u16>)] = &[
        ("octet", Ok(b"a\n")),
        ("OCTET", Ok(b"a\n")),
        ("OcTeT", Ok(b"a\n")),
        ("netascii", Ok(b"a\r\n")),
        ("NETASCII", Ok(b"a\r\n")),
        ("nEtAsCiI", Ok(b"a\r\n")),
        // D2: an unknown mode counts as octet.
        ("binary", Ok(b"a\n")),
        ("image", Ok(b"a\n")),
        ("mail", Err(4)),
        ("MAIL", Err(4)),
        ("", Err(4)),
    ];
    for &(mode, wanted) in cases {
        for (request, write) in [(rrq("line", mode, &[]), false), (wrq("to-nobody", mode, &[]), true)] {
            let mut client = served.ask(&request);
            match (wanted, write) {
                (Ok(octets), false) => assert_eq!(client.expect_data(1), octets, "{mode:?}"),
                (Ok(_), true) => client.expect_ack(0),
                (Err(code), _) => {
                    client.expect_error(code);
                }
            }
            client.send(&raw::error(0, "that is all"));
        }
    }
    served.holds_only(&["line"]);
    served.still_serves();
}

#[test]
fn r1350_14_strict_refuses_modes_that_no_rfc_has() {
    let served = Served::new(&["--strict"]);
    for mode in ["binary", "image", "octe", "octett", "mail"] {
        served.ask(&rrq(GOOD, mode, &[])).expect_error(4);
        served.ask(&wrq("new", mode, &[])).expect_error(4);
    }
    served.still_serves();
}

/// R1350-20, -21, -44 and R2348-04: the last block is the first short one, and may be empty.
#[test]
fn files_of_sizes_around_a_block_arrive_whole() {
    let served = Served::new(&["--ack-timeout", "5"]);
    for blksize in [8usize, 512, 1428, 65464] {
        let value = blksize.to_string();
        let options: &[_] = if blksize == 512 { &[] } else { &[("blksize", value.as_str())] };
        for size in [0, 1, blksize - 1, blksize, blksize + 1, 2 * blksize - 1, 2 * blksize, 2 * blksize + 1] {
            let content: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
            let name = format!("{blksize}-{size}");
            served.write(&name, "octet", options, &content);
            assert!(served.contents(&name).unwrap() == content, "written: {size} octets by {blksize}");
            assert!(served.read(&name, "octet", options) == content, "read: {size} octets by {blksize}");
        }
    }
    served.still_serves();
}

#[test]
fn r1350_21_an_empty_file_is_one_empty_block() {
    let served = Served::new(&[]);
    served.file("empty", b"");
    served.file("512", &[1; 512]);
    let mut client = served.ask(&rrq("empty", "octet", &[]));
    assert_eq!(client.next(), Packet::Data { block: 1, payload: vec![] });
    client.send(&ack(1));
    client.expect_silence(QUIET);
    let mut client = served.ask(&rrq("512", "octet", &[]));
    assert_eq!(client.expect_data(1), [1; 512]);
    client.send(&ack(1));
    assert_eq!(client.expect_new_data(2), b"");
    client.send(&ack(2));
    served.still_serves();
}

/// R906-01, -03: a boot ROM of 1984 accepts 516 octets, and knows no options.
#[test]
fn a_plain_request_never_gets_more_than_516_octets() {
    let served = Served::new(&[]);
    served.file("boot", &[3; 5000]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send_to(b"\0\x01boot\0octet\0", served.daemon.addr()).unwrap();
    let (mut buffer, mut next) = ([0; 2000], 1u16);
    while next <= 10 {
        let (octets, tid) = client.recv_from(&mut buffer).unwrap();
        assert!(octets <= 516, "{octets} octets");
        assert_eq!(buffer[..2], [0, 3]);
        if buffer[2..4] == next.to_be_bytes() {
            client.send_to(&ack(next), tid).unwrap();
            next += 1;
        }
    }
    served.still_serves();
}

/// Malformed requests, and the answer to each: exactly one ERROR, or silence.
#[test]
fn a_malformed_request_gets_one_error_or_silence() {
    let served = Served::new(&[]);
    let long = |octets: usize| {
        // An unknown option fills the request up to this length.
        let mut request = rrq(GOOD, "octet", &[]);
        request.extend(b"padding\0");
        request.resize(octets - 1, b'x');
        request.push(0);
        request
    };
    let raw = |octets: &[u8]| octets.to_vec();
    enum Gets {
        Error(u16),
        Silence,
        File,
    }
    use Gets::{Error, File, Silence};
    let cases: Vec<(&str, Vec<u8>, Gets)> = vec![
        ("MAL-01 no NUL after the name", raw(b"\0\x01ab"), Error(4)),
        ("MAL-01 no NUL after the mode", raw(b"\0\x01good.img\0octet"), Error(4)),
        ("MAL-01 write, no NUL at all", raw(b"\0\x02new"), Error(4)),
        ("MAL-02 no name", raw(b"\0\x01\0octet\0"), Error(4)),
        ("MAL-02 write, no name", raw(b"\0\x02\0octet\0"), Error(4)),
        ("MAL-02 no name, no mode", raw(b"\0\x01\0\0"), Error(4)),
        ("MAL-02 an empty mode", raw(b"\0\x01good.img\0\0"), Error(4)),
        ("MAL-03 the mode is missing", raw(b"\0\x01good.img\0"), Error(4)),
        ("MAL-04 nothing", raw(b""), Silence),
        ("MAL-04 one octet", raw(b"\0"), Silence),
        ("MAL-04 an opcode alone", raw(b"\0\x01"), Silence),
        ("MAL-04 three octets", raw(b"\0\x01g"), Silence),
        ("MAL-05 an option without a value", raw(b"\0\x01good.img\0octet\0blksize\0"), File),
        ("MAL-05 a value without a NUL", raw(b"\0\x01good.img\0octet\0blksize\x001024"), File),
        ("MAL-05 an option without a NUL", raw(b"\0\x01good.img\0octet\0blk"), File),
        ("MAL-06 a NUL too many", raw(b"\0\x01good.img\0octet\0\0"), File),
        ("MAL-06 many NULs", raw(b"\0\x01good.img\0octet\0\0\0\0\0\0\0\0"), File),
        ("MAL-06 rubbish after the mode", raw(b"\0\x01good.img\0octet\0\xff\x01\x80"), File),
        ("MAL-10 511 octets", long(511), File),
        ("MAL-10 512 octets", long(512), File),
        ("MAL-10 513 octets", long(513), File),
        ("MAL-10 1500 octets", long(1500), File),
        ("MAL-10 2048 octets", long(2048), File),
        ("MAL-10 2049 octets", long(2049), Error(4)),
        ("MAL-10 60000 octets", long(60000), Error(4)),
    ];
    let mut asked: Vec<(&str, Client)> = Vec::new();
    for (what, request, gets) in cases {
        let mut client = served.ask(&request);
        match gets {
            Error(code) => {
                let text = client.expect_error(code);
                assert!(!text.is_empty(), "{what}");
            }
            Silence => {}
            File => {
                let payload = client.expect_data(1);
                assert_eq!(payload.len(), 512, "{what}");
                client.send(&raw::error(0, "thank you"));
            }
        }
        asked.push((what, client));
    }
    // R1350-03: exactly one ERROR, and no packet after it.
    std::thread::sleep(Duration::from_millis(700));
    for (what, client) in &asked {
        if let Some((packet, _)) = client.receive(Duration::from_millis(1)) {
            panic!("{what}: {} came besides", packet.brief());
        }
    }
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn mal_11_only_the_first_options_are_read() {
    let served = Served::new(&[]);
    let unknown: Vec<String> = (0..31).map(|n| format!("option{n}")).collect();
    let mut options: Vec<(&str, &str)> = unknown.iter().map(|name| (name.as_str(), "1")).collect();
    options.push(("blksize", "700"));
    let mut client = served.ask(&rrq(GOOD, "octet", &options));
    assert_eq!(client.expect_oack(), [("blksize".into(), "700".into())], "the 32nd option counts");
    client.send(&raw::error(0, "thank you"));
    options.insert(0, ("one", "more"));
    let mut client = served.ask(&rrq(GOOD, "octet", &options));
    assert_eq!(client.expect_data(1).len(), 512, "the 33rd does not");
    client.send(&raw::error(0, "thank you"));
    served.still_serves();
}

/// RFC 1123 §4.2.3.4 and R1350-57: a packet that is no request gets no answer.
#[test]
fn r1350_57_non_requests_get_silence_at_the_port() {
    let served = Served::new(&[]);
    let packets: Vec<Vec<u8>> = vec![
        data(1, b"octets"),
        ack(0),
        ack(1),
        raw::error(0, "text"),
        raw::oack(&[("blksize", "512")]),
        b"\0\0good.img\0octet\0".to_vec(),
        b"\0\x07good.img\0octet\0".to_vec(),
        b"\0\x09good.img\0octet\0".to_vec(),
        b"\x01\0good.img\0octet\0".to_vec(),
        b"\xff\xff\xff\xff".to_vec(),
        b"\0\x03".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 60000],
    ];
    let client = served.client();
    for packet in &packets {
        client.send(packet);
    }
    client.expect_silence(Duration::from_millis(500));
    served.still_serves();
}

/// LORE-18: a boot ROM tries many names in a burst, and gets an answer to each.
#[test]
fn sixty_probes_in_a_burst_are_all_answered() {
    let served = Served::new(&[]);
    let clients: Vec<Client> =
        (0..60).map(|n| served.ask(&rrq(&format!("pxelinux.cfg/{n:08X}"), "octet", &[]))).collect();
    for mut client in clients {
        client.expect_error(1);
    }
    served.still_serves();
}

#[test]
fn the_log_says_once_that_a_request_is_malformed() {
    let served = Served::new(&[]);
    served.ask(b"\0\x01good.img\0octet").expect_error(4);
    let wanted = "no NUL ends the mode";
    let line = served.daemon.wait_for_log(Duration::from_secs(20), |line| line.contains(wanted));
    let line = line.expect("a line").to_lowercase();
    assert_eq!(line.matches("malformed request").count(), 1, "{line}");
}
