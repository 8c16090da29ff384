//! Which ERROR a client gets, and when, and what an ERROR does to a transfer (RFC 1350 §5 and §7).
//! Also files that change during a transfer.

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use common::raw::{self, Client, Packet, ack, data, rrq, wrq};
use common::served::{GOOD, SLOW, Served};

const QUIET: Duration = Duration::from_millis(300);

/// The code of the expected ERROR, or success.
type Gets = Result<(), u16>;

/// R1350-03, -50, -51, -52: U-Boot stops on codes 1 and 2 and repeats for ever on every other.
#[test]
fn every_refusal_has_its_code_and_is_sent_once() {
    let served = Served::new(&[]);
    fs::create_dir(served.path("directory")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    symlink(outside.path().join("secret"), served.path("leads-out")).unwrap();
    symlink("loop", served.path("loop")).unwrap();
    symlink("nowhere", served.path("dangling")).unwrap();
    Command::new("mkfifo").arg(served.path("fifo")).status().unwrap();
    let _socket = UnixListener::bind(served.path("socket")).unwrap();
    let long = "x".repeat(256);
    let deep = "d/".repeat(900);
    let cases: &[(&str, Gets, Gets)] = &[
        // name, read, write
        ("missing", Err(1), Ok(())),
        ("missing/file", Err(1), Err(1)),
        ("good.img/file", Err(1), Err(1)),
        ("dangling", Err(1), Err(2)),
        (&long, Err(1), Err(1)),
        (&deep, Err(1), Err(1)),
        ("directory/", Err(1), Err(1)),
        ("good.img/", Err(1), Err(1)),
        ("directory", Err(2), Err(2)),
        ("leads-out", Err(2), Err(2)),
        ("loop", Err(2), Err(2)),
        ("fifo", Err(2), Err(2)),
        ("socket", Err(2), Err(2)),
        ("../x", Err(2), Err(2)),
        ("", Err(4), Err(4)),
        (GOOD, Ok(()), Err(6)),
    ];
    let mut asked: Vec<(String, Client)> = Vec::new();
    for &(name, read, write) in cases {
        for (verb, request, wanted) in
            [("read", rrq(name, "octet", &[SLOW]), read), ("write", wrq(name, "octet", &[SLOW]), write)]
        {
            let mut client = served.ask(&request);
            let packet = client.next();
            let code = match &packet {
                Packet::Error { code, .. } => Err(*code),
                _ => Ok(()),
            };
            assert_eq!(code, wanted, "{verb} {name}: {}", packet.brief());
            asked.push((format!("{verb} {name}"), client));
        }
    }
    std::thread::sleep(Duration::from_millis(700));
    for (what, client) in &asked {
        if let Some((packet, _)) = client.receive(Duration::from_millis(1)) {
            panic!("{what}: {} came besides", packet.brief());
        }
    }
    served.still_serves();
}

/// R1350-50, octet for octet: a header, ASCII, one NUL, and no path of the server.
#[test]
fn an_error_is_short_plain_text_that_tells_no_path() {
    let served = Served::new(&[]);
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), served.path("out")).unwrap();
    let root = served.root.path().to_str().unwrap().to_owned();
    let requests = [
        rrq("missing-name", "octet", &[]),
        rrq("out/missing-name", "octet", &[]),
        rrq("../missing-name", "octet", &[]),
        rrq("missing-name", "mail", &[]),
        wrq(GOOD, "octet", &[]),
        wrq("missing-name/x", "octet", &[]),
        b"\0\x01missing-name".to_vec(),
    ];
    for request in requests {
        let client = served.ask(&request);
        let mut buffer = [0; 2000];
        client.socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (octets, _) = client.socket().recv_from(&mut buffer).unwrap();
        let packet = &buffer[..octets];
        assert_eq!(packet[..2], [0, 5]);
        let [text @ .., 0] = &packet[4..] else { panic!("no NUL at the end of {packet:?}") };
        assert!(!text.is_empty() && text.len() <= 128 && octets <= 512, "{octets} octets");
        assert!(text.iter().all(|octet| matches!(octet, b' '..=b'~')), "{text:?}");
        let text = String::from_utf8_lossy(text);
        for hidden in [root.as_str(), outside.path().to_str().unwrap(), "missing-name", "/"] {
            assert!(!text.contains(hidden), "{text:?} has {hidden:?} in it");
        }
    }
    served.still_serves();
}

/// R1350-53: the text does not matter.
#[test]
fn a_clients_error_ends_its_transfer_unanswered() {
    let served = Served::new(&[]);
    served.file("long", &[5; 100_000]);
    served.still_serves();
    let before = served.daemon.open_descriptors();
    let endless = [&b"\0\x05\0\0"[..], &[b'x'; 60_000]].concat();
    let texts: [&[u8]; 7] = [
        &endless,
        b"\0\x05\0\0plain\0",
        b"\0\x05\0\x03",
        b"\0\x05\0\0\0",
        b"\0\x05\0\0not terminated",
        b"\0\x05\xff\xff\xc3\xa4\xff\x1b[31m\0",
        b"\0\x05\0\x05two\0parts\0\0",
    ];
    let mut clients = Vec::new();
    for text in texts {
        let offered = served.offered("long", &[("tsize", "0")]);
        let mut begun = served.reading("long", &[]);
        begun.expect_data(1);
        let mut midway = served.reading("long", &[]);
        for block in 1..=10 {
            midway.expect_data(block);
            midway.send(&ack(block));
        }
        midway.expect_data(11);
        let mut upload = served.writing("new", &[]);
        upload.send(&data(1, &[1; 512]));
        upload.expect_ack(1);
        let unwritten = served.writing("new", &[]);
        for client in [offered, begun, midway, upload, unwritten] {
            client.send(text);
            clients.push(client);
        }
    }
    // The sockets close long before any timeout, so the ERROR closed them.
    served.descriptors_fall_to(before);
    for client in &clients {
        client.expect_silence(Duration::from_millis(10));
    }
    let log = served.daemon.log();
    assert!(!log.contains('\u{1b}') && log.is_ascii(), "a client's text is escaped: {log}");
    assert!(log.lines().all(|line| line.len() < 4096), "and cut");
    served.holds_only(&["long"]);
    served.still_serves();
}

/// R1350-54, LORE: like other servers, this one ignores packets without a meaning. With `--strict`
/// they end the transfer.
#[test]
fn packets_of_no_transfer_get_silence_unless_strict() {
    let nonsense = || -> Vec<Vec<u8>> {
        vec![
            rrq(GOOD, "octet", &[]),
            wrq("new", "octet", &[]),
            b"\0\0\0\0".to_vec(),
            b"\0\x07\0\x01".to_vec(),
            b"\xff\xff\0\x01octets".to_vec(),
        ]
    };
    let harmless = [&b""[..], b"\0", b"\0\x04", b"\0\x04\0", b"\0\x03\0"];
    let served = Served::new(&[]);
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    let mut writer = served.writing("new", &[]);
    for packet in nonsense().iter().map(Vec::as_slice).chain(harmless) {
        reader.send(packet);
        writer.send(packet);
    }
    // DATA to a sender, ACK and OACK to a receiver.
    reader.send(&data(1, b"octets"));
    reader.send(&raw::oack(&[("blksize", "8")]));
    writer.send(&ack(0));
    writer.send(&ack(1));
    writer.send(&raw::oack(&[("blksize", "8")]));
    reader.expect_silence(QUIET);
    writer.expect_silence(Duration::from_millis(10));
    reader.send(&ack(1));
    reader.expect_data(2);
    reader.send(&ack(2));
    reader.expect_data(3);
    reader.send(&ack(3));
    writer.send(&data(1, b"content"));
    writer.expect_ack(1);
    assert_eq!(served.contents("new").as_deref(), Some(&b"content"[..]));
    served.still_serves();

    let served = Served::new(&["--strict"]);
    for packet in nonsense() {
        let mut reader = served.reading(GOOD, &[]);
        reader.expect_data(1);
        for runt in harmless {
            reader.send(runt);
        }
        reader.expect_silence(Duration::from_millis(50));
        reader.send(&packet);
        reader.expect_error(4);
        reader.expect_silence(Duration::from_millis(50));
        let mut writer = served.writing("new", &[]);
        writer.send(&packet);
        writer.expect_error(4);
    }
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn r1350_29_octets_behind_an_ack_are_ignored() {
    let served = Served::new(&[]);
    served.file("long", &[5; 2100]);
    let mut client = served.reading("long", &[]);
    for (number, more) in [0, 1, 2, 100].into_iter().enumerate() {
        let block = number as u16 + 1;
        client.expect_data(block);
        client.send(&[ack(block), vec![0xff; more]].concat());
    }
    client.expect_data(5);
    client.send(&ack(5));
    served.still_serves();
}

/// R1350-55, -58: the file is longer than the server's read-ahead at the time of the change.
#[test]
fn a_file_changed_during_a_read_ends_in_an_error() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..600_000u32).map(|at| (at / 1000) as u8).collect();
    let change = |how: &str, name: &str| {
        // The clock of the file system advances in between.
        std::thread::sleep(Duration::from_millis(30));
        let file = OpenOptions::new().write(true).open(served.path(name)).unwrap();
        match how {
            "shrunk" => file.set_len(1000).unwrap(),
            "emptied" => file.set_len(0).unwrap(),
            "rewritten" => (&file).write_all(&vec![0xee; 600_000]).unwrap(),
            other => panic!("{other}"),
        }
    };
    for how in ["shrunk", "emptied", "rewritten"] {
        for window in ["1", "16"] {
            let name = format!("{how}-{window}");
            served.file(&name, &content);
            let mut client = served.reading(&name, &[("windowsize", window)]);
            let window: u16 = window.parse().unwrap();
            for block in 1..=window {
                client.expect_data(block);
            }
            change(how, &name);
            let mut block = window;
            loop {
                client.send(&ack(block));
                match client.next() {
                    Packet::Data { block: number, payload } if number == block + 1 => {
                        // The octets that were read before the change are unchanged.
                        let at = usize::from(block) * 512;
                        assert!(payload == content[at..at + 512], "{name}, block {number}");
                        block = number;
                        for _ in 1..window {
                            match client.next() {
                                Packet::Data { payload, .. } if payload.len() == 512 => block += 1,
                                // The ERROR takes the place of the rest of a window.
                                Packet::Error { .. } => break,
                                other => panic!("{name}: {}", other.brief()),
                            }
                        }
                    }
                    Packet::Error { code: 0, text } => {
                        assert_eq!(text, "File changed during the transfer");
                        break;
                    }
                    // The whole window arrived, although the read-ahead ended within it.
                    Packet::Data { payload, .. } if payload.len() == 512 => {}
                    other => panic!("{name}: {}", other.brief()),
                }
                if served.daemon.log().contains(&format!("name: {name},")) {
                    break;
                }
                assert!(block < 1100, "{name}: it goes on for ever");
            }
            served.logged("read failed", &name);
        }
    }
    served.still_serves();
}

#[test]
fn a_file_that_grows_is_sent_with_its_old_size() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..300_000u32).map(|at| (at / 1000) as u8).collect();
    served.file("log", &content);
    let mut client = served.ask(&rrq("log", "octet", &[("tsize", "0"), ("blksize", "1000"), SLOW]));
    assert_eq!(client.expect_oack()[0], ("tsize".into(), "300000".into()));
    client.send(&ack(0));
    let mut octets = Vec::new();
    for block in 1..=301 {
        octets.extend(client.expect_data(block));
        if block % 50 == 1 {
            let mut file = OpenOptions::new().append(true).open(served.path("log")).unwrap();
            file.write_all(&[0xee; 5000]).unwrap();
        }
        client.send(&ack(block));
    }
    assert!(octets == content, "{} octets", octets.len());
    served.logged("read complete", "log");
    served.still_serves();
}

/// R1350-56: a client may vanish at any moment without a word.
#[test]
fn a_client_that_vanishes_leaves_no_session_behind() {
    let served = Served::new(&["--timeout", "0.8", "--ack-timeout", "0.2"]);
    served.file("long", &[5; 100_000]);
    served.still_serves();
    let before = served.daemon.open_descriptors();
    // Their sockets stay open, so that only time shows their silence.
    let mut silent = Vec::new();
    let plain = |name: &str| rrq(name, "octet", &[]);
    silent.push(served.ask(&plain("long")));
    silent.push(served.ask(&rrq("long", "octet", &[("blksize", "1000")])));
    silent.push(served.ask(&wrq("new", "octet", &[])));
    silent.push(served.ask(&wrq("new", "octet", &[("blksize", "1000")])));
    let mut midway = served.ask(&plain("long"));
    for block in 1..=5 {
        midway.expect_new_data(block);
        midway.send(&ack(block));
    }
    let mut upload = served.ask(&wrq("new", "octet", &[]));
    upload.expect_ack(0);
    for block in 1..=5 {
        upload.send(&data(block, &[1; 512]));
        upload.expect_new_ack(block);
    }
    // The client acknowledges all blocks but the last.
    let mut unconfirmed = served.ask(&plain(GOOD));
    for block in 1..=3 {
        unconfirmed.expect_new_data(block);
        if block < 3 {
            unconfirmed.send(&ack(block));
        }
    }
    served.logged("read timed-out", "long");
    served.logged("write timed-out", "new");
    // R1350-24: some clients never acknowledge the last block. This is no failure.
    assert!(served.logged("read unconfirmed", GOOD).contains(" INFO "));
    served.descriptors_fall_to(before);
    served.holds_only(&["long"]);
    drop((silent, midway, upload, unconfirmed));
    served.still_serves();
}

/// In lock-step the server reads no packets beyond the awaited ACK. A later packet must not be
/// lost.
#[test]
fn an_error_behind_an_ack_stops_all_repeats() {
    let served = Served::new(&[]);
    let mut client = served.ask(&rrq(GOOD, "octet", &[]));
    client.expect_data(1);
    client.send(&ack(1));
    client.expect_data(2);
    client.send(&ack(2));
    client.send(&raw::error(0, "enough"));
    client.expect_data(3);
    let line = served.logged("read peer-aborted", GOOD);
    assert!(line.contains("repeats: 0,"), "{line}");
    client.expect_silence(QUIET);
}
