//! When to repeat, and when to give up (RFC 1123 §4.2.3.3, RFC 2349).

use std::time::Duration;

use super::Moment;
use crate::limits;

/// How patient a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// First retransmission interval, until the round trip has been measured.
    pub ack: Duration,
    /// How long the peer's first answer may take.
    pub unproven: Duration,
    /// How long a transfer may make no progress after it.
    pub idle: Duration,
    /// How long repeats of the last DATA are answered after the final ACK (RFC 1350 §6, "dallying").
    pub dally: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ack: limits::ACK_TIMEOUT_DEFAULT,
            unproven: limits::UNPROVEN_TIMEOUT_DEFAULT,
            idle: limits::TIMEOUT_DEFAULT,
            dally: limits::DALLY_MIN,
        }
    }
}

/// The retransmission timer and the limit of patience of one transfer.
///
/// The interval starts at [`Timeouts::ack`], then follows the measured round trip: `srtt + max(4 × variance, 10 ms)`, doubled
/// with every repeat in a row. A negotiated interval is kept as it is: a client that asked for one second gives
/// up on a server that takes eight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    timeouts: Timeouts,
    negotiated: Option<Duration>,
    round_trip: Option<RoundTrip>,
    /// The interval never gets below this again: a repeat below it has proved needless.
    floor: Duration,
    repeats_in_a_row: u32,
    last_progress: Moment,
    /// Transmission whose answer will be a sample of the round trip: not of repeated packets (Karn's rule).
    timed: Option<Moment>,
    /// First transmission of what is now being repeated, and the last repeat.
    repeated: Option<(Moment, Moment)>,
    /// How long the answer took to something that had been repeated, if it came too late for the answer to the repeat.
    suspected: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed: Duration,
    variance: Duration,
    least: Duration,
}

impl Timing {
    pub(super) fn new(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        Self {
            timeouts,
            negotiated,
            round_trip: None,
            floor: Duration::ZERO,
            repeats_in_a_row: 0,
            last_progress: Moment::default(),
            timed: None,
            repeated: None,
            suspected: None,
        }
    }

    /// A receiver's. It repeats its ACK for a sender that waits for nothing but that; but a sender that is only slow takes an ACK
    /// within its window for the news of a loss, and some answer every ACK with DATA. So the interval never gets below the first
    /// one: there is no hurry, for the sender has a timer too (RFC 1123 §4.2.3.1 would even let a receiver have none).
    pub(super) fn of_receiver(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        Self { floor: timeouts.ack, ..Self::new(timeouts, negotiated) }
    }

    /// The clock of patience starts again: the transfer begins, or the server has kept the peer waiting.
    pub(super) fn restart(&mut self, now: Moment) {
        self.last_progress = now;
    }

    /// Something new was sent that the peer has to answer.
    pub(super) fn sent(&mut self, now: Moment) {
        self.timed = Some(now);
    }

    /// Something was sent again.
    pub(super) fn repeated(&mut self, now: Moment) {
        let first = self.repeated.map_or(self.timed, |(first, _)| Some(first)).unwrap_or(now);
        self.repeated = Some((first, now));
        self.timed = None;
        self.repeats_in_a_row = self.repeats_in_a_row.saturating_add(1);
    }

    /// The peer has answered with progress.
    pub(super) fn progress(&mut self, now: Moment) {
        if let Some(sent) = self.timed.take() {
            self.sample(now - sent);
        }
        self.suspected = None;
        if let Some((first, last)) = self.repeated.take() {
            if now - last < self.least_round_trip() / 2 {
                // Too soon to be the repeat's answer.
                self.repeat_was_needless(now - first);
            } else if now - last > self.measured() {
                self.suspected = Some(now - first);
            }
        }
        self.repeats_in_a_row = 0;
        self.last_progress = now;
    }

    /// What had been repeated is answered a second time: both copies had arrived. (Not proof enough where the first answer came
    /// when the repeat's was due: the network may have doubled that.)
    pub(super) fn echoed(&mut self) {
        if let Some(round_trip) = self.suspected.take() {
            self.repeat_was_needless(round_trip);
        }
    }

    /// The first copy had arrived, and the peer was only slow.
    fn repeat_was_needless(&mut self, round_trip: Duration) {
        self.sample(round_trip);
        self.floor = self.floor.max(round_trip.saturating_mul(3) / 2).min(limits::RTO_MAX);
    }

    /// Least round trip seen; an answer sooner than this can't be one to what was just sent. Zero before the first sample.
    pub(super) fn least_round_trip(&self) -> Duration {
        self.round_trip.map_or(Duration::ZERO, |round_trip| round_trip.least)
    }

    /// The interval after which an unanswered packet is repeated now.
    pub(super) fn interval(&self) -> Duration {
        if let Some(negotiated) = self.negotiated {
            return negotiated;
        }
        let doubled = self.measured().max(self.floor).saturating_mul(1 << self.repeats_in_a_row.min(16));
        doubled.min(limits::RTO_MAX.max(self.timeouts.ack))
    }

    /// What the round trips so far, or the configured interval before the first, suggest.
    fn measured(&self) -> Duration {
        self.round_trip.map_or(self.timeouts.ack, |round_trip| {
            let margin = round_trip.variance.saturating_mul(4).max(limits::RTO_MARGIN_MIN);
            round_trip.smoothed.saturating_add(margin)
        })
    }

    /// When the peer was last heard of with progress, or `sent` if that is later: what the interval counts from at a receiver.
    pub(super) fn last_activity(&self, sent: Moment) -> Moment {
        self.last_progress.max(sent)
    }

    /// When patience ends.
    pub(super) fn give_up_at(&self, proven: bool) -> Moment {
        let limit = if proven { self.timeouts.idle } else { self.timeouts.unproven };
        let stretched = self.negotiated.map_or(Duration::ZERO, intervals_before_giving_up);
        self.last_progress + limit.max(stretched)
    }

    /// How long to dally: long enough that the peer has repeated its last DATA a few times.
    pub(super) fn dally(&self) -> Duration {
        if self.timeouts.dally.is_zero() {
            return Duration::ZERO;
        }
        self.timeouts.dally.max(intervals_before_giving_up(self.interval()))
    }

    /// RFC 6298 §2, with a smaller margin than TCP's: a TFTP client waits for each window.
    fn sample(&mut self, round_trip: Duration) {
        // The caller's clock may jump; what matters is bounded anyway.
        let round_trip = round_trip.min(ROUND_TRIP_MAX);
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip { smoothed: round_trip, variance: round_trip / 2, least: round_trip },
            Some(old) => RoundTrip {
                smoothed: (old.smoothed * 7 + round_trip) / 8,
                variance: (old.variance * 3 + old.smoothed.abs_diff(round_trip)) / 4,
                least: old.least.min(round_trip),
            },
        });
    }
}

fn intervals_before_giving_up(interval: Duration) -> Duration {
    interval.saturating_mul(limits::INTERVALS_BEFORE_GIVING_UP)
}

/// Longest round trip that is believed. No interval is longer than [`limits::RTO_MAX`], so nothing is lost by it.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
