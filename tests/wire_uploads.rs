//! Uploads: the receiving side of RFC 1350, and safe writes (WR-).

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use common::daemon::{Daemon, binary};
use common::raw::{self, ack, data, rrq, wrq};
use common::served::{GOOD, Served, directory, write_to};

const QUIET: Duration = Duration::from_millis(300);

/// R1350-25, WR-13: the final ACK is lost three times.
#[test]
fn a_lost_final_ack_is_repeated() {
    let served = Served::new(&[]);
    for (name, blocks) in [("two", &[&[1u8; 512][..], b"end"][..]), ("empty", &[b""])] {
        let mut client = served.writing(name, &[]);
        for (index, block) in blocks.iter().enumerate() {
            client.send(&data(index as u16 + 1, block));
            client.expect_ack(index as u16 + 1);
        }
        let last = blocks.len() as u16;
        let before = fs::metadata(served.path(name)).unwrap();
        for _ in 0..3 {
            client.send(&data(last, blocks.last().unwrap()));
            client.expect_ack(last);
        }
        client.expect_silence(QUIET);
        let after = fs::metadata(served.path(name)).unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap(), "it is written once");
        assert_eq!(served.contents(name), Some(blocks.concat()));
    }
    served.holds_only(&["empty", "two"]);
    served.still_serves();
}

/// R1350-26, R783-02.
#[test]
fn r1350_26_every_block_sent_twice_is_written_once() {
    let served = Served::new(&[]);
    let content: Vec<u8> = (0..10 * 512 + 5).map(|at| (at / 3) as u8).collect();
    let mut client = served.writing("new", &[]);
    for (index, block) in content.chunks(512).enumerate() {
        let packet = data(index as u16 + 1, block);
        client.send(&packet);
        client.expect_ack(index as u16 + 1);
        client.send(&packet);
        // A repeat gets the same ACK, and the server acknowledges nothing beyond it.
        client.expect_ack(index as u16 + 1);
    }
    assert_eq!(served.contents("new"), Some(content));
    served.still_serves();
}

/// R1350-27, R1350-28: the server notices one octet too many, and does not take the block for the
/// last one.
#[test]
fn a_block_that_is_too_long_sends_error_4() {
    let served = Served::new(&[]);
    for octets in [513, 600, 65000] {
        let mut client = served.ask(&wrq("new", "octet", &[]));
        client.expect_ack(0);
        client.send(&data(1, &vec![1; octets]));
        client.expect_error(4);
        client.expect_silence(QUIET);
    }
    let mut client = served.writing("new", &[("blksize", "8")]);
    client.send(&data(1, &[1; 8]));
    client.expect_ack(1);
    client.send(&data(2, &[1; 9]));
    client.expect_error(4);
    served.holds_only(&[]);
    served.still_serves();
}

#[test]
fn r1350_27_blocks_out_of_turn_are_not_written() {
    let served = Served::new(&[]);
    let mut client = served.writing("new", &[]);
    client.send(&data(0, &[9; 512]));
    client.expect_silence(QUIET);
    client.send(&data(1, &[1; 512]));
    client.expect_ack(1);
    client.send(&data(7, &[9; 512]));
    client.send(&data(32769, &[9; 512]));
    client.send(&data(2, b"end"));
    client.expect_ack(2);
    assert_eq!(served.contents("new"), Some([&[1; 512][..], b"end"].concat()));
    served.still_serves();
}

#[test]
fn wr_02_a_taken_name_is_refused_before_any_block() {
    let served = Served::new(&[]);
    let good = served.contents(GOOD);
    for options in [&[][..], &[("blksize", "1024"), ("tsize", "3")]] {
        let mut client = served.ask(&wrq(GOOD, "octet", options));
        client.expect_error(6);
        client.expect_silence(QUIET);
    }
    assert_eq!(served.contents(GOOD), good);
    served.still_serves();
}

/// WR-02, WR-08: the first upload to finish gets the name.
#[test]
fn the_second_upload_of_a_name_to_finish_is_refused() {
    let served = Served::new(&[]);
    let mut first = served.writing("new", &[]);
    let mut second = served.writing("new", &[]);
    first.send(&data(1, &[1; 512]));
    second.send(&data(1, &[2; 512]));
    first.expect_ack(1);
    second.expect_ack(1);
    second.send(&data(2, b"second"));
    second.expect_ack(2);
    first.send(&data(2, b"first"));
    first.expect_error(6);
    first.expect_silence(QUIET);
    assert_eq!(served.contents("new"), Some([&[2; 512][..], b"second"].concat()), "no octet of the other");
    served.holds_only(&["new"]);
    served.still_serves();
}

/// WR-08, WR-09.
#[test]
fn overwrite_keeps_the_last_finished_upload() {
    let served = Served::new(&["--overwrite"]);
    served.file("file", &[0; 3000]);
    let mut aborted = served.writing("file", &[]);
    aborted.send(&data(1, &[9; 512]));
    aborted.expect_ack(1);
    assert_eq!(served.contents("file"), Some(vec![0; 3000]), "the old one stays until the new one is there");
    aborted.send(&raw::error(0, "changed my mind"));
    served.logged("write peer-aborted", "file");
    assert_eq!(served.contents("file"), Some(vec![0; 3000]));

    let mut first = served.writing("file", &[]);
    let mut second = served.writing("file", &[]);
    first.send(&data(1, b"first"));
    first.expect_ack(1);
    assert_eq!(served.contents("file").as_deref(), Some(&b"first"[..]));
    second.send(&data(1, b"second"));
    second.expect_ack(1);
    assert_eq!(served.contents("file").as_deref(), Some(&b"second"[..]));
    served.holds_only(&["file"]);
    served.still_serves();
}

/// WR-09: the new file keeps owner, group and mode of the old file. A write-protected file stays.
#[test]
fn overwrite_keeps_the_mode_of_the_old_file() {
    let served = Served::new(&["--overwrite"]);
    served.file("private", b"old");
    served.file("protected", b"old");
    let chmod = |name: &str, mode| {
        fs::set_permissions(served.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod("private", 0o640);
    chmod("protected", 0o444);
    served.write("private", "octet", &[], b"new");
    assert_eq!(served.contents("private").as_deref(), Some(&b"new"[..]));
    assert_eq!(fs::metadata(served.path("private")).unwrap().mode() & 0o7777, 0o640);
    served.ask(&wrq("protected", "octet", &[])).expect_error(2);
    served.logged("is write-protected (mode 0444)", "protected");
    assert_eq!(served.contents("protected").as_deref(), Some(&b"old"[..]));
    served.still_serves();
}

/// WR-12: no client reads half a file.
#[test]
fn a_read_during_an_upload_gets_the_old_file_or_none() {
    let served = Served::new(&["--overwrite"]);
    served.file("old", b"old");
    for name in ["new", "old"] {
        let mut writer = served.writing(name, &[]);
        writer.send(&data(1, &[1; 512]));
        writer.expect_ack(1);
        let mut reader = served.ask(&rrq(name, "octet", &[]));
        if name == "new" {
            reader.expect_error(1);
        } else {
            assert_eq!(reader.expect_data(1), b"old");
            reader.send(&ack(1));
        }
        writer.send(&data(2, b"end"));
        writer.expect_ack(2);
        assert_eq!(served.read(name, "octet", &[]), [&[1; 512][..], b"end"].concat());
    }
    served.still_serves();
}

/// A read that has begun goes on with the file that it opened.
#[test]
fn a_file_replaced_during_a_read_is_read_to_its_end() {
    let served = Served::new(&["--overwrite"]);
    let old: Vec<u8> = (0..300_000u32).map(|at| (at / 100) as u8).collect();
    served.file("file", &old);
    let mut reader = served.reading("file", &[("blksize", "1000")]);
    let mut octets = reader.expect_data(1);
    served.write("file", "octet", &[], b"new");
    for block in 1..=300 {
        reader.send(&ack(block));
        octets.extend(reader.expect_data(block + 1));
    }
    reader.send(&ack(301));
    assert!(octets == old);
    assert_eq!(served.read("file", "octet", &[]), b"new");
    served.still_serves();
}

/// WR-05, WR-10: an upload ends by an ERROR, by silence, or with the server, in every state.
#[test]
fn an_upload_that_does_not_end_leaves_nothing() {
    let served = Served::new(&["--timeout", "0.7", "--ack-timeout", "0.2"]);
    for aborted in [true, false] {
        for blocks in [0, 1, 200] {
            let mut client = served.ask(&wrq("new", "octet", &[]));
            client.expect_ack(0);
            served.holds_only(&[]);
            for block in 1..=blocks {
                client.send(&data(block, &[7; 512]));
                client.expect_new_ack(block);
            }
            if aborted {
                client.send(&raw::error(0, "changed my mind"));
            }
            drop(client);
        }
    }
    served.logged("write peer-aborted", "new");
    served.holds_only(&[]);
    // The failed upload did not take the name.
    served.write("new", "octet", &[], b"content");
    served.holds_only(&["new"]);
    served.still_serves();
}

#[test]
fn a_stopped_server_leaves_no_partial_upload() {
    let served = Served::new(&["--drain-timeout", "0"]);
    served.file("long", &[1; 5000]);
    let mut reader = served.reading("long", &[]);
    reader.expect_data(1);
    let mut writer = served.writing("new", &[]);
    writer.send(&data(1, &[7; 512]));
    writer.expect_ack(1);
    let Served { daemon, root } = served;
    let ended = daemon.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(reader.expect_error(0), "Server is shutting down");
    assert_eq!(writer.expect_error(0), "Server is shutting down");
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 2 && !left.contains(&"new".into()), "{left:?}");
}

/// WR-04: once the client has the final ACK, power may fail at both ends.
#[test]
fn the_final_ack_follows_the_fsync_and_rename() {
    for (flags, durable) in [(&[][..], true), (&["--no-fsync"][..], false)] {
        let root = directory();
        let traces = tempfile::tempdir().unwrap();
        let trace = traces.path().join("trace");
        let mut command = Command::new("strace");
        // -D: the daemon is our child, and strace ends with the daemon.
        command.args(["-D", "-f", "-qq", "-s", "16", "-e"]);
        command.arg("trace=fsync,fdatasync,linkat,renameat2,rename,sendto,sendmsg,sendmmsg");
        command.arg("-o").arg(&trace).arg(binary());
        command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path()).args(flags);
        let served = Served::at(root, Daemon::spawn(command));
        let mut client = served.ask(&wrq("new", "octet", &[common::served::SLOW]));
        write_to(&mut client, b"content");
        let wanted = |line: &str| {
            ["fsync(", "fdatasync(", "linkat(", "renameat2(", "send"].iter().any(|call| line.contains(call))
                && !line.contains("resumed")
        };
        let text = (0..200)
            .find_map(|_| {
                let text = fs::read_to_string(&trace).unwrap_or_default();
                // The OACK and the ACK.
                let sent = text.lines().filter(|line| line.contains("send") && wanted(line)).count();
                if sent < 2 {
                    std::thread::sleep(Duration::from_millis(50));
                }
                (sent >= 2).then_some(text)
            })
            .expect("strace writes down what was sent");
        let calls: Vec<&str> = text
            .lines()
            .filter(|line| wanted(line))
            .map(|line| {
                let call = line.split_whitespace().nth(1).unwrap();
                let name = call.split('(').next().unwrap();
                match name {
                    "fsync" | "fdatasync" => "sync",
                    "linkat" | "renameat2" => "publish",
                    _ => "send",
                }
            })
            .collect();
        let order: &[&str] =
            if durable { &["send", "sync", "publish", "sync", "send"] } else { &["send", "publish", "send"] };
        assert_eq!(calls, order, "{flags:?}:\n{text}");
        assert_eq!(served.contents("new").as_deref(), Some(&b"content"[..]));
        served.still_serves();
    }
}

/// WR-07, WR-14: the limit counts real octets, on the wire and on the disk.
#[test]
fn an_upload_over_the_size_limit_leaves_nothing() {
    let served = Served::new(&["--max-upload-size", "1000"]);
    let mut client = served.ask(&wrq("new", "octet", &[("tsize", "1001")]));
    client.expect_error(3);
    for (tsize, octets, mode, fits) in [
        (None, 1000, "octet", true),
        (Some("1000"), 1000, "octet", true),
        (None, 1001, "octet", false),
        // The server does not trust the claimed size.
        (Some("5"), 1001, "octet", false),
        (None, 1000, "netascii", true),
        (None, 1001, "netascii", false),
    ] {
        let options: Vec<(&str, &str)> = tsize.map(|tsize| ("tsize", tsize)).into_iter().collect();
        let mut client = served.ask(&wrq("new", mode, &options));
        if options.is_empty() {
            client.expect_ack(0);
        } else {
            drop(client.expect_oack());
        }
        client.send(&data(1, &vec![b'x'; 512]));
        client.expect_new_ack(1);
        client.send(&data(2, &vec![b'x'; octets - 512]));
        if fits {
            client.expect_new_ack(2);
            assert_eq!(served.contents("new").unwrap().len(), octets);
            fs::remove_file(served.path("new")).unwrap();
        } else {
            let packet = client.expect(|packet| !matches!(packet, raw::Packet::Ack { block: 1, .. }));
            assert!(matches!(packet, raw::Packet::Error { code: 3, .. }), "{}", packet.brief());
        }
        served.holds_only(&[]);
    }
    served.still_serves();
}
