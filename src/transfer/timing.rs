//! When to repeat, and when to give up (RFC 1123 §4.2.3.3, RFC 2349).

use std::time::Duration;

use super::Moment;
use super::moment::nanoseconds;
use crate::limits;

/// How patient a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// First retransmission interval, until the round trip has been measured.
    pub ack: Duration,
    /// How long the peer's first answer may take. Of a sender, whose first DATA may be lost, it may take [`idle`](Self::idle): it repeats that by its own timer alone.
    pub unproven: Duration,
    /// How long a transfer may make no progress after it.
    pub idle: Duration,
    /// How long repeats of the last DATA are answered after the final ACK (RFC 1350 §6, "dallying").
    pub dally: Duration,
    /// The interval stays [`ack`](Self::ack) (or what was negotiated), whatever the round trip, and however often something is repeated: for firmware
    /// that can't do with an interval that changes (RFC 1123 §4.2.3.3 wants one that does).
    pub fixed: bool,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ack: limits::ACK_TIMEOUT_DEFAULT,
            unproven: limits::UNPROVEN_TIMEOUT_DEFAULT,
            idle: limits::TIMEOUT_DEFAULT,
            dally: limits::DALLY_MIN,
            fixed: false,
        }
    }
}

/// The retransmission timer and the limit of patience of one transfer.
///
/// The interval starts at [`Timeouts::ack`], then follows the measured round trip: `srtt + max(4 × variance, 10 ms)`, doubled
/// with every repeat in a row. A negotiated interval is kept as it is: a client that asked for one second gives
/// up on a server that takes eight.
///
/// Everything is in nanoseconds: it is reckoned with for each packet.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Timing {
    last_progress: Moment,
    /// Transmission whose answer will be a sample of the round trip: not of repeated packets (Karn's rule).
    timed: Option<Moment>,
    round_trip: Option<RoundTrip>,
    /// The interval never gets below this again: a repeat below it has proved needless.
    floor_ns: u64,
    negotiated_ns: Option<u64>,
    ack_ns: u64,
    idle_ns: u64,
    repeats_in_a_row: u32,
    /// First transmission of what is now being repeated, and the last repeat.
    repeated: Option<(Moment, Moment)>,
    /// How long the answer took to something that had been repeated, if it came too late for the answer to the repeat.
    suspected_ns: Option<u64>,
    unproven_ns: u64,
    dally_ns: u64,
    fixed: bool,
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed_ns: u64,
    variance_ns: u64,
    least_ns: u64,
}

impl Timing {
    pub(super) fn new(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        Self {
            last_progress: Moment::default(),
            timed: None,
            round_trip: None,
            floor_ns: 0,
            negotiated_ns: negotiated.map(nanoseconds),
            ack_ns: nanoseconds(timeouts.ack),
            idle_ns: nanoseconds(timeouts.idle),
            repeats_in_a_row: 0,
            repeated: None,
            suspected_ns: None,
            unproven_ns: nanoseconds(timeouts.unproven),
            dally_ns: nanoseconds(timeouts.dally),
            fixed: timeouts.fixed,
        }
    }

    /// A receiver's. It repeats its ACK for a sender that waits for nothing but that; but a sender that is only slow takes an ACK
    /// within its window for the news of a loss, and some answer every ACK with DATA. So the interval never gets below the first
    /// one: there is no hurry, for the sender has a timer too (RFC 1123 §4.2.3.1 would even let a receiver have none). And its patience before
    /// the first DATA is that after it, for the same reason: what it sends again brings no lost DATA back.
    pub(super) fn of_receiver(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        let timeouts = Timeouts { unproven: timeouts.unproven.max(timeouts.idle), ..timeouts };
        Self { floor_ns: nanoseconds(timeouts.ack), ..Self::new(timeouts, negotiated) }
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
            self.sample(now.ns_since(sent));
        }
        self.suspected_ns = None;
        if let Some((first, last)) = self.repeated.take() {
            if now.ns_since(last) < self.least_round_trip_ns() / 2 {
                // Too soon to be the repeat's answer.
                self.repeat_was_needless(now.ns_since(first));
            } else if now.ns_since(last) > self.measured_ns() {
                self.suspected_ns = Some(now.ns_since(first));
            }
        }
        self.repeats_in_a_row = 0;
        self.last_progress = now;
    }

    /// What had been repeated is answered a second time: both copies had arrived. (Not proof enough where the first answer came
    /// when the repeat's was due: the network may have doubled that.)
    pub(super) fn echoed(&mut self) {
        if let Some(round_trip_ns) = self.suspected_ns.take() {
            self.repeat_was_needless(round_trip_ns);
        }
    }

    /// The first copy had arrived, and the peer was only slow.
    fn repeat_was_needless(&mut self, round_trip_ns: u64) {
        self.sample(round_trip_ns);
        self.floor_ns = self.floor_ns.max(round_trip_ns.saturating_mul(3) / 2).min(RTO_MAX_NS);
    }

    /// Least round trip seen; an answer sooner than this can't be one to what was just sent. Zero before the first sample.
    pub(super) fn least_round_trip_ns(&self) -> u64 {
        self.round_trip.map_or(0, |round_trip| round_trip.least_ns)
    }

    /// When to repeat what was sent at `sent` and isn't answered.
    pub(super) fn repeat_at(&self, sent: Moment) -> Moment {
        sent.after_ns(self.interval_ns())
    }

    /// The interval after which an unanswered packet is repeated now.
    fn interval_ns(&self) -> u64 {
        if let Some(negotiated_ns) = self.negotiated_ns {
            return negotiated_ns;
        }
        if self.fixed {
            return self.ack_ns;
        }
        let doubled_ns =
            self.measured_ns().max(self.floor_ns).saturating_mul(1 << self.repeats_in_a_row.min(16));
        doubled_ns.min(RTO_MAX_NS.max(self.ack_ns))
    }

    /// What the round trips so far, or the configured interval before the first, suggest.
    fn measured_ns(&self) -> u64 {
        self.round_trip.map_or(self.ack_ns, |round_trip| {
            round_trip.smoothed_ns + (round_trip.variance_ns * 4).max(RTO_MARGIN_MIN_NS)
        })
    }

    /// How often something was repeated since the peer last answered with progress.
    pub(super) fn repeats_in_a_row(&self) -> u32 {
        self.repeats_in_a_row
    }

    /// When the peer was last heard of with progress, or `sent` if that is later: what the interval counts from at a receiver.
    pub(super) fn last_activity(&self, sent: Moment) -> Moment {
        self.last_progress.max(sent)
    }

    /// When patience ends.
    pub(super) fn give_up_at(&self, proven: bool) -> Moment {
        let limit_ns = if proven { self.idle_ns } else { self.unproven_ns };
        let stretched_ns = self.negotiated_ns.map_or(0, intervals_before_giving_up_ns);
        self.last_progress.after_ns(limit_ns.max(stretched_ns))
    }

    /// How long to dally: long enough that the peer has repeated its last DATA a few times.
    pub(super) fn dally(&self) -> Duration {
        if self.dally_ns == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.dally_ns.max(intervals_before_giving_up_ns(self.interval_ns())))
    }

    /// RFC 6298 §2, with a smaller margin than TCP's: a TFTP client waits for each window.
    fn sample(&mut self, round_trip_ns: u64) {
        // The caller's clock may jump; what matters is bounded anyway.
        let sample_ns = round_trip_ns.min(ROUND_TRIP_MAX_NS);
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip { smoothed_ns: sample_ns, variance_ns: sample_ns / 2, least_ns: sample_ns },
            Some(old) => RoundTrip {
                smoothed_ns: (old.smoothed_ns * 7 + sample_ns) / 8,
                variance_ns: (old.variance_ns * 3 + old.smoothed_ns.abs_diff(sample_ns)) / 4,
                least_ns: old.least_ns.min(sample_ns),
            },
        });
    }
}

fn intervals_before_giving_up_ns(interval_ns: u64) -> u64 {
    interval_ns.saturating_mul(limits::INTERVALS_BEFORE_GIVING_UP.into())
}

/// Longest round trip that is believed. No interval is longer than [`limits::RTO_MAX`], so nothing is lost by it.
const ROUND_TRIP_MAX_NS: u64 = nanoseconds(Duration::from_secs(60));
const RTO_MAX_NS: u64 = nanoseconds(limits::RTO_MAX);
const RTO_MARGIN_MIN_NS: u64 = nanoseconds(limits::RTO_MARGIN_MIN);

#[cfg(test)]
mod tests;
