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

/// Packets that are each answered after `round_trip_ms`; returns the time after the last.
fn exchange(timing: &mut Timing, from_ms: u64, round_trip_ms: u64, times: u64) -> u64 {
    for number in 0..times {
        timing.sent(at(from_ms + number * round_trip_ms));
        timing.progress(at(from_ms + (number + 1) * round_trip_ms));
    }
    from_ms + times * round_trip_ms
}

#[test]
fn r1123_02_without_answers_the_interval_grows_to_a_limit() {
    let mut timing = timing();
    timing.sent(at(0));
    let mut intervals = Vec::new();
    for number in 0..8 {
        intervals.push(timing.interval().as_millis());
        timing.repeated(at(number));
    }
    assert_eq!(intervals, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
    timing.progress(at(60_000));
    assert_eq!(timing.interval(), ms(500), "progress begins anew; Karn: what was repeated is no sample");
}

#[test]
fn r1123_02_the_interval_follows_the_round_trip() {
    let mut timing = timing();
    exchange(&mut timing, 0, 100, 1);
    assert_eq!(timing.interval(), ms(300), "srtt + 4 × variance, RFC 6298 §2.2");
    exchange(&mut timing, 100, 100, 50);
    assert_eq!(timing.interval(), ms(100) + limits::RTO_MARGIN_MIN, "never without a margin");
    exchange(&mut timing, 10_000, 200, 100);
    assert!((ms(205)..ms(230)).contains(&timing.interval()), "{:?}", timing.interval());
}

#[test]
fn karn_a_repeated_packet_is_no_sample() {
    let mut timing = timing();
    let now = exchange(&mut timing, 0, 100, 50);
    let before = timing.interval();
    timing.sent(at(now));
    timing.repeated(at(now + 110));
    timing.progress(at(now + 110 + 100));
    assert_eq!(timing.interval(), before, "the answer to the repeat");
}

#[test]
fn r2349_02_a_negotiated_interval_is_kept() {
    let mut timing = Timing::new(Timeouts::default(), Some(Duration::from_secs(2)));
    exchange(&mut timing, 0, 10, 20);
    for number in 0..6 {
        assert_eq!(timing.interval(), Duration::from_secs(2));
        timing.repeated(at(1000 + number));
    }
}

#[test]
fn an_answer_too_soon_after_a_repeat_proves_it_needless() {
    let mut timing = timing();
    let now = exchange(&mut timing, 0, 100, 50);
    timing.sent(at(now));
    timing.repeated(at(now + 110));
    timing.progress(at(now + 120));
    assert!(timing.interval() >= ms(180), "{:?}", timing.interval());
    // For good: even when the peer is fast again.
    exchange(&mut timing, now + 120, 100, 50);
    assert_eq!(timing.interval(), ms(180), "1.5 × what it took");
}

#[test]
fn an_echo_proves_a_repeat_needless_if_the_peer_was_slow() {
    let slow_once = |took_ms: u64| {
        let mut timing = timing();
        let now = exchange(&mut timing, 0, 1, 50);
        assert_eq!(timing.interval(), ms(11));
        timing.sent(at(now));
        timing.repeated(at(now + 11));
        timing.progress(at(now + took_ms));
        timing.echoed();
        timing.echoed();
        exchange(&mut timing, now + took_ms, 1, 50);
        timing.interval()
    };
    assert_eq!(slow_once(50), ms(75), "a client that had to write to its flash");
    assert_eq!(slow_once(12), ms(11), "the first copy was lost, and the network doubled something");
}

#[test]
fn an_echo_without_a_repeat_means_nothing() {
    let mut timing = timing();
    exchange(&mut timing, 0, 1, 50);
    timing.echoed();
    assert_eq!(timing.interval(), ms(11));
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
fn patience_is_short_before_the_first_answer_and_longer_after_it() {
    let mut timing = timing();
    assert_eq!(timing.give_up_at(false), at(3000));
    assert_eq!(timing.give_up_at(true), at(15_000));
    timing.restart(at(700));
    assert_eq!(timing.give_up_at(false), at(3700));
    timing.sent(at(1000));
    timing.progress(at(2000));
    assert_eq!(timing.give_up_at(true), at(17_000));
    timing.repeated(at(3000));
    assert_eq!(timing.give_up_at(true), at(17_000), "a repeat is no progress");
}

#[test]
fn r2349_03_a_negotiated_interval_stretches_patience_but_bounds_it() {
    let patience = |seconds| {
        let mut timing = Timing::new(Timeouts::default(), Some(Duration::from_secs(seconds)));
        timing.restart(at(0));
        (timing.give_up_at(false), timing.give_up_at(true))
    };
    assert_eq!(patience(1), (at(3000), at(15_000)));
    assert_eq!(patience(10), (at(30_000), at(30_000)));
    assert_eq!(patience(255), (at(765_000), at(765_000)));
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
        let _ = (timing.interval(), timing.give_up_at(true), timing.dally());
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
