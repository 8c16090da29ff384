//! Windows (RFC 7440) and wrapping block numbers: what is sent, what is repeated, and when.

use super::*;

#[test]
fn r7440_03_12_windows_are_whole_but_the_last() {
    let mut script = agreed(terms(8, 4), 10);
    assert_eq!(script.ack(0), ["DATA 1-4"]);
    assert_eq!(script.ack(4), ["DATA 5-8"]);
    assert_eq!(script.ack(8), ["DATA 9-10"]);
    assert_eq!(script.ack(10), ["complete", "close"]);
    // A multiple of block and window size: an empty block begins a new window.
    let mut script =
        Script::new(Sender::new(terms(8, 4), Opening::Answered, Timeouts::default())).reading(octets(32));
    assert_eq!(script.start(), ["DATA 1-4"]);
    assert_eq!(script.ack(4), ["DATA 5"]);
    assert_eq!(script.payloads.last(), Some(&(5, Vec::new())));
    assert_eq!(script.ack(5), ["complete", "close"]);
}

#[test]
fn the_next_window_is_in_memory_at_its_ack() {
    for (blksize, windowsize) in [(512, 1), (1428, 1), (65464, 1), (1428, 16), (1428, 64), (8192, 8)] {
        let window_octets = usize::from(blksize) * usize::from(windowsize);
        let windows = (300 * limits::SLAB_OCTETS).div_ceil(window_octets) as u16;
        let mut script = agreed(terms(blksize, windowsize), (windows * windowsize).into());
        script.ack(0);
        for acked in (1..windows).map(|window| window * windowsize) {
            let file = script.file.take();
            let (first, last) = (acked + 1, acked + windowsize);
            let whole = if first == last { format!("DATA {first}") } else { format!("DATA {first}-{last}") };
            assert_eq!(script.ack(acked), [whole], "blocks of {blksize}, windows of {windowsize}");
            script.file = file;
            assert_eq!(script.read(), NOTHING);
        }
    }
}

#[test]
fn r7440_05_a_timeout_repeats_the_window() {
    let mut script = agreed(terms(8, 4), 30);
    script.ack(0);
    script.ack(4);
    assert_eq!(script.wait(500)[0], "DATA 5-8");
    assert_eq!(script.ack(8), ["DATA 9-12"]);
}

/// The example of RFC 7440 §4: block n+6 is lost.
#[test]
fn r7440_07_an_ack_within_the_window_moves_it() {
    let mut script = agreed(terms(8, 4), 30);
    script.ack(0);
    script.ack(4);
    script.now_ms += 2;
    assert_eq!(script.ack(5), ["DATA 6-9"]);
    assert_eq!(script.ack(9), ["DATA 10-13"]);
    let copies: Vec<_> = script.payloads.iter().filter(|(position, _)| *position == 6).collect();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0], copies[1]);
}

/// Forged or duplicated ACKs cause the rest of one window at most.
#[test]
fn copies_of_an_ack_within_the_window_cost_nothing() {
    let mut script = agreed(terms(8, 4), 30);
    script.now_ms += 20;
    script.ack(0);
    script.now_ms += 20;
    script.ack(4);
    script.now_ms += 20;
    assert_eq!(script.ack(6), ["DATA 7-10"]);
    for _ in 0..5 {
        assert_eq!(script.ack(6), NOTHING);
        script.now_ms += 5;
    }
    assert_eq!(script.ack(10), ["DATA 11-14"]);
    // No round trip is known yet.
    let mut script = agreed(terms(8, 4), 30);
    assert_eq!(script.wait(600), ["OACK blksize=8"]);
    script.ack(0);
    assert_eq!(script.ack(2), ["DATA 3-6"]);
    assert_eq!([script.ack(2), script.ack(2)], [NOTHING; 2]);
}

#[test]
fn r7440_08_a_lost_first_block_restarts_the_window_once() {
    let mut script = agreed(terms(8, 4), 30);
    script.now_ms += 20;
    script.ack(0);
    script.now_ms += 20;
    assert_eq!(script.ack(4), ["DATA 5-8"]);
    assert_eq!(script.ack(4), NOTHING, "too soon to be an answer to this window");
    script.now_ms += 20;
    assert_eq!(script.ack(4), ["DATA 5-8"]);
    for _ in 0..5 {
        script.now_ms += 20;
        assert_eq!(script.ack(4), NOTHING);
    }
    assert_eq!(script.ack(8), ["DATA 9-12"], "and the next window may be restarted again");
    script.now_ms += 20;
    for _ in 0..4 {
        assert_eq!(script.ack(8), NOTHING, "but not for echoes of what was repeated");
    }
    assert_eq!(script.ack(8), ["DATA 9-12"]);
}

#[test]
fn r7440_10_of_several_acks_the_newest_counts() {
    let mut script = agreed(terms(8, 4), 30);
    script.ack(0);
    assert_eq!(script.datagram_before_more(b"\0\x04\0\x01"), NOTHING);
    assert_eq!(script.datagram_before_more(b"\0\x04\0\x02"), NOTHING);
    assert_eq!(script.datagram_before_more(b"\0\x04\0\x04"), NOTHING);
    assert_eq!(script.datagram(b"\0\x09\0\0"), ["DATA 5-8"], "even where the last of them means nothing");
}

#[test]
fn r7440_11_a_window_of_one_is_rfc_1350() {
    let mut script = agreed(terms(8, 1), 5);
    assert_eq!(script.ack(0), ["DATA 1"]);
    script.now_ms += 300;
    assert_eq!(script.ack(0), NOTHING);
    assert_eq!(script.ack(1), ["DATA 2"]);
}

#[test]
fn r7440_13_a_vanished_peer_costs_few_windows() {
    let mut script = agreed(terms(8, 4), 100);
    script.ack(0);
    script.ack(4);
    let before = script.payloads.len();
    let said = script.wait(100_000);
    assert_eq!(said[said.len() - 2..], ["timed-out", "close"]);
    assert!(script.payloads.len() - before <= 20 * 4, "{said:?}");
}

/// Block 2 is lost, then block 3. Blocks 7 to 10 are in flight on return.
fn lossy(blocks: usize) -> Script<Sender> {
    let mut script = agreed(terms(8, 4), blocks);
    script.now_ms += 2;
    script.ack(0);
    for (acked, window) in [(1, "DATA 2-5"), (2, "DATA 3-6")] {
        script.now_ms += 2;
        assert_eq!(script.ack(acked), [window]);
    }
    script.now_ms += 2;
    script.ack(6);
    script
}

/// Without an answer, exactly these blocks are repeated.
fn only_repeats(script: &mut Script<Sender>, window: std::ops::RangeInclusive<u64>) {
    let before = script.payloads.len();
    script.wait(10_000);
    let repeated: Vec<_> = script.payloads[before..].iter().map(|(position, _)| *position).collect();
    let windows = repeated.chunks(window.clone().count());
    assert!(windows.len() > 2, "{repeated:?}");
    windows.for_each(|it| assert!(it.iter().copied().eq(window.clone()), "{repeated:?}"));
}

#[test]
fn a_silent_client_gets_a_block_beyond_the_window() {
    // ACK 10 was lost. Repeats are old to the client, but it answers a gap.
    let mut script = lossy(30);
    let said = script.wait(100);
    let in_pieces = ["DATA 7", "DATA 8", "DATA 9", "DATA 10"];
    assert_eq!(said[0], "DATA 7-10");
    assert_eq!(said[1..5], in_pieces, "its buffer may be too small");
    assert_eq!(said[5], "DATA 12", "the first repeat was not answered either");
    assert_eq!(script.ack(10), ["DATA 11-14"]);
    assert_eq!(script.ack(14), ["DATA 15-18"], "all goes on as if nothing had happened");
}

#[test]
fn a_client_that_waits_for_the_last_block_gets_it() {
    // ACK 10 was lost, and block 11 is the last: a client answers it in any state.
    let mut script = lossy(11);
    let said = script.wait(100);
    assert_eq!(said[4..6], ["DATA 10", "DATA 11"]);
    assert_eq!(script.ack(11), ["complete", "close"]);
}

/// A client that has the block beyond the last window continues with the block beyond this one.
#[test]
fn a_second_block_beyond_may_be_acknowledged() {
    let mut script = lossy(30);
    assert_eq!(script.wait(100)[5], "DATA 12");
    assert_eq!(script.ack(7), ["DATA 11"], "of 8 to 10 something is under way, and 12 arrived");
    let said = script.wait(1000);
    assert!(said.contains(&"DATA 13".to_owned()), "{said:?}");
    assert_eq!(script.ack(13)[0], "DATA 14-17");
}

#[test]
fn no_block_beyond_before_losses_are_proven() {
    let mut script = agreed(terms(8, 4), 30);
    script.ack(0);
    script.ack(4);
    only_repeats(&mut script, 5..=8);
}

#[test]
fn nothing_is_sent_beyond_where_it_is_no_use() {
    only_repeats(&mut lossy(10), 7..=10);
    let mut script = agreed(terms(8, 1), 8);
    script.ack(0);
    only_repeats(&mut script, 1..=1);
    let mut script = agreed(terms(8, 4), 8);
    assert_eq!(script.wait(10_000), ["OACK blksize=8"; 2]);
}

#[test]
fn r7440_11_nothing_is_beyond_a_window_by_the_letter() {
    let mut script = lossy(30);
    script.machine = script.machine.strict(true);
    only_repeats(&mut script, 7..=10);
}

/// A receiver of windows that answers as `answers` says. Returns the number of DATA packets.
fn play(blocks: usize, lose_every: usize, mut answers: impl FnMut(u64, bool, u64) -> bool) -> usize {
    let mut script = agreed(terms(8, 4), blocks);
    script.now_ms += 5;
    script.ack(0);
    let (mut received, mut seen, mut sent) = (0, 0, 0);
    while !script.machine.ending.is_over {
        let mut acks = Vec::new();
        for (position, _) in &script.payloads[seen..] {
            sent += 1;
            if lose_every > 0 && sent % lose_every == 0 {
                continue;
            }
            let expected = *position == received + 1;
            received += u64::from(expected);
            if answers(*position, expected, received) {
                acks.push(received);
            }
        }
        seen = script.payloads.len();
        script.now_ms += 5;
        for ack in acks.drain(..) {
            script.ack(ack as u16);
        }
        if script.payloads.len() == seen {
            script.wait(60);
        }
        assert!(sent < 10_000, "it never ends");
    }
    sent
}

#[test]
fn r7440_08_edk2_gets_the_file_twice_at_most() {
    // EDK2 acknowledges the last block of a window, and every unexpected block.
    for (lose_every, most) in [(0, 400), (23, 800), (97, 800), (300, 800)] {
        let mut since_ack = 0;
        let sent = play(400, lose_every, |position, expected, _| {
            since_ack = if expected { since_ack + 1 } else { 0 };
            let due = !expected || since_ack == 4 || position == 400;
            since_ack = if due { 0 } else { since_ack };
            due
        });
        assert!(sent <= most, "{sent} DATA for 400 blocks, every {lose_every}th lost");
    }
}

#[test]
fn a_client_that_answers_every_block_gets_no_flood() {
    // RFC 7440 §4: each ACK within the window moves the window. So a block costs at most one
    // window, and the cost doesn't grow.
    for (lose_every, most) in [(0, 450), (23, 500)] {
        let sent = play(100, lose_every, |_, _, _| true);
        assert!(sent <= most, "{sent} DATA for 100 blocks, every {lose_every}th lost");
    }
}

#[test]
fn lore_01_05_ack_0_after_a_wrap_is_an_ordinary_ack() {
    for (rollover, after) in [(Rollover::Zero, 0), (Rollover::One, 1)] {
        let terms = Terms { rollover, ..terms(8, 1) };
        let mut script = agreed(terms, 65_540);
        script.ack(0);
        for block in 1..65_535 {
            script.ack(block);
        }
        script.payloads.clear();
        assert_eq!(script.ack(0), NOTHING, "LORE-05: an ACK 0 from long ago");
        assert_eq!(script.ack(65_535), [format!("DATA {after}")]);
        assert_eq!(script.ack(after), [format!("DATA {}", after + 1)]);
        assert_eq!(script.ack(after), NOTHING);
        for block in after + 1..after + 4 {
            assert_eq!(script.ack(block), [format!("DATA {}", block + 1)]);
        }
        assert_eq!(script.ack(after + 4), ["complete", "close"]);
    }
}

#[test]
fn r7440_16_a_window_may_cross_the_wrap() {
    let mut script = agreed(terms(8, 7), 65_545);
    script.ack(0);
    for block in (7..65_534).step_by(7) {
        script.ack(block);
    }
    assert_eq!(script.ack(65_534), ["DATA 65535-5"]);
    assert_eq!(script.ack(65_535), ["DATA 0-6"], "within the window");
    assert_eq!(script.ack(0), ["DATA 1-7"]);
    assert_eq!(script.ack(7), ["DATA 8-9"]);
    assert_eq!(script.ack(9), ["complete", "close"]);
}
