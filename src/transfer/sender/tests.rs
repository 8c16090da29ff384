use std::time::Duration;

use bytes::Bytes;

use super::Sender;
use crate::error::Failure;
use crate::limits;
use crate::transfer::script::Script;
use crate::transfer::{Input, Machine, Opening, Rollover, Terms, Timeouts};
use crate::wire::Packet;

mod patience;
mod resuming;
mod unproven;
mod windows;

const NOTHING: [&str; 0] = [];

fn octets(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// A server that sends `file` to a client without options.
fn plain(file: &[u8]) -> Script<Sender> {
    Script::new(Sender::new(Terms::default(), Opening::Silent, Timeouts::default())).reading(file)
}

fn terms(blksize: u16, windowsize: u16) -> Terms {
    Terms { blksize, windowsize, ..Terms::default() }
}

/// A server that sends `blocks` blocks, the last of 3 octets, and has sent its OACK.
fn agreed(terms: Terms, blocks: usize) -> Script<Sender> {
    let file = octets((blocks - 1) * usize::from(terms.blksize) + 3);
    let oack = b"\0\x06blksize\x008\0".to_vec();
    let mut script = Script::new(Sender::new(terms, Opening::Oack(oack), Timeouts::default())).reading(file);
    assert_eq!(script.start(), ["OACK blksize=8"]);
    script
}

#[test]
fn r1350_20_21_every_size_ends_with_a_short_block() {
    for blksize in [8_u16, 512, 1428, 65464] {
        let size = usize::from(blksize);
        for length in [0, 1, 7, 511, 512, 513, 1023, 1024, size - 1, size, size + 1, 2 * size, 3 * size - 1] {
            let file = octets(length);
            let mut script =
                Script::new(Sender::new(terms(blksize, 1), Opening::Silent, Timeouts::default()))
                    .reading(&file[..]);
            let blocks = length / size + 1;
            assert_eq!(script.start(), ["DATA 1"]);
            for block in 1..blocks as u16 {
                assert_eq!(script.ack(block), [format!("DATA {}", block + 1)]);
            }
            assert_eq!(script.ack(blocks as u16), ["complete", "close"]);
            let sent: Vec<u8> = script.payloads.iter().flat_map(|(_, payload)| payload.clone()).collect();
            assert!(sent == file, "{length} octets in blocks of {blksize}");
            assert!(script.payloads.iter().rev().skip(1).all(|(_, payload)| payload.len() == size));
            assert_eq!(script.payloads.last().unwrap().1.len(), length % size);
        }
    }
}

#[test]
fn slabs_may_come_in_odd_pieces() {
    for piece in [1, 7, 8, 9, 500] {
        let file = octets(600);
        let mut script =
            Script::new(Sender::new(terms(8, 4), Opening::Answered, Timeouts::default())).reading(&file[..]);
        script.piece = piece;
        script.start();
        for block in 1..=76 {
            script.ack(block);
        }
        let mut sent = vec![0; 600];
        for (position, payload) in &script.payloads {
            let from = (*position as usize - 1) * 8;
            sent[from..from + payload.len()].copy_from_slice(payload);
        }
        assert!(sent == file, "pieces of {piece}");
        assert!(script.machine.ending.is_over);
    }
}

#[test]
fn r1350_22_one_block_is_in_flight() {
    let mut script = plain(&octets(2000));
    assert_eq!(script.start(), ["DATA 1"]);
    assert_eq!(
        script.wait(2500),
        ["DATA 1", "DATA 1"],
        "only repeats, and no more than three before an answer"
    );
    assert_eq!(script.ack(1), ["DATA 2"]);
}

#[test]
fn lore_16_a_forged_request_buys_three_datagrams() {
    let mut script = plain(&octets(1 << 20));
    script.start();
    assert_eq!(script.wanted, None);
    assert_eq!(
        script.wait_timed(60_000),
        [
            (500, "DATA 1".into()),
            (1500, "DATA 1".into()),
            (21_500, "unanswered".into()),
            (21_500, "close".into())
        ]
    );
    let mut script = agreed(terms(8, 64), 1000);
    let said = script.wait(60_000);
    assert_eq!(said, ["OACK blksize=8", "OACK blksize=8", "unanswered", "close"]);
    assert!(script.payloads.is_empty());
}

#[test]
fn lore_16_a_repeated_request_buys_one_datagram() {
    let mut script = plain(&octets(2000));
    script.start();
    script.wait(1500);
    for _ in 0..50 {
        script.now_ms += 50;
        let crossed = script.feed(Input::Repeated);
        script.now_ms += 50;
        let answered = script.feed(Input::Repeated);
        assert_eq!([crossed, answered].concat(), ["DATA 1"], "one of two, for the other has crossed it");
        assert_eq!(script.wait(100), NOTHING);
    }
}

#[test]
fn every_repeated_request_of_a_deaf_client_is_answered() {
    for every_ms in [1000, 2000, 3000, 5000, 19_000] {
        let mut script = plain(&octets(2000));
        script.start();
        for _ in 0..20 {
            script.wait(every_ms);
            assert_eq!(script.feed(Input::Repeated), ["DATA 1"], "every {every_ms} ms");
        }
        assert_eq!(script.ack(1), ["DATA 2"]);
    }
}

#[test]
fn d13_a_repeated_request_is_answered_unless_crossed() {
    let mut script = plain(&octets(2000));
    script.start();
    script.now_ms += 40;
    assert_eq!(script.feed(Input::Repeated), NOTHING, "it crossed DATA 1 on the way");
    script.now_ms += 70;
    assert_eq!(script.feed(Input::Repeated), ["DATA 1"]);
    script.ack(1);
    script.now_ms += 400;
    assert_eq!(script.feed(Input::Repeated), NOTHING, "later it is another session's affair");
}

#[test]
fn lore_16_an_unproven_peer_gets_memory_for_one_block() {
    let mut script = Script::new(Sender::new(terms(512, 1), Opening::Silent, Timeouts::default()));
    script.start();
    assert_eq!(script.wanted, Some((0, 512)));
    script.feed(Input::Slab { bytes: octets(512).into(), end: false });
    script.wanted = None;
    assert_eq!(script.ack(1), NOTHING);
    assert_eq!(script.wanted, Some((512, limits::SLAB_OCTETS - 512)), "then on to the slab boundary");
}

#[test]
fn r1350_23_24_an_unacknowledged_last_block_is_repeated() {
    let mut script = plain(&octets(600));
    script.start();
    script.now_ms += 10;
    assert_eq!(script.ack(1), ["DATA 2"]);
    let said = script.wait(60_000);
    assert!(said.len() >= 4, "{said:?}");
    assert!(said[..said.len() - 2].iter().all(|it| it == "DATA 2"), "{said:?}");
    assert_eq!(said[said.len() - 2..], ["unconfirmed", "close"]);
}

#[test]
fn r1350_24_a_port_closed_after_the_end_is_no_failure() {
    let mut script = plain(&octets(600));
    script.start();
    script.ack(1);
    assert_eq!(script.feed(Input::PeerGone), ["unconfirmed", "close"]);
    let mut script = plain(&octets(2000));
    script.start();
    script.ack(1);
    assert_eq!(script.feed(Input::PeerGone), ["peer-gone", "close"]);
    let mut script = plain(b"abc");
    script.start();
    assert_eq!(script.feed(Input::PeerGone), ["peer-gone", "close"], "it never answered at all");
}

#[test]
fn r1350_56_a_peer_that_vanishes_is_given_up() {
    let mut script = plain(&octets(5000));
    script.start();
    script.now_ms += 5;
    script.ack(1);
    let said = script.wait_timed(70_000);
    assert_eq!(said[said.len() - 2..], [(60_005, "timed-out".into()), (60_005, "close".into())]);
    assert!(said.len() < 20, "LORE-15: {said:?}");
}

#[test]
fn r1350_53_an_error_ends_a_download_unanswered() {
    for error in [&b"\0\x05\0\0\0"[..], b"\0\x05\0\x03full", b"\0\x05\xff\xff\xff\xfe\0"] {
        let mut script = plain(&octets(5000));
        script.start();
        script.ack(1);
        assert_eq!(script.datagram(error), ["peer-aborted", "close"]);
        assert_eq!(script.deadline, None);
        assert_eq!(script.ack(2), NOTHING);
        assert_eq!(script.wait(60_000), NOTHING);
    }
}

#[test]
fn r2347_12_a_client_that_probes_a_size_is_no_failure() {
    let mut script = agreed(terms(8, 1), 5);
    assert_eq!(script.datagram(b"\0\x05\0\x08User aborted the transfer\0"), ["declined", "close"]);
    assert_eq!(script.wait(60_000), NOTHING);
    let mut script = agreed(terms(8, 1), 5);
    script.ack(0);
    assert_eq!(script.datagram(b"\0\x05\0\0\0"), ["peer-aborted", "close"]);
}

#[test]
fn r1350_54_unexpected_packets_change_nothing() {
    let mut script = plain(&octets(5000));
    script.start();
    script.ack(1);
    let deadline = script.deadline;
    let strays: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\0\x04\0",
        b"\0\0\0\0",
        b"\0\x07\0\0",
        b"\0\x01f\0octet\0",
        b"\0\x02f\0octet\0",
        b"\0\x06blksize\x008\0",
        b"\0\x03\0\x02abc",
    ];
    for stray in strays {
        script.now_ms += 1;
        assert_eq!(script.datagram(stray), NOTHING, "{stray:?}");
        assert_eq!(script.deadline, deadline, "{stray:?}");
    }
    assert_eq!(script.machine.tally().ignored, 9);
    assert_eq!(script.ack(2), ["DATA 3"]);
}

#[test]
fn r1350_55_a_failure_is_reported_to_the_peer_once() {
    let mut script = plain(&octets(5000));
    script.start();
    script.ack(1);
    assert_eq!(script.fail(Failure::Io), ["ERROR 0", "failed", "close"]);
    assert_eq!(script.deadline, None);
    assert_eq!(script.ack(2), NOTHING, "R1350-03");
    assert_eq!(script.fail(Failure::Io), NOTHING);
}

#[test]
fn lore_13_acks_of_unsent_or_old_blocks_are_ignored() {
    let mut script = plain(&octets(20_000));
    script.start();
    for block in 1..10 {
        script.ack(block);
    }
    let deadline = script.deadline;
    script.now_ms += 3;
    for block in [0, 1, 8, 11, 12, 1000, 40_000, 65535] {
        assert_eq!(script.ack(block), NOTHING, "{block}");
        assert_eq!(script.deadline, deadline, "R7440-09: {block}");
    }
    assert_eq!(script.ack(10), ["DATA 11"]);
}

#[test]
fn r1123_01_two_acks_of_a_repeated_oack_double_nothing() {
    let mut script = agreed(terms(8, 4), 12);
    assert_eq!(script.wait(600), ["OACK blksize=8"]);
    assert_eq!(script.ack(0), ["DATA 1-4"]);
    script.now_ms += 1;
    assert_eq!(script.ack(0), NOTHING, "it accepts the other one");
    assert_eq!(script.ack(4), ["DATA 5-8"]);
}

/// RFC 1123 §4.2.3.1: the Sorcerer's Apprentice.
#[test]
fn r1123_01_a_late_ack_does_not_double_the_file() {
    let mut script = plain(&octets(20 * 512));
    script.start();
    script.now_ms += 2;
    assert_eq!(script.ack(1), ["DATA 2"]);
    // ACK 2 is late: DATA 2 is repeated, and both copies are answered. Later blocks are sent once.
    let late = script.wait(260);
    assert!(!late.is_empty() && late.iter().all(|it| it == "DATA 2"));
    for block in 2..=20 {
        assert_eq!(script.ack(block), [format!("DATA {}", block + 1)]);
        script.now_ms += 1;
        assert_eq!(script.ack(block), NOTHING, "the echo of ACK {block}");
        script.now_ms += 1;
    }
    assert_eq!(script.ack(21), ["complete", "close"]);
    for position in 3..=21 {
        assert_eq!(script.payloads.iter().filter(|(it, _)| *it == position).count(), 1, "block {position}");
    }
}

#[test]
fn r1123_01_ten_equal_acks_make_one_block() {
    let mut script = plain(&octets(5000));
    script.start();
    script.ack(1);
    assert_eq!(script.ack(2), ["DATA 3"]);
    for _ in 0..10 {
        script.now_ms += 7;
        assert_eq!(script.ack(2), NOTHING);
    }
}

#[test]
fn r783_02_doubled_acks_send_each_block_once() {
    let mut script = plain(&octets(50 * 512));
    let mut said = script.start();
    for block in 1..=50 {
        said.extend(script.ack(block));
        script.now_ms += 4;
        said.extend(script.ack(block));
    }
    assert_eq!(said, (1..=51).map(|block| format!("DATA {block}")).collect::<Vec<_>>());
}

#[test]
fn r2347_09_no_data_before_the_oack_is_accepted() {
    for windowsize in [1, 4] {
        let mut script = agreed(terms(8, windowsize), 9);
        assert_eq!(script.wanted, None, "nothing is read for a peer that hasn't answered");
        for block in [1, 2, 65535] {
            assert_eq!(script.ack(block), NOTHING);
        }
        let first = if windowsize == 1 { "DATA 1" } else { "DATA 1-4" };
        assert_eq!(script.ack(0), [first]);
    }
}

#[test]
fn r2347_11_a_lost_oack_is_repeated() {
    let mut script = agreed(terms(8, 1), 9);
    assert_eq!(script.wait(500), ["OACK blksize=8"]);
    assert_eq!(script.ack(0), ["DATA 1"]);
    script.now_ms += 1;
    assert_eq!(script.ack(0), NOTHING, "the answer to the other OACK");
    assert_eq!(script.ack(1), ["DATA 2"]);
    assert_eq!(script.ack(0), NOTHING);
}

#[test]
fn r2349_02_03_a_silent_peer_keeps_its_interval() {
    let terms = Terms { interval: Some(Duration::from_secs(2)), ..terms(8, 1) };
    let mut script = agreed(terms, 9);
    script.now_ms = 300;
    script.ack(0);
    let said = script.wait_timed(70_000);
    let times: Vec<_> = said.iter().map(|(at, _)| *at).collect();
    let repeats: Vec<_> = (1..30).map(|number| 300 + number * 2000).collect();
    assert_eq!(times, [repeats, vec![60_300, 60_300]].concat());
    assert_eq!(said.last().unwrap().1, "close");
}

#[test]
fn a_slow_disk_never_counts_against_the_peer() {
    let mut script = Script::new(Sender::new(Terms::default(), Opening::Silent, Timeouts::default()));
    script.start();
    assert_eq!(script.deadline, None);
    script.now_ms = 20_000;
    assert_eq!(script.feed(Input::Slab { bytes: octets(512).into(), end: false }), ["DATA 1"]);
    assert_eq!(script.armed_in(), Some(500));
    assert_eq!(script.wait(900), ["DATA 1"], "after 20 s of ours the peer still has its 3 s");
    script.wanted = None;
    script.ack(1);
    assert_eq!(script.deadline, None, "the disk again");
    script.now_ms += 40_000;
    script.feed(Input::Slab { bytes: octets(512).into(), end: true });
    assert!(script.wait(14_000).iter().all(|it| it == "DATA 2"));
}

#[test]
fn r1350_41_42_netascii_blocks_are_repeated_alike() {
    let terms = Terms { netascii: true, ..terms(8, 2) };
    let mut script = Script::new(Sender::new(terms, Opening::Answered, Timeouts::default()))
        .reading(&b"1234567\nabc\rde\n"[..]);
    script.piece = 5;
    script.start();
    script.wait(600);
    script.ack(1);
    script.ack(2);
    script.ack(3);
    assert!(script.machine.ending.is_over);
    let block = |number| script.payloads.iter().filter(move |(position, _)| *position == number);
    for (number, payload) in [(1, &b"1234567\r"[..]), (2, b"\nabc\r\0de"), (3, b"\r\n")] {
        assert!(block(number).count() >= 1);
        assert!(block(number).all(|(_, sent)| sent == payload), "block {number}");
    }
    assert!(block(1).count() >= 2, "it was repeated");
}

#[test]
fn r1350_41_a_file_of_256_line_ends_fills_a_block() {
    let terms = Terms { netascii: true, ..Terms::default() };
    let mut script =
        Script::new(Sender::new(terms, Opening::Silent, Timeouts::default())).reading(vec![b'\n'; 256]);
    assert_eq!(script.start(), ["DATA 1"]);
    assert_eq!(script.ack(1), ["DATA 2"]);
    assert_eq!(script.ack(2), ["complete", "close"]);
    assert_eq!(script.payloads[0].1, b"\r\n".repeat(256));
    assert_eq!(script.payloads[1].1, b"");
}

#[test]
fn an_unrequested_slab_does_not_shift_the_file() {
    let mut script = plain(b"abc");
    assert_eq!(script.start(), ["DATA 1"]);
    assert_eq!(script.feed(Input::Slab { bytes: Bytes::from_static(b"xyz"), end: false }), NOTHING);
    assert_eq!(script.wait(500), ["DATA 1"]);
    assert_eq!(script.payloads[1].1, b"abc");
    assert_eq!(script.ack(1), ["complete", "close"]);
}

#[test]
fn what_was_done_is_counted() {
    let mut script = plain(&octets(1000));
    script.start();
    script.wait(500);
    script.ack(1);
    script.ack(1);
    script.datagram(&Packet::Data { block: 1, payload: b"" }.to_bytes());
    let tally = script.machine.tally();
    assert_eq!((tally.octets, tally.blocks, tally.repeats, tally.ignored), (512, 2, 1, 2));
    script.ack(2);
    assert_eq!(script.machine.tally().octets, 1000);
}
