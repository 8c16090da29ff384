//! Reads and uploads with windows, as the client sees them (RFC 7440).

mod common;

use std::process::Command;
use std::time::Duration;

use common::raw::{Client, Packet, ack, data};
use common::served::Served;

const QUIET: Duration = Duration::from_millis(300);

fn content(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| (at / 512 + at) as u8).collect()
}

/// A server with a file of 20 full blocks and a short one.
fn served() -> Served {
    let served = Served::new(&[]);
    served.file("file", &content(20 * 512 + 100));
    served
}

fn expect_window(client: &mut Client, blocks: std::ops::RangeInclusive<u16>) -> Vec<u8> {
    let octets = blocks.flat_map(|block| client.expect_data(block)).collect();
    client.expect_silence(Duration::from_millis(60));
    octets
}

/// R7440-03, -10, -12: exactly one window for each ACK. The last window is shorter.
#[test]
fn r7440_03_no_block_past_a_window_before_its_ack() {
    let served = served();
    let mut client = served.reading("file", &[("windowsize", "4")]);
    let mut octets = Vec::new();
    for first in (1..=17).step_by(4) {
        octets.extend(expect_window(&mut client, first..=first + 3));
        client.send(&ack(first + 3));
    }
    octets.extend(expect_window(&mut client, 21..=21));
    client.send(&ack(21));
    client.expect_silence(QUIET);
    assert_eq!(octets, content(20 * 512 + 100));
    served.still_serves();
}

#[test]
fn r7440_12_whole_windows_end_with_an_empty_block() {
    let served = Served::new(&[]);
    served.file("file", &content(8 * 512));
    let mut client = served.reading("file", &[("windowsize", "4")]);
    expect_window(&mut client, 1..=4);
    client.send(&ack(4));
    expect_window(&mut client, 5..=8);
    client.send(&ack(8));
    assert_eq!(expect_window(&mut client, 9..=9), b"");
    client.send(&ack(9));
    client.expect_silence(QUIET);
    served.logged("read complete", "file");
    served.still_serves();
}

/// The picture in RFC 7440 §4: block n+6 is lost, the receiver acknowledges n+5, and the window
/// restarts there.
#[test]
fn r7440_07_an_ack_within_a_window_restarts_behind_it() {
    let served = served();
    let mut client = served.reading("file", &[("windowsize", "4")]);
    let first = expect_window(&mut client, 1..=4);
    client.send(&ack(2));
    let again = expect_window(&mut client, 3..=6);
    assert_eq!(again[..1024], first[1024..], "the same octets again");
    client.send(&ack(6));
    expect_window(&mut client, 7..=10);
    served.still_serves();
}

/// R7440-08: an equal ACK may be a duplicate, or may report the loss of the first block.
#[test]
fn r7440_08_equal_acks_restart_a_window_only_once() {
    let served = served();
    let mut client = served.reading("file", &[("windowsize", "4")]);
    expect_window(&mut client, 1..=4);
    client.send(&ack(4));
    let first = expect_window(&mut client, 5..=8);
    for _ in 0..3 {
        client.send(&ack(4));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(expect_window(&mut client, 5..=8), first);
    client.send(&ack(8));
    // Duplicates of the earlier ACK are old too.
    client.send(&ack(4));
    expect_window(&mut client, 9..=12);
    served.still_serves();
}

/// R7440-09, LORE-13: an ACK of a block that is not in flight.
#[test]
fn acks_outside_the_window_change_nothing() {
    let served = served();
    for windowsize in ["1", "4"] {
        let window: u16 = windowsize.parse().unwrap();
        let mut client = served.reading("file", &[("windowsize", windowsize)]);
        expect_window(&mut client, 1..=window);
        client.send(&ack(window));
        expect_window(&mut client, window + 1..=2 * window);
        for stray in [2 * window + 1, 2 * window + 1000, 32768, 65535] {
            client.send(&ack(stray));
        }
        if window > 1 {
            client.send(&ack(window - 2));
        }
        client.expect_silence(QUIET);
        client.send(&ack(2 * window));
        expect_window(&mut client, 2 * window + 1..=3 * window);
    }
    served.still_serves();
}

#[test]
fn r7440_10_the_newest_queued_ack_counts() {
    let served = served();
    let mut client = served.reading("file", &[("windowsize", "4")]);
    expect_window(&mut client, 1..=4);
    // The server may handle several ACKs at once. It sends no block that a later ACK makes
    // needless.
    for block in 1..=4 {
        client.send(&ack(block));
    }
    let mut highest = 0;
    while highest < 8 {
        match client.next() {
            Packet::Data { block, .. } => highest = highest.max(block),
            other => panic!("{}", other.brief()),
        }
    }
    client.drain(QUIET);
    client.send(&ack(8));
    expect_window(&mut client, 9..=12);
    served.still_serves();
}

/// R7440-11, R1350-22, R1123-01.
#[test]
fn a_window_of_one_is_plain_lock_step() {
    let served = served();
    let mut client = served.reading("file", &[("windowsize", "1")]);
    client.expect_data(1);
    client.expect_silence(QUIET);
    client.send(&ack(0));
    client.expect_silence(QUIET);
    for block in 1..=20 {
        for _ in 0..10 {
            client.send(&ack(block));
        }
        client.expect_data(block + 1);
    }
    client.send(&ack(21));
    client.expect_silence(QUIET);
    served.still_serves();
}

/// R7440-05: the server repeats a lost window from the first block without an ACK.
#[test]
fn a_window_that_got_lost_is_sent_again_whole() {
    let served = Served::new(&["--ack-timeout", "0.2"]);
    served.file("file", &content(20 * 512 + 100));
    let options = [("windowsize", "4"), ("utimeout", "300000")];
    let mut client = served.ask(&common::raw::rrq("file", "octet", &options));
    client.expect_oack();
    client.send(&ack(0));
    let take = |client: &mut Client, first: u16| -> Vec<u8> {
        (first..first + 4).flat_map(|block| client.expect_data(block)).collect()
    };
    take(&mut client, 1);
    client.send(&ack(4));
    let lost = take(&mut client, 5);
    assert_eq!(take(&mut client, 5), lost);
    client.send(&ack(8));
    assert_eq!(take(&mut client, 9), content(20 * 512 + 100)[8 * 512..12 * 512]);
    served.still_serves();
}

/// R7440-04: an upload gets one ACK for each window, and one at the end.
#[test]
fn r7440_04_an_upload_gets_one_ack_for_each_window() {
    let served = Served::new(&[]);
    let all = content(5 * 512 + 7);
    let mut client = served.writing("new", &[("windowsize", "4")]);
    let blocks: Vec<&[u8]> = all.chunks(512).collect();
    for (index, block) in blocks[..4].iter().enumerate() {
        client.expect_silence(Duration::from_millis(30));
        client.send(&data(index as u16 + 1, block));
    }
    client.expect_ack(4);
    client.send(&data(5, blocks[4]));
    client.expect_silence(Duration::from_millis(100));
    client.send(&data(6, blocks[5]));
    client.expect_ack(6);
    assert_eq!(served.contents("new"), Some(all));
    served.still_serves();
}

/// R7440-06: the ACK comes at once, and once for each gap, however many blocks follow.
#[test]
fn r7440_06_a_gap_in_an_upload_gets_one_ack() {
    let served = Served::new(&[]);
    let all = content(8 * 512);
    let blocks: Vec<&[u8]> = all.chunks(512).collect();
    let mut client = served.writing("new", &[("windowsize", "8")]);
    // Block 1 of the first window is missing. Only ACK 0 can report that.
    for block in 2..=4u16 {
        client.send(&data(block, blocks[usize::from(block) - 1]));
    }
    client.expect_ack(0);
    client.expect_silence(QUIET);
    client.send(&data(1, blocks[0]));
    // Block 2 is missing now.
    for block in 3..=8u16 {
        client.send(&data(block, blocks[usize::from(block) - 1]));
    }
    client.expect_ack(1);
    client.expect_silence(QUIET);
    for block in 2..=8u16 {
        client.send(&data(block, blocks[usize::from(block) - 1]));
    }
    // The window after ACK 1 ends at block 9, the empty last block.
    client.send(&data(9, &[]));
    client.expect_ack(9);
    assert_eq!(served.contents("new"), Some(all));
    served.still_serves();
}

/// R7440-17: the ACK of a window was lost, so the whole window comes again.
#[test]
fn r7440_17_a_repeated_window_is_not_written_again() {
    let served = Served::new(&[]);
    let all = content(6 * 512 + 3);
    let blocks: Vec<&[u8]> = all.chunks(512).collect();
    let mut client = served.writing("new", &[("windowsize", "3")]);
    for repeat in 0..3 {
        for block in 1..=3u16 {
            client.send(&data(block, blocks[usize::from(block) - 1]));
        }
        client.expect_ack(3);
        client.expect_silence(if repeat == 2 { QUIET } else { Duration::from_millis(30) });
    }
    for block in 4..=6u16 {
        client.send(&data(block, blocks[usize::from(block) - 1]));
    }
    client.expect_ack(6);
    client.send(&data(7, blocks[6]));
    client.expect_ack(7);
    assert_eq!(served.contents("new"), Some(all));
    served.still_serves();
}

/// R2348-05, R7440-02: the memory of a session is bounded, whatever the client asks for.
#[test]
fn the_largest_blocks_are_granted_a_smaller_window() {
    let served = Served::new(&["--windowsize-max", "65535"]);
    let mut client =
        served.ask(&common::raw::rrq("good.img", "octet", &[("windowsize", "65535"), ("blksize", "65464")]));
    let granted = client.expect_oack();
    assert_eq!(granted[1], ("blksize".into(), "65464".into()));
    let window: usize = granted[0].1.parse().unwrap();
    assert!((1..=64).contains(&window) && window * 65464 <= 4 << 20, "{granted:?}");
    client.send(&common::raw::error(0, "thank you"));
    served.still_serves();
}

/// The program's own client sends a run of blocks in one system call, and both ends may receive
/// several blocks in one call.
#[test]
fn windows_of_every_size_arrive_whole() {
    let served = Served::new(&[]);
    let sent = content(3_000_001);
    served.file("sent", &sent);
    for (blksize, windowsize) in
        [("1428", "64"), ("1428", "2"), ("512", "64"), ("8192", "64"), ("65464", "8")]
    {
        let stagecoach = |verb: &str, args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_stagecoach"));
            command.args([verb, "--blksize", blksize, "--windowsize", windowsize]).args(args);
            let output = command.output().expect("the program runs");
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{verb} {windowsize} of {blksize}: {text}");
        };
        let (server, name) = (served.daemon.addr().to_string(), format!("put{windowsize}of{blksize}"));
        let (local, got) = (served.path("sent"), served.path(&format!("got{windowsize}of{blksize}")));
        stagecoach("put", &["--remote", &name, &server, local.to_str().expect("a path")]);
        assert!(served.contents(&name).as_ref() == Some(&sent), "{name}");
        stagecoach("get", &["--output", got.to_str().expect("a path"), &server, &name]);
        assert!(std::fs::read(&got).expect("got") == sent, "{}", got.display());
    }
    served.still_serves();
}
