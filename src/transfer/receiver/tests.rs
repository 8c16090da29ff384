use std::time::Duration;

use super::{OnAbort, Receiver};
use crate::error::Failure;
use crate::limits;
use crate::transfer::script::Script;
use crate::transfer::{Input, Machine, Opening, Rollover, Terms, Timeouts};

mod resuming;

const NOTHING: [&str; 0] = [];

fn terms(blksize: u16, windowsize: u16) -> Terms {
    Terms { blksize, windowsize, ..Terms::default() }
}

fn receiver(terms: Terms, opening: Opening, on_abort: OnAbort) -> Script<Receiver> {
    Script::new(Receiver::new(terms, opening, Timeouts::default(), on_abort))
}

/// A server that waits for DATA 1 of a client without options.
fn plain() -> Script<Receiver> {
    let mut script = receiver(Terms::default(), Opening::Silent, OnAbort::Discard);
    assert_eq!(script.start(), ["ACK 0"]);
    script
}

/// A server that has sent its OACK, with blocks of 8 octets.
fn agreed(windowsize: u16) -> Script<Receiver> {
    let oack = b"\0\x06blksize\x008\0".to_vec();
    let mut script = receiver(terms(8, windowsize), Opening::Oack(oack), OnAbort::Discard);
    assert_eq!(script.start(), ["OACK blksize=8"]);
    script
}

/// Full blocks of 8 octets; returns all answers.
fn blocks(script: &mut Script<Receiver>, numbers: impl IntoIterator<Item = u16>) -> Vec<String> {
    numbers.into_iter().flat_map(|number| script.data(number, &[number as u8; 8])).collect()
}

#[test]
fn r1350_02_r2347_10_an_upload_begins_with_ack_0_or_oack() {
    let mut script = plain();
    assert_eq!(script.data(1, &[1; 512]), ["ACK 1"]);
    assert_eq!(script.data(2, b"end"), ["publish", "ACK 2", "complete"]);
    assert_eq!(script.stored, [&[1; 512][..], b"end"].concat());
    let mut script = agreed(1);
    assert_eq!(blocks(&mut script, [1]), ["ACK 1"], "and no ACK 0 besides the OACK");
}

#[test]
fn r1350_21_every_size_arrives() {
    for blksize in [8_u16, 512, 1428, 65464] {
        let size = usize::from(blksize);
        for length in [0, 1, 7, 511, 512, 513, 1024, size - 1, size, size + 1, 2 * size] {
            let file: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut script = receiver(terms(blksize, 1), Opening::Silent, OnAbort::Discard);
            script.start();
            for number in 1..=length / size {
                let payload = &file[(number - 1) * size..number * size];
                assert_eq!(script.data(number as u16, payload), [format!("ACK {number}")]);
            }
            let last = length / size + 1;
            let said = script.data(last as u16, &file[(last - 1) * size..]);
            assert_eq!(said, ["publish".into(), format!("ACK {last}"), "complete".into()]);
            assert!(script.stored == file, "{length} octets in blocks of {blksize}");
        }
    }
}

#[test]
fn a_doubled_ack_restarts_a_window_only_once() {
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, 1..=4), ["ACK 4"]);
    assert_eq!(blocks(&mut script, 1..=4), ["ACK 4"], "it may have been lost");
    // Both ACKs arrived.
    assert_eq!(blocks(&mut script, 5..=8), ["ACK 8"]);
    assert_eq!(blocks(&mut script, 5..=8), NOTHING);
    assert_eq!(blocks(&mut script, 9..=12), ["ACK 12"]);
    // This ACK was lost,
    assert_eq!(blocks(&mut script, 9..=12), ["ACK 12"]);
    // and this one is lost too.
    assert_eq!(blocks(&mut script, 13..=16), ["ACK 16"]);
    assert_eq!(blocks(&mut script, 13..=16), NOTHING);
    assert_eq!(blocks(&mut script, 13..=16), ["ACK 16"]);
}

#[test]
fn r1350_26_a_repeated_block_is_stored_once() {
    let mut script = plain();
    assert_eq!(script.data(1, &[1; 512]), ["ACK 1"]);
    for _ in 0..3 {
        assert_eq!(script.data(1, &[9; 512]), ["ACK 1"]);
    }
    assert_eq!(script.data(2, &[2; 512]), ["ACK 2"]);
    assert_eq!(script.data(1, &[9; 512]), NOTHING, "long answered");
    assert_eq!(script.data(3, b""), ["publish", "ACK 3", "complete"]);
    assert_eq!(script.stored, [[1; 512], [2; 512]].concat());
}

#[test]
fn r1350_27_blocks_that_cannot_be() {
    for length in [513, 600, 65_000] {
        let mut script = plain();
        assert_eq!(script.data(1, &vec![0; length]), ["ERROR 4", "failed", "close"]);
        assert!(script.stored.is_empty());
        assert_eq!(script.wait(60_000), NOTHING, "R1350-03");
    }
    let mut script = plain();
    assert_eq!(script.data(0, &[0; 512]), NOTHING);
    assert_eq!(script.data(3, &[0; 512]), NOTHING);
    assert_eq!(script.data(2, &[0; 512]), NOTHING);
    assert_eq!(script.data(1, &[1; 512]), ["ACK 1"]);
    assert_eq!(script.data(3, &[0; 512]), NOTHING);
}

#[test]
fn r1350_25_the_final_ack_may_be_lost_thrice() {
    let mut script = plain();
    assert_eq!(script.data(1, b"abc"), ["publish", "ACK 1", "complete"]);
    for _ in 0..3 {
        script.now_ms += 1500;
        assert_eq!(script.data(1, b"abc"), ["ACK 1"]);
    }
    assert_eq!(script.data(2, b"abc"), NOTHING);
    script.now_ms += 900;
    assert_eq!(script.data(1, b"abc"), ["ACK 1"], "a client that repeats after 5 s, and a bit late");
    assert_eq!(script.wait(1000), ["close"]);
    assert_eq!(script.stored, b"abc");
}

/// tftp-hpa and curl send it after a last block with number 0.
#[test]
fn an_empty_block_after_the_last_changes_nothing() {
    let mut script = plain();
    assert_eq!(script.data(1, b"abc"), ["publish", "ACK 1", "complete"]);
    assert_eq!(script.data(2, b""), ["ACK 2"]);
    assert_eq!(script.data(3, b""), NOTHING);
    assert_eq!(script.data(1, b"abc"), ["ACK 1"]);
    assert_eq!(script.stored, b"abc");
}

#[test]
fn r1350_25_a_repeated_last_window_is_answered_once() {
    let mut script = agreed(4);
    blocks(&mut script, 1..=6);
    assert_eq!(script.data(7, b"x"), ["publish", "ACK 7", "complete"]);
    let mut said = blocks(&mut script, 5..=6);
    said.extend(script.data(7, b"x"));
    assert_eq!(said, ["ACK 7"]);
}

#[test]
fn r1350_25_a_long_interval_prolongs_dallying() {
    let interval = Some(Duration::from_secs(10));
    let mut script = receiver(Terms { interval, ..terms(8, 1) }, Opening::Silent, OnAbort::Discard);
    script.start();
    script.data(1, b"abc");
    assert_eq!(script.armed_in(), Some(30_000));
}

#[test]
fn wr_04_nothing_is_answered_during_publication() {
    let mut script = plain();
    script.writes = false;
    assert_eq!(script.data(1, b"abc"), ["publish"]);
    assert_eq!(script.deadline, None, "the server's own time");
    assert_eq!(script.data(1, b"abc"), NOTHING);
    assert_eq!(script.feed(Input::Repeated), NOTHING);
    assert_eq!(script.feed(Input::PeerGone), NOTHING);
    script.now_ms += 90_000;
    script.feed(Input::Stored);
    assert_eq!(script.feed(Input::Published), ["ACK 1", "complete"]);
}

#[test]
fn wr_04_an_unpublished_file_is_not_acknowledged() {
    let mut script = plain();
    script.writes = false;
    script.data(1, b"abc");
    assert_eq!(script.fail(Failure::Exists), ["ERROR 6", "failed", "close"]);
    assert_eq!(script.data(1, b"abc"), NOTHING);
}

#[test]
fn r1350_55_a_full_disk_ends_it() {
    let mut script = agreed(1);
    blocks(&mut script, 1..=20);
    assert_eq!(script.fail(Failure::DiskFull), ["ERROR 3", "failed", "close"]);
    assert_eq!(blocks(&mut script, [21]), NOTHING);
    assert_eq!(script.deadline, None);
}

#[test]
fn a_failure_after_the_end_is_not_the_peers_affair() {
    let mut script = plain();
    script.data(1, b"abc");
    assert_eq!(script.fail(Failure::ShuttingDown), ["close"]);
}

#[test]
fn r1350_53_an_error_ends_an_upload_without_a_trace() {
    let mut script = plain();
    script.data(1, &[1; 512]);
    assert_eq!(script.datagram(b"\0\x05\0\0Early terminate"), ["peer-aborted", "close"]);
    assert!(script.stored.is_empty());
    assert_eq!(script.wait(60_000), NOTHING);
    let mut script = plain();
    assert_eq!(script.datagram(b"\0\x05\0\0\0"), ["peer-aborted", "close"], "there was nothing to decline");
    let mut script = agreed(1);
    assert_eq!(script.datagram(b"\0\x05\0\x08\0"), ["declined", "close"], "R2347-12");
}

#[test]
fn on_abort_keep_publishes_a_partial_file() {
    for ends in ["error", "silence", "gone"] {
        let mut script = receiver(Terms::default(), Opening::Silent, OnAbort::Keep);
        script.start();
        script.data(1, &[1; 512]);
        let (said, outcome) = match ends {
            "error" => (script.datagram(b"\0\x05\0\0\0"), "peer-aborted"),
            "gone" => (script.feed(Input::PeerGone), "peer-gone"),
            _ => (script.wait(61_000), "timed-out"),
        };
        assert_eq!(said[said.len() - 3..], ["publish-partial", outcome, "close"]);
        assert_eq!(script.stored, [1; 512]);
    }
    let mut script = receiver(Terms::default(), Opening::Silent, OnAbort::Keep);
    script.start();
    assert_eq!(script.datagram(b"\0\x05\0\0\0"), ["peer-aborted", "close"], "nothing came");
}

#[test]
fn r1350_08_an_error_is_not_answered_if_keeping_fails() {
    let mut script = receiver(Terms::default(), Opening::Silent, OnAbort::Keep);
    script.start();
    script.data(1, &[1; 512]);
    script.writes = false;
    assert_eq!(script.datagram(b"\0\x05\0\0\0"), ["publish-partial"]);
    assert_eq!(script.fail(Failure::DiskFull), ["peer-aborted", "close"]);
}

#[test]
fn a_writer_that_is_behind_makes_the_sender_wait() {
    let mut script = receiver(terms(65464, 1), Opening::Silent, OnAbort::Discard);
    script.start();
    script.writes = false;
    let mut number = 0;
    while script.data(number + 1, &[7; 65464]) == [format!("ACK {}", number + 1)] {
        number += 1;
        assert!(number < 100, "nothing stops it");
    }
    assert!(script.stored.len() <= (limits::SLABS_UNSTORED_MAX + 1) * 2 * limits::SLAB_OCTETS);
    assert_eq!(script.deadline, None);
    assert_eq!(script.data(number + 1, &[7; 65464]), NOTHING, "a repeat is not answered either");
    assert_eq!(script.wait(60_000), NOTHING);
    assert_eq!(script.feed(Input::Stored), [format!("ACK {}", number + 1)]);
    assert_eq!(script.armed_in(), Some(500), "only now the sender's time runs");
    assert!(script.wait(14_000).iter().all(|said| *said == format!("ACK {}", number + 1)));
}

#[test]
fn lore_16_a_forged_upload_costs_three_datagrams() {
    let mut script = plain();
    assert_eq!(
        script.wait_timed(60_000),
        [
            (500, "ACK 0".into()),
            (1500, "ACK 0".into()),
            (21_500, "unanswered".into()),
            (21_500, "close".into())
        ]
    );
}

#[test]
fn a_restrained_upload_costs_one_datagram() {
    let mut script = plain();
    assert_eq!(script.feed(Input::Restrained), NOTHING);
    script.now_ms += 1000;
    assert_eq!(script.feed(Input::Repeated), ["ACK 0"]);
    assert_eq!(script.wait_timed(60_000), [(21_000, "unanswered".into()), (21_000, "close".into())]);
    let mut script = plain();
    assert_eq!(script.feed(Input::GivenUp), ["unanswered", "close"]);
    let mut script = plain();
    script.data(1, &[1; 512]);
    assert_eq!(script.feed(Input::GivenUp), NOTHING, "it is there");
    assert_eq!(script.data(2, b"end"), ["publish", "ACK 2", "complete"]);
}

#[test]
fn lore_11_d13_a_repeated_upload_request_is_answered() {
    let mut script = plain();
    script.now_ms += 50;
    assert_eq!(script.feed(Input::Repeated), NOTHING, "it crossed ACK 0");
    script.now_ms += 60;
    assert_eq!(script.feed(Input::Repeated), ["ACK 0"]);
    script.data(1, &[1; 512]);
    script.now_ms += 400;
    assert_eq!(script.feed(Input::Repeated), NOTHING);
}

#[test]
fn r1123_06_a_stalled_upload_is_given_up() {
    let mut script = plain();
    script.now_ms += 1;
    script.data(1, &[1; 512]);
    let said = script.wait_timed(60_000);
    assert_eq!(said[0], (501, "ACK 1".into()), "in no hurry, however short the round trip");
    assert_eq!(said[said.len() - 2..], [(60_001, "timed-out".into()), (60_001, "close".into())]);
    assert!(said.len() <= 17);
}

#[test]
fn r7440_04_12_each_window_end_is_acknowledged() {
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, 1..=5), ["ACK 4"]);
    assert_eq!(script.data(6, b"x"), ["publish", "ACK 6", "complete"]);
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, 1..=8), ["ACK 4", "ACK 8"]);
    assert_eq!(script.data(9, b""), ["publish", "ACK 9", "complete"]);
}

#[test]
fn r7440_06_a_gap_is_reported_at_once_and_once() {
    let mut script = agreed(8);
    assert_eq!(blocks(&mut script, [1, 3, 4, 5, 6, 7, 8]), ["ACK 1"]);
    assert_eq!(blocks(&mut script, 2..=9), ["ACK 9"], "the next window starts there");
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, 2..=4), ["ACK 0"], "block 1 was lost");
    assert!(script.machine.is_proven());
    assert_eq!(blocks(&mut script, 1..=4), ["ACK 4"]);
}

#[test]
fn r7440_17_a_repeated_window_is_answered_once() {
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, 1..=8), ["ACK 4", "ACK 8"]);
    assert_eq!(blocks(&mut script, 5..=8), ["ACK 8"], "ACK 8 was lost");
    assert_eq!(blocks(&mut script, 5..=8), ["ACK 8"], "and again");
    assert_eq!(blocks(&mut script, 9..=12), ["ACK 12"]);
    script.data(13, b"");
    assert_eq!(script.stored, (1..=12).flat_map(|number| [number; 8]).collect::<Vec<u8>>());
}

#[test]
fn r7440_17_a_lost_ack_of_a_gap_completes_the_window() {
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, [1, 2, 4]), ["ACK 2"]);
    assert_eq!(blocks(&mut script, 1..=4), ["ACK 4"]);
    assert_eq!(blocks(&mut script, 5..=8), ["ACK 8"]);
}

#[test]
fn blocks_that_the_network_doubled_are_not_answered() {
    let mut script = agreed(4);
    assert_eq!(blocks(&mut script, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]), ["ACK 4"]);
}

#[test]
fn lore_01_04_an_upload_may_wrap_to_0_or_to_1() {
    for (ours, after) in [(Rollover::Zero, 0), (Rollover::Zero, 1), (Rollover::One, 0), (Rollover::One, 1)] {
        let mut script = receiver(Terms { rollover: ours, ..terms(8, 1) }, Opening::Silent, OnAbort::Discard);
        script.start();
        blocks(&mut script, 1..=65_535);
        let next = (after..after + 3).map(|number| format!("ACK {number}")).collect::<Vec<_>>();
        assert_eq!(blocks(&mut script, after..after + 3), next, "{ours:?}");
        assert_eq!(blocks(&mut script, [after + 2]), [format!("ACK {}", after + 2)], "a repeat after it");
        script.data(after + 3, b"");
        assert_eq!(script.stored.len(), 65_538 * 8);
    }
}

#[test]
fn lore_03_an_agreed_rollover_is_the_only_one() {
    let terms = Terms { rollover_agreed: true, ..terms(8, 1) };
    let mut script = receiver(terms, Opening::Silent, OnAbort::Discard);
    script.start();
    blocks(&mut script, 1..=65_535);
    assert_eq!(blocks(&mut script, [1]), NOTHING);
    assert_eq!(blocks(&mut script, [0]), ["ACK 0"]);
}

#[test]
fn lore_04_a_lost_block_0_is_no_wrap_to_1() {
    let mut script = agreed(7);
    blocks(&mut script, 1..=65_534);
    assert_eq!(blocks(&mut script, [65_535, 1, 2, 3]), ["ACK 65535"]);
    assert_eq!(blocks(&mut script, [0, 1, 2, 3, 4, 5, 6]), ["ACK 6"]);
}

#[test]
fn r1350_41_43_netascii_is_decoded_across_blocks() {
    let mut script = receiver(Terms { netascii: true, ..terms(8, 1) }, Opening::Silent, OnAbort::Discard);
    script.start();
    script.data(1, b"1234567\r");
    script.data(2, b"\nabc\r\0\xe9\r");
    script.data(3, b"\0x\r");
    assert_eq!(script.stored, b"1234567\nabc\r\xe9\rx\r");
}

#[test]
fn what_was_done_is_counted() {
    let mut script = agreed(1);
    blocks(&mut script, [1, 2, 2, 9]);
    script.datagram(b"\0\x04\0\x01");
    let tally = script.machine.tally();
    assert_eq!((tally.octets, tally.blocks, tally.repeats, tally.ignored), (16, 2, 1, 3));
}
