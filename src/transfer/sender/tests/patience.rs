//! Devices that pause, answer late, or lose the end of every window.

use super::*;

/// Answers `blocks`, each a millisecond after it was sent.
fn exchange(script: &mut Script<Sender>, blocks: std::ops::RangeInclusive<u16>) {
    for block in blocks {
        script.now_ms += 1;
        assert_eq!(script.ack(block), [format!("DATA {}", block + 1)]);
    }
}

/// LORE-14: it writes to its flash between two ACKs. Some devices hang on a repeated block.
#[test]
fn a_paused_reader_gets_no_copy() {
    let mut script = plain(&octets(200 * 512));
    script.start();
    exchange(&mut script, 1..=20);
    assert_eq!(script.wait(249), NOTHING);
    exchange(&mut script, 21..=40);
    assert_eq!(script.wait(250), ["DATA 41"], "a lost ACK looks just the same");
}

#[test]
fn a_paused_reader_of_windows_gets_no_copy() {
    let mut script = agreed(terms(8, 4), 100);
    for window in 0..10 {
        script.now_ms += 1;
        script.ack(window * 4);
    }
    assert_eq!(script.wait(249), NOTHING);
    assert_eq!(script.wait(1), ["DATA 37-40"]);
}

#[test]
fn a_paused_reader_gets_no_copy_before_its_interval() {
    for interval_ms in [20, 1000, 6000] {
        let interval = Some(Duration::from_millis(interval_ms));
        let mut script = agreed(Terms { interval, ..terms(8, 1) }, 100);
        script.ack(0);
        exchange(&mut script, 1..=20);
        assert_eq!(script.wait(interval_ms - 1), NOTHING);
        assert_eq!(script.wait(1), ["DATA 21"]);
    }
}

/// Clients of BSD and macOS answer after 6.5 s when one of their ACKs was lost.
#[test]
fn a_first_answer_may_come_after_20_s() {
    let mut script = agreed(terms(8, 1), 10);
    assert_eq!(script.wait(21_400), ["OACK blksize=8"; 2], "at 0.5 and 1.5 s");
    assert_eq!(script.ack(0), ["DATA 1"]);
    let mut script = plain(&octets(2000));
    script.start();
    assert_eq!(script.wait(21_400), ["DATA 1"; 2]);
    assert_eq!(script.ack(1), ["DATA 2"]);
}

#[test]
fn a_device_may_pause_for_20_s_in_the_middle() {
    let mut script = plain(&octets(100 * 512));
    script.start();
    exchange(&mut script, 1..=20);
    let copies = script.wait_timed(59_000);
    assert!(copies.iter().all(|(_, said)| said == "DATA 21"), "{copies:?}");
    let times: Vec<_> = copies.iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 5000), "{times:?}");
    assert_eq!(script.ack(21), ["DATA 22"]);
}

#[test]
fn losses_shorten_the_interval_a_pause_raises_it() {
    let mut script = plain(&octets(300 * 512));
    script.start();
    exchange(&mut script, 1..=20);
    for block in [21, 31] {
        assert_eq!(script.wait(250), [format!("DATA {block}")], "as long as a pause may last");
        exchange(&mut script, block..=block + 9);
    }
    // Losses are proven.
    assert_eq!(script.wait(12), ["DATA 41"]);
    exchange(&mut script, 41..=60);
    // The client pauses and answers both copies.
    assert_eq!(script.wait(30), ["DATA 61"]);
    assert_eq!([script.ack(61), script.ack(61)].concat(), ["DATA 62"]);
    exchange(&mut script, 62..=200);
    assert_eq!(script.wait(37), NOTHING, "above the longest pause");
    assert_eq!(script.wait(1), ["DATA 201"]);
}

#[test]
fn r2349_02_proven_losses_override_the_interval() {
    for strict in [false, true] {
        let terms = Terms { interval: Some(Duration::from_secs(6)), ..terms(8, 1) };
        let mut script = agreed(terms, 100);
        script.machine = script.machine.strict(strict);
        script.ack(0);
        exchange(&mut script, 1..=20);
        for block in [21, 31] {
            assert_eq!(script.wait(6000), [format!("DATA {block}")]);
            exchange(&mut script, block..=block + 9);
        }
        assert_eq!(script.wait(12).len(), usize::from(!strict));
    }
}

/// A client of RFC 7440 whose receive buffer holds `buffer` blocks, and which repeats its ACK after
/// a second. Returns the duration of the transfer in milliseconds and the number of DATA packets.
fn overrun(windowsize: u16, blocks: u64, buffer: usize) -> (u64, usize) {
    let terms = Terms { interval: Some(Duration::from_secs(1)), ..terms(8, windowsize) };
    let mut script = agreed(terms, blocks as usize);
    script.now_ms += 1;
    script.ack(0);
    let (mut received, mut in_window, mut seen, mut heard_at_ms, mut gap_told) = (0, 0, 0, 0, false);
    while received < blocks {
        let arrived: Vec<_> = script.payloads[seen..].iter().map(|(position, _)| *position).collect();
        seen = script.payloads.len();
        script.now_ms += 1;
        let mut acks = Vec::new();
        for position in arrived.into_iter().take(buffer) {
            heard_at_ms = script.now_ms;
            if position == received + 1 {
                (received, in_window, gap_told) = (position, in_window + 1, false);
                if in_window == windowsize || received == blocks {
                    in_window = 0;
                    acks.push(received);
                }
            } else if position > received && !std::mem::replace(&mut gap_told, true) {
                in_window = 0;
                acks.push(received);
            }
        }
        if script.now_ms - heard_at_ms >= 1000 {
            heard_at_ms = script.now_ms;
            in_window = 0;
            acks.push(received);
        }
        acks.into_iter().for_each(|ack| drop(script.ack(ack as u16)));
        if script.payloads.len() == seen {
            script.wait(1);
        }
        assert!(script.now_ms < 120_000, "it takes for ever: {received}");
    }
    (script.now_ms, script.payloads.len())
}

/// RFC 7440 §4: windows that overrun the client's receive buffer. 1 MB in blocks of 65464 octets:
/// Linux's default of 208 KiB for a socket holds two.
#[test]
fn a_window_above_the_clients_buffer_takes_seconds() {
    for (windowsize, blocks, buffer) in [(4, 17, 2), (64, 17, 2), (64, 129, 18), (16, 800, 5), (4, 17, 3)] {
        let (took_ms, sent) = overrun(windowsize, blocks, buffer);
        eprintln!("windows of {windowsize}, {buffer} of them kept: {took_ms} ms, {sent} for {blocks} blocks");
        assert!(took_ms < 5000, "windows of {windowsize}, {buffer} kept: {took_ms} ms");
    }
}
