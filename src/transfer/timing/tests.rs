use std::time::Duration;

use super::{Timeouts, Timing};
use crate::limits;
use crate::transfer::Moment;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(at_ms: u64) -> Moment {
    Moment::new(ms(at_ms))
}

impl Timing {
    fn interval(&self) -> Duration {
        self.repeat_at(at(0)) - at(0)
    }
}

fn timing() -> Timing {
    let mut timing = Timing::new(Timeouts::default(), None);
    timing.restart(at(0));
    timing
}

/// Packets that are each answered after `round_trip_ms`. Returns the time after the last.
fn exchange(timing: &mut Timing, from_ms: u64, round_trip_ms: u64, times: u64) -> u64 {
    for number in 0..times {
        timing.sent(at(from_ms + number * round_trip_ms));
        timing.progress(at(from_ms + (number + 1) * round_trip_ms));
    }
    from_ms + times * round_trip_ms
}

/// Two repeats that were needed: each answered once, a round trip after the repeat.
fn prove_losses(timing: &mut Timing, from_ms: u64, round_trip_ms: u64) -> u64 {
    let mut now = from_ms;
    for _ in 0..limits::LOSS_PROOFS {
        let repeat = timing.repeat_at(at(now));
        timing.sent(at(now));
        timing.repeated(repeat);
        timing.progress(repeat + ms(round_trip_ms));
        now = (repeat + ms(round_trip_ms)).since_epoch().as_millis() as u64;
        // No second answer: the next one is to something new.
        now = exchange(timing, now, round_trip_ms, 1);
    }
    assert!(timing.loss_is_proven());
    now
}

#[test]
fn r1123_02_the_interval_grows_to_a_limit() {
    let mut timing = timing();
    timing.sent(at(0));
    let mut intervals = Vec::new();
    for number in 0..8 {
        intervals.push(timing.interval().as_millis());
        timing.repeated(at(number));
    }
    assert_eq!(intervals, [500, 1000, 2000, 4000, 5000, 5000, 5000, 5000]);
    timing.progress(at(60_000));
    assert_eq!(timing.interval(), ms(500), "progress begins anew; Karn: what was repeated is no sample");
}

#[test]
fn r1123_02_the_interval_follows_the_round_trip() {
    let mut timing = timing();
    exchange(&mut timing, 0, 100, 1);
    assert_eq!(timing.interval(), ms(300), "srtt + 4 × variance, RFC 6298 §2.2");
    exchange(&mut timing, 100, 400, 50);
    assert!((ms(400)..ms(420)).contains(&timing.interval()), "{:?}", timing.interval());
    let now = exchange(&mut timing, 50_000, 100, 100);
    assert_eq!(timing.interval(), limits::REPEAT_FLOOR, "a pause is not taken for a loss");
    let now = prove_losses(&mut timing, now, 100);
    assert!((ms(110)..ms(111)).contains(&timing.interval()), "never without a margin");
    exchange(&mut timing, now, 200, 100);
    assert!((ms(205)..ms(230)).contains(&timing.interval()), "{:?}", timing.interval());
}

#[test]
fn one_repeat_that_was_needed_proves_nothing() {
    let mut timing = timing();
    let now = exchange(&mut timing, 0, 1, 50);
    timing.sent(at(now));
    timing.repeated(at(now + 250));
    timing.progress(at(now + 251));
    exchange(&mut timing, now + 251, 1, 50);
    assert_eq!(timing.interval(), limits::REPEAT_FLOOR);
}

#[test]
fn a_repeat_that_is_answered_twice_proves_nothing() {
    let mut timing = timing();
    let mut now = exchange(&mut timing, 0, 1, 50);
    for _ in 0..5 {
        timing.sent(at(now));
        timing.repeated(at(now + 250));
        timing.progress(at(now + 251));
        timing.echoed();
        now = exchange(&mut timing, now + 251, 1, 10);
    }
    assert!(!timing.loss_is_proven());
    assert_eq!(timing.interval(), limits::REPEAT_FLOOR);
}

/// A device that silently drops copies.
#[test]
fn pauses_that_end_after_a_repeat_prove_nothing() {
    for late_ms in [5, 20, 100, 200] {
        let mut timing = timing();
        let mut now = exchange(&mut timing, 0, 1, 50);
        for _ in 0..10 {
            timing.sent(at(now));
            timing.repeated(at(now + 250));
            timing.progress(at(now + 250 + late_ms));
            now = exchange(&mut timing, now + 250 + late_ms, 1, 50);
        }
        assert!(!timing.loss_is_proven(), "{late_ms} ms after a repeat");
    }
}

#[test]
fn the_floor_is_no_longer_than_the_first_interval() {
    let hasty = Timeouts { ack: ms(50), ..Timeouts::default() };
    let mut timing = Timing::new(hasty, None);
    exchange(&mut timing, 0, 1, 50);
    assert_eq!(timing.interval(), ms(50), "who asks for it gets it");
}

#[test]
fn karn_a_repeated_packet_is_no_sample() {
    let mut timing = timing();
    let now = exchange(&mut timing, 0, 300, 50);
    let before = timing.interval();
    timing.sent(at(now));
    timing.repeated(at(now + 310));
    timing.progress(at(now + 310 + 300));
    assert_eq!(timing.interval(), before, "the answer to the repeat");
}

#[test]
fn r2349_02_the_interval_is_kept_until_losses() {
    let mut timing = Timing::new(Timeouts::default(), Some(Duration::from_secs(2)));
    let now = exchange(&mut timing, 0, 10, 20);
    for number in 0..6 {
        assert_eq!(timing.interval(), Duration::from_secs(2));
        timing.repeated(at(now + number));
    }
    timing.progress(at(now + 20_000));
    let now = exchange(&mut timing, now + 20_000, 10, 20);
    prove_losses(&mut timing, now, 10);
    assert_eq!(timing.interval(), ms(10) + limits::RTO_MARGIN_MIN);
    for number in 0..20 {
        timing.repeated(at(50_000 + number));
    }
    assert_eq!(timing.interval(), Duration::from_secs(2), "never longer than the client asked for");
}

#[test]
fn r2349_02_a_strict_interval_is_always_kept() {
    let fixed = Timing::new(Timeouts { fixed: true, ..Timeouts::default() }, Some(ms(2000)));
    let mut strict = Timing::new(Timeouts::default(), Some(ms(2000)));
    strict.keep_negotiated();
    for mut timing in [fixed, strict] {
        let now = exchange(&mut timing, 0, 10, 20);
        prove_losses(&mut timing, now, 10);
        assert_eq!(timing.interval(), ms(2000));
    }
}

#[test]
fn an_answer_right_after_a_repeat_proves_it_needless() {
    let mut timing = timing();
    let now = exchange(&mut timing, 0, 100, 50);
    let now = prove_losses(&mut timing, now, 100);
    timing.sent(at(now));
    timing.repeated(at(now + 110));
    timing.progress(at(now + 120));
    assert!(timing.interval() >= ms(150), "{:?}", timing.interval());
    // For the rest of the transfer, even if the peer is fast again.
    exchange(&mut timing, now + 120, 100, 50);
    assert_eq!(timing.interval(), ms(150), "1.25 × what it took");
}

#[test]
fn an_echo_of_a_slow_peer_proves_a_repeat_needless() {
    let slow_once = |took_ms: u64| {
        let mut timing = timing();
        let now = exchange(&mut timing, 0, 1, 50);
        let now = prove_losses(&mut timing, now, 1);
        assert_eq!(timing.interval(), ms(11));
        timing.sent(at(now));
        timing.repeated(at(now + 11));
        timing.progress(at(now + took_ms));
        timing.echoed();
        timing.echoed();
        exchange(&mut timing, now + took_ms, 1, 50);
        timing.interval().as_micros()
    };
    assert_eq!(slow_once(40), 50_000, "a client that had to write to its flash");
    assert_eq!(slow_once(12), 11_000, "the first copy was lost, and the network doubled something");
}

#[test]
fn a_needless_repeat_raises_the_interval() {
    let mut timing = timing();
    let now = exchange(&mut timing, 0, 1, 50);
    let now = exchange(&mut timing, now, 200, 1);
    let now = exchange(&mut timing, now, 1, 200);
    let now = prove_losses(&mut timing, now, 1);
    assert_eq!(timing.interval(), ms(11));
    timing.sent(at(now));
    timing.repeated(at(now + 11));
    timing.progress(at(now + 40));
    timing.echoed();
    assert_eq!(timing.interval(), ms(250), "it pauses 200 ms at times");
}

#[test]
fn an_early_ack_is_no_sample_unless_the_only_one() {
    let mut forged = timing();
    let now = exchange(&mut forged, 0, 100, 50);
    let least_ns = forged.least_round_trip_ns();
    forged.sent(at(now));
    forged.progress(at(now + 1));
    forged.sent(at(now + 1));
    forged.echoed();
    forged.progress(at(now + 101));
    assert_eq!(forged.least_round_trip_ns(), least_ns, "the real ACK came after it");
    let mut faster = timing();
    let now = exchange(&mut faster, 0, 100, 50);
    exchange(&mut faster, now, 1, 3);
    assert_eq!(faster.least_round_trip_ns(), 1_000_000, "the network got faster");
}

#[test]
fn an_echo_without_a_repeat_means_nothing() {
    let mut timing = timing();
    exchange(&mut timing, 0, 1, 50);
    timing.echoed();
    assert_eq!(timing.interval(), limits::REPEAT_FLOOR);
}

#[test]
fn a_receiver_is_in_no_hurry() {
    let mut timing = Timing::of_receiver(Timeouts::default(), None);
    exchange(&mut timing, 0, 1, 50);
    assert_eq!(timing.interval(), limits::ACK_TIMEOUT_DEFAULT);
    timing.repeated(at(1000));
    assert_eq!(timing.interval(), ms(1000));
    let negotiated = Timing::of_receiver(Timeouts::default(), Some(ms(20)));
    assert_eq!(negotiated.interval(), ms(20));
}

#[test]
fn giving_up_counts_from_the_last_progress() {
    let mut timing = timing();
    assert_eq!(timing.give_up_unanswered_at(at(1500)), at(21_500));
    assert_eq!(timing.give_up_at(), at(60_000));
    timing.restart(at(700));
    assert_eq!(timing.give_up_at(), at(60_700));
    timing.sent(at(1000));
    timing.progress(at(2000));
    assert_eq!(timing.give_up_at(), at(62_000));
    timing.repeated(at(3000));
    assert_eq!(timing.give_up_at(), at(62_000), "a repeat is no progress");
}

#[test]
fn r2349_03_the_interval_stretches_the_time_limits() {
    let patience = |seconds| {
        let mut timing = Timing::new(Timeouts::default(), Some(Duration::from_secs(seconds)));
        timing.restart(at(0));
        (timing.give_up_unanswered_at(at(0)), timing.give_up_at())
    };
    assert_eq!(patience(1), (at(20_000), at(60_000)));
    assert_eq!(patience(30), (at(30_000), at(90_000)));
    assert_eq!(patience(255), (at(255_000), at(765_000)));
}

#[test]
fn r1350_25_dallying_outlasts_a_few_repeats() {
    let dally = |dally, negotiated| {
        Timing::of_receiver(Timeouts { dally, ..Timeouts::default() }, negotiated).dally()
    };
    assert_eq!(dally(limits::DALLY_MIN, None), limits::DALLY_MIN);
    assert_eq!(dally(limits::DALLY_MIN, Some(ms(4000))), ms(12_000));
    assert_eq!(
        dally(Duration::ZERO, Some(ms(4000))),
        Duration::ZERO,
        "switched off: a client that got its file"
    );
}

#[test]
fn a_clock_that_jumps_does_no_harm() {
    let mut timing = timing();
    let end = Moment::new(Duration::MAX);
    for now in [at(5), end, at(1), end, end, at(0)] {
        timing.sent(at(0));
        timing.progress(now);
        timing.repeated(now);
        timing.progress(end);
        timing.echoed();
        let _ = (timing.interval(), timing.give_up_at(), timing.dally());
        assert!(timing.interval() <= limits::RTO_MAX);
    }
}

#[test]
fn a_fixed_interval_stays_what_it_is() {
    let fixed = Timeouts { fixed: true, ..Timeouts::default() };
    let mut timing = Timing::new(fixed, None);
    timing.restart(at(0));
    exchange(&mut timing, 0, 5, 100);
    for number in 0..8 {
        assert_eq!(timing.interval(), ms(500));
        timing.repeated(at(500 + number));
    }
    assert_eq!(Timing::new(fixed, Some(ms(3000))).interval(), ms(3000), "but for what was negotiated");
}
