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
    /// How long a first answer is waited for after the last datagram that the peer was sent.
    pub unproven: Duration,
    /// How long a transfer may make no progress after the peer's first answer.
    pub idle: Duration,
    /// How long repeats of the last DATA are answered after the final ACK (RFC 1350 §6, "dallying").
    pub dally: Duration,
    /// The interval stays [`ack`](Self::ack) (or what was negotiated), whatever the round trip and
    /// however often something is repeated: for firmware that can't cope with an interval that
    /// changes (RFC 1123 §4.2.3.3 asks for one that does).
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
/// The interval starts at [`Timeouts::ack`] and then follows the measured round trip:
/// `srtt + max(4 × variance, 10 ms)`, doubled with every repeat in a row. But a device that answers
/// fast may still pause, and some devices fail when a block comes twice. So a short interval has to
/// be earned: until losses are proven in this transfer ([`loss_is_proven`](Self::loss_is_proven)),
/// the interval is at least [`limits::REPEAT_FLOOR`], or exactly the negotiated interval. A repeat
/// that proves needless raises the interval above the longest pause of the peer, to the end.
///
/// Everything is in nanoseconds, because each packet computes with it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Timing {
    last_progress: Moment,
    /// Transmission whose answer will be a sample of the round trip: not of repeated packets (Karn's rule).
    timed: Option<Moment>,
    round_trip: Option<RoundTrip>,
    /// The interval is never shorter than this again: a shorter one was needless.
    pause_floor_ns: u64,
    /// The interval is not shorter than this before losses are proven.
    unproven_floor_ns: u64,
    /// Longest time that the peer took to answer.
    longest_ns: u64,
    negotiated_ns: Option<u64>,
    ack_ns: u64,
    idle_ns: u64,
    repeats_in_a_row: u32,
    /// Proofs of loss, up to [`limits::LOSS_PROOFS`].
    proofs: u32,
    /// First transmission of what is now being repeated, and the last repeat.
    repeated: Option<(Moment, Moment)>,
    verdict: Verdict,
    /// A round trip that is too short to be believed before the peer says more.
    early_ns: Option<u64>,
    unproven_ns: u64,
    dally_ns: u64,
    fixed: bool,
    /// A negotiated interval holds to the end (RFC 2349), also where losses are proven.
    keeps_negotiated: bool,
    /// A sender: proven losses shorten the interval.
    adapts: bool,
}

/// What the answer to something that was repeated says of the repeat, unless it is answered a
/// second time: then both copies had arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Nothing,
    /// The answer came a round trip after the repeat.
    Real,
    /// The answer came later than that; it took so long since the first copy.
    Slow {
        took_ns: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed_ns: u64,
    variance_ns: u64,
    least_ns: u64,
}

impl Timing {
    pub(super) fn new(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        let ack_ns = nanoseconds(timeouts.ack);
        Self {
            last_progress: Moment::default(),
            timed: None,
            round_trip: None,
            pause_floor_ns: 0,
            unproven_floor_ns: REPEAT_FLOOR_NS.min(ack_ns),
            longest_ns: 0,
            negotiated_ns: negotiated.map(nanoseconds),
            ack_ns,
            idle_ns: nanoseconds(timeouts.idle),
            repeats_in_a_row: 0,
            proofs: 0,
            repeated: None,
            verdict: Verdict::Nothing,
            early_ns: None,
            unproven_ns: nanoseconds(timeouts.unproven),
            dally_ns: nanoseconds(timeouts.dally),
            fixed: timeouts.fixed,
            keeps_negotiated: timeouts.fixed,
            adapts: true,
        }
    }

    /// A receiver's. Its interval never gets shorter than the first one, whatever is lost: a sender
    /// that is only slow takes a repeated ACK within its window for the news of a loss, and some
    /// answer every ACK with DATA. The sender has a timer too (RFC 1123 §4.2.3.1 would even let a
    /// receiver have none).
    pub(super) fn of_receiver(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        let unproven_floor_ns = nanoseconds(timeouts.ack);
        Self { unproven_floor_ns, adapts: false, ..Self::new(timeouts, negotiated) }
    }

    /// A negotiated interval holds to the end, to the letter of RFC 2349.
    pub(super) fn keep_negotiated(&mut self) {
        self.keeps_negotiated = true;
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

    /// What is being repeated goes out in pieces: its answer says nothing of the repeat.
    pub(super) fn repeated_in_pieces(&mut self) {
        self.repeated = None;
    }

    /// Something is sent again since the peer lacks it: the next answer is no sample (Karn's rule).
    pub(super) fn sent_again(&mut self) {
        self.timed = None;
    }

    /// The peer has answered with progress.
    pub(super) fn progress(&mut self, now: Moment) {
        // What was answered before was answered once.
        if std::mem::replace(&mut self.verdict, Verdict::Nothing) == Verdict::Real {
            self.loss_proved();
        }
        if let Some(early_ns) = self.early_ns.take() {
            self.sample(early_ns);
        }
        if let Some(sent) = self.timed.take() {
            self.take_sample(now.ns_since(sent));
        }
        if let Some((first, last)) = self.repeated.take() {
            self.judge_repeat(now, first, last);
        }
        self.repeats_in_a_row = 0;
        self.last_progress = now;
    }

    /// A loss is proven by the peer itself: it names the block that it misses (RFC 7440 §4).
    pub(super) fn loss_proved(&mut self) {
        self.proofs = (self.proofs + 1).min(limits::LOSS_PROOFS);
    }

    /// Losses are proven in this transfer, by repeats that were needed or by the peer's own word: a
    /// pause is not the likeliest reason of silence any more.
    pub(super) fn loss_is_proven(&self) -> bool {
        self.proofs >= limits::LOSS_PROOFS
    }

    /// An ACK came a second time. If what it answers had been repeated, both copies had arrived.
    /// (Not proof enough that the repeat was needless where the first answer came when the repeat's
    /// was due: the network may have doubled that.) If it was new, the first ACK was not the answer
    /// to it.
    pub(super) fn echoed(&mut self) {
        self.early_ns = None;
        if let Verdict::Slow { took_ns } = std::mem::replace(&mut self.verdict, Verdict::Nothing) {
            self.repeat_was_needless(took_ns);
        }
    }

    /// A round trip of something that was sent once. One that is shorter than half of the least so
    /// far is no answer, but an ACK that was forged, or doubled by the network; unless it stays the
    /// only one, for networks get faster.
    fn take_sample(&mut self, round_trip_ns: u64) {
        if round_trip_ns < self.least_round_trip_ns() / 2 {
            self.early_ns = Some(round_trip_ns);
        } else {
            self.sample(round_trip_ns);
        }
    }

    /// Something that was sent at `first`, and again at `last`, was answered.
    fn judge_repeat(&mut self, now: Moment, first: Moment, last: Moment) {
        if now.ns_since(last) < self.least_round_trip_ns() / 2 {
            // Too soon to be the answer to the repeat.
            self.repeat_was_needless(now.ns_since(first));
        } else if self.answers(now, last) {
            self.verdict = Verdict::Real;
        } else if now.ns_since(last) > self.measured_ns() {
            self.verdict = Verdict::Slow { took_ns: now.ns_since(first) };
        }
    }

    /// Whether an answer that comes `now` is the one to what was sent at `sent`: it takes as long
    /// as answers usually do. A pause may end in that time too, so the margin is a small part of
    /// the time without progress.
    pub(super) fn answers(&self, now: Moment, sent: Moment) -> bool {
        let Some(round_trip) = self.round_trip else { return false };
        let margin_ns = now.ns_since(self.last_progress) / u64::from(limits::PROOF_CHANCE);
        let longest_ns = round_trip.smoothed_ns + round_trip.variance_ns * 4 + margin_ns;
        (round_trip.least_ns / 8 * 7..=longest_ns).contains(&now.ns_since(sent))
    }

    /// The first copy had arrived, and the peer was only slow.
    fn repeat_was_needless(&mut self, took_ns: u64) {
        self.sample(took_ns);
        self.pause_floor_ns = (self.longest_ns.saturating_mul(5) / 4).min(RTO_MAX_NS);
    }

    /// Least round trip seen; an answer sooner than this can't be one to what was just sent. Zero before the first sample.
    pub(super) fn least_round_trip_ns(&self) -> u64 {
        self.round_trip.map_or(0, |round_trip| round_trip.least_ns)
    }

    /// When to repeat what was sent at `sent` and isn't answered.
    pub(super) fn repeat_at(&self, sent: Moment) -> Moment {
        sent.after_ns(self.interval_ns())
    }

    /// When something that was sent at `sent` would have been answered, whatever was negotiated.
    pub(super) fn answered_by(&self, sent: Moment) -> Moment {
        sent.after_ns(self.adapted_ns())
    }

    /// Whether an answer that comes `now` took longer than answers to what was sent at `sent`
    /// usually do.
    pub(super) fn is_late(&self, now: Moment, sent: Moment) -> bool {
        now.ns_since(sent) > self.measured_ns()
    }

    /// The interval after which an unanswered packet is repeated now.
    fn interval_ns(&self) -> u64 {
        let keeps = self.keeps_negotiated || !self.adapts || !self.loss_is_proven();
        match self.negotiated_ns {
            Some(negotiated_ns) if keeps => negotiated_ns,
            None if self.fixed => self.ack_ns,
            negotiated_ns => {
                let doubled_ns = self.adapted_ns().saturating_mul(1 << self.repeats_in_a_row.min(16));
                doubled_ns.min(negotiated_ns.unwrap_or(RTO_MAX_NS.max(self.ack_ns)))
            }
        }
    }

    /// What follows from the round trips and pauses of the peer, and from what is proven of losses.
    fn adapted_ns(&self) -> u64 {
        let proven = self.adapts && self.loss_is_proven();
        let floor_ns = if proven { 0 } else { self.unproven_floor_ns };
        self.measured_ns().max(self.pause_floor_ns).max(floor_ns)
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

    /// When patience with a peer that has answered before ends.
    pub(super) fn give_up_at(&self) -> Moment {
        let stretched_ns = self.negotiated_ns.map_or(0, intervals_before_giving_up_ns);
        self.last_progress.after_ns(self.idle_ns.max(stretched_ns))
    }

    /// When patience with a server ends that has not answered a request.
    pub(super) fn give_up_request_at(&self) -> Moment {
        self.last_progress.after_ns(self.unproven_ns)
    }

    /// When patience with a peer that has not answered yet ends, whose last datagram was sent at
    /// `sent`.
    pub(super) fn give_up_unanswered_at(&self, sent: Moment) -> Moment {
        sent.after_ns(self.unproven_ns.max(self.negotiated_ns.unwrap_or(0)))
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
        self.longest_ns = self.longest_ns.max(sample_ns);
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
const REPEAT_FLOOR_NS: u64 = nanoseconds(limits::REPEAT_FLOOR);
const RTO_MARGIN_MIN_NS: u64 = nanoseconds(limits::RTO_MARGIN_MIN);

#[cfg(test)]
mod tests;
