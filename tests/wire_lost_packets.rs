//! Packets that are lost or late: RFC 1350 §2 and §6, RFC 1123 §4.2.3.1 (the Sorcerer's Apprentice)
//! and §4.2.3.2.

mod common;

use std::time::{Duration, Instant};

use common::raw::{self, ack, data, rrq, wrq};
use common::served::{GOOD, Served};

/// R1350-22, -23: the server repeats each block until its ACK, the last block too, and sends no
/// other block before.
#[test]
fn every_block_is_repeated_until_its_ack() {
    let served = Served::new(&["--ack-timeout", "0.1"]);
    let mut client = served.ask(&rrq(GOOD, "octet", &[("utimeout", "100000")]));
    client.expect_oack();
    client.expect_oack();
    let mut block = 0;
    while block < 3 {
        client.send(&ack(block));
        block += 1;
        // A copy may have been on its way when the client sent the ACK.
        let first = client.expect_new_data(block);
        assert_eq!(client.expect_data(block), first);
        assert_eq!(client.expect_data(block), first);
    }
    client.send(&ack(3));
    served.logged("read complete", GOOD);
    client.drain(Duration::from_millis(10));
    client.expect_silence(Duration::from_millis(300));
    served.still_serves();
}

/// R1123-01: after one late ACK, a server with the bug would send every later block twice.
#[test]
fn a_late_ack_does_not_double_later_blocks() {
    let served = Served::new(&[]);
    served.file("file", &[1; 30 * 512]);
    let mut client = served.ask(&rrq("file", "octet", &[("timeout", "3")]));
    client.expect_oack();
    client.send(&ack(0));
    client.expect_data(1);
    // The ACK is late, as the server has repeated the block by now.
    client.expect_data(1);
    client.send(&ack(1));
    client.send(&ack(1));
    for block in 2..=31 {
        client.expect_data(block);
        // This client answers each copy, as clients of 1981 do.
        client.send(&ack(block));
        client.send(&ack(block));
    }
    client.expect_silence(Duration::from_millis(300));
    let line = served.logged("read complete", "file");
    assert!(line.contains("repeats: 1,"), "{line}");
    served.still_serves();
}

/// R1123-02: the interval follows the round trip, which is tiny here. Without back-off there would
/// be hundreds of repeats.
#[test]
fn repeats_to_a_silent_client_back_off() {
    let served = Served::new(&["--ack-timeout", "0.1", "--timeout", "3"]);
    let mut client = served.ask(&rrq(GOOD, "octet", &[]));
    client.expect_data(1);
    client.send(&ack(1));
    client.expect_new_data(2);
    served.logged("read timed-out", GOOD);
    let copies = client.drain(Duration::from_millis(50)).len();
    assert!((2..=20).contains(&copies), "{copies} repeats in 3 s");
    served.still_serves();
}

/// LORE-14, CL-07: a device answers fast, and then pauses to write its flash. On a slow machine the
/// copy arrives later, never sooner.
#[test]
fn a_client_that_pauses_gets_no_repeat_within_250_ms() {
    let served = Served::new(&[]);
    served.file("file", &[7; 100 * 512]);
    for (options, floor) in [(&[][..], 250), (&[("windowsize", "4")], 250), (&[("utimeout", "700000")], 700)]
    {
        let mut client = served.ask(&rrq("file", "octet", options));
        let window = if options == [("windowsize", "4")] { 4 } else { 1 };
        if !options.is_empty() {
            client.expect_oack();
            client.send(&ack(0));
        }
        for block in 1..=20 {
            client.expect_new_data(block);
            if block % window == 0 && block < 20 {
                client.send(&ack(block));
            }
        }
        let began = Instant::now();
        client.send(&ack(20));
        (21..21 + window).for_each(|block| drop(client.expect_new_data(block)));
        client.expect_data(21);
        assert!(began.elapsed() >= Duration::from_millis(floor), "a copy after {:?}", began.elapsed());
        client.send(&raw::error(0, "thank you"));
    }
    served.still_serves();
}

/// R1123-06: the server repeats its ACK in a stalled upload.
#[test]
fn a_lost_upload_block_makes_the_ack_repeat() {
    let served = Served::new(&["--ack-timeout", "0.1"]);
    let mut client = served.ask(&wrq("new", "octet", &[("utimeout", "200000")]));
    client.expect_oack();
    client.send(&data(1, &[1; 512]));
    client.expect_ack(1);
    client.expect_ack(1);
    client.send(&data(2, b"end"));
    client.expect_new_ack(2);
    assert_eq!(served.contents("new"), Some([&[1; 512][..], b"end"].concat()));
    served.still_serves();
}

/// D5: the server waits for a client that repeats after 4 to 5 s.
#[test]
fn a_client_that_is_slow_to_repeat_is_not_given_up() {
    let served = Served::new(&[]);
    let mut reader = served.ask(&rrq(GOOD, "octet", &[]));
    reader.expect_data(1);
    reader.send(&ack(1));
    reader.expect_new_data(2);
    let mut writer = served.ask(&wrq("new", "octet", &[]));
    writer.expect_ack(0);
    writer.send(&data(1, &[1; 512]));
    writer.expect_new_ack(1);
    // A client whose first block was lost, and which does not repeat the block yet.
    let mut unheard = served.ask(&wrq("other", "octet", &[]));
    unheard.expect_ack(0);
    let until = Instant::now() + Duration::from_secs(5);
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    reader.drain(Duration::from_millis(10));
    reader.send(&ack(2));
    reader.expect_new_data(3);
    reader.send(&ack(3));
    writer.drain(Duration::from_millis(10));
    writer.send(&data(2, b"end"));
    writer.expect_new_ack(2);
    unheard.drain(Duration::from_millis(10));
    unheard.send(&data(1, b"all"));
    unheard.expect_new_ack(1);
    served.logged("read complete", GOOD);
    served.logged("write complete", "new");
    served.logged("write complete", "other");
    served.still_serves();
}
