//! Text in netascii, read and written: RFC 1350 §1 and the line ends of RFC 764.

mod common;

use std::time::Duration;

use common::raw::{self, Packet, ack, data, rrq, wrq};
use common::served::{SLOW, Served, read_from};

fn reads(served: &Served, local: &[u8]) -> Vec<u8> {
    served.file("text", local);
    served.read("text", "netascii", &[])
}

#[test]
fn r1350_40_line_ends_are_converted_both_ways() {
    let served = Served::new(&[]);
    for (local, wire) in [
        (&b"a\nb\r"[..], &b"a\r\nb\r\0"[..]),
        (b"", b""),
        (b"\n", b"\r\n"),
        (b"\r\n", b"\r\0\r\n"),
        (b"\r\r\n\n", b"\r\0\r\0\r\n\r\n"),
        (b"no end", b"no end"),
        (b"\x00\x80\xff\xc3\xa4", b"\x00\x80\xff\xc3\xa4"),
    ] {
        assert_eq!(reads(&served, local), wire, "read {}", local.escape_ascii());
        served.write("written", "netascii", &[], wire);
        assert_eq!(served.contents("written").unwrap(), local, "written {}", wire.escape_ascii());
        std::fs::remove_file(served.path("written")).unwrap();
    }
    served.still_serves();
}

/// R1350-43: clients that encode wrongly.
#[test]
fn r1350_43_what_is_no_netascii_is_kept_as_it_came() {
    let served = Served::new(&[]);
    for (wire, local) in [
        (&b"a\rb"[..], &b"a\rb"[..]),
        (b"end\r", b"end\r"),
        (b"a\nb", b"a\nb"),
        (b"\r\r\n", b"\r\n"),
        (b"\xff\r\xff", b"\xff\r\xff"),
    ] {
        served.write("written", "netascii", &[], wire);
        assert_eq!(served.contents("written").unwrap(), local, "{}", wire.escape_ascii());
        std::fs::remove_file(served.path("written")).unwrap();
    }
    served.still_serves();
}

/// R1350-41: a block is full by its octets on the wire.
#[test]
fn r1350_41_line_ends_are_torn_by_the_ends_of_blocks() {
    let served = Served::new(&[]);
    let torn = [&[b'x'; 511][..], b"\n", b"rest"].concat();
    served.file("torn", &torn);
    let mut client = served.ask(&rrq("torn", "netascii", &[SLOW]));
    client.expect_oack();
    client.send(&ack(0));
    assert_eq!(client.expect_data(1), [&[b'x'; 511][..], b"\r"].concat());
    client.send(&ack(1));
    assert_eq!(client.expect_data(2), b"\nrest");
    client.send(&ack(2));

    served.file("256", &[b'\n'; 256]);
    let mut client = served.ask(&rrq("256", "netascii", &[SLOW]));
    client.expect_oack();
    client.send(&ack(0));
    assert_eq!(client.expect_data(1), b"\r\n".repeat(256));
    client.send(&ack(1));
    assert_eq!(client.expect_data(2), b"");
    client.send(&ack(2));

    // The same for uploads, with every block size that splits every pair.
    let local = b"one\ntwo\rthree\r\n\n\n\r\rfour\n".repeat(20);
    let wire = reads(&served, &local);
    for blksize in ["8", "9", "10", "11", "13"] {
        served.write(blksize, "netascii", &[("blksize", blksize)], &wire);
        assert!(served.contents(blksize).unwrap() == local, "written by {blksize}");
        let mut client = served.ask(&rrq("text", "netascii", &[("blksize", blksize)]));
        assert!(read_from(&mut client) == wire, "read by {blksize}");
    }
    served.still_serves();
}

/// R1350-42, D9: a repeat has the same octets, at every boundary of blocks.
#[test]
fn r1350_42_repeats_have_the_same_octets() {
    let served = Served::new(&["--ack-timeout", "0.1"]);
    let local: Vec<u8> = (0..4000u32).map(|at| b"\r\n.\nx"[(at * at % 5) as usize]).collect();
    let wire = reads(&served, &local);
    for window in [1u16, 4] {
        let windowsize = window.to_string();
        let options = [("utimeout", "100000"), ("windowsize", windowsize.as_str())];
        let mut client = served.ask(&rrq("text", "netascii", &options));
        client.expect_oack();
        client.send(&ack(0));
        let (mut next, mut last) = (1u16, false);
        while !last {
            // Each window twice: the test ignores the first copy.
            let mut copies = Vec::new();
            while copies.len() < 2 {
                let mut copy = Vec::new();
                for block in next..next + window {
                    let payload = client.expect_data(block);
                    last = payload.len() < 512;
                    copy.extend(payload);
                    if last {
                        break;
                    }
                }
                copies.push(copy);
            }
            let at = usize::from(next - 1) * 512;
            assert!(copies[0] == copies[1] && wire[at..].starts_with(&copies[0]), "from block {next} on");
            next += (copies[0].len() / 512) as u16;
            client.send(&ack(if last { next } else { next - 1 }));
            // The timer may have repeated the window once more by now.
            let quiet = Duration::from_millis(20);
            let rest = if last { client.drain(quiet) } else { Vec::new() };
            assert!(rest.iter().all(|packet| matches!(packet, Packet::Data { .. })));
        }
    }
    served.still_serves();
}

/// R2349-14: the size of the file is not the number of octets on the wire.
#[test]
fn r2349_14_no_size_is_told_for_a_text() {
    let served = Served::new(&[]);
    served.file("text", b"a\nb\n");
    let mut client = served.ask(&rrq("text", "netascii", &[("tsize", "0")]));
    assert_eq!(client.expect_data(1), b"a\r\nb\r\n");
    client.send(&ack(1));
    // For an upload the size is the client's own number.
    let mut client = served.ask(&wrq("new", "netascii", &[("tsize", "6")]));
    assert_eq!(client.expect_oack(), [("tsize".into(), "6".into())]);
    client.send(&data(1, b"a\r\nb\r\n"));
    client.expect_new_ack(1);
    assert_eq!(served.contents("new").as_deref(), Some(&b"a\nb\n"[..]));
    client.send(&raw::error(0, "thank you"));
    served.still_serves();
}
