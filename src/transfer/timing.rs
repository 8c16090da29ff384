//! When to repeat, and when to give up (RFC 1123 §4.2.3.3, RFC 2349).

use std::time::Duration;

use super::Moment;
use super::moment::nanoseconds;
use crate::limits;

/// The time limits of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// First retransmission interval, until a round trip has been measured.
    pub ack: Duration,
    /// How long to wait for a first answer after the last datagram to the peer.
    pub unproven: Duration,
    /// How long a transfer may go without progress after the peer's first answer.
    pub idle: Duration,
    /// How long repeats of the last DATA are answered after the final ACK (RFC 1350 §6).
    pub dally: Duration,
    /// Keeps the interval at [`ack`](Self::ack) or the negotiated one: for firmware that can't cope
    /// with a changing interval (as in RFC 1123 §4.2.3.3).
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

/// The retransmission timer and the time limits of one transfer.
///
/// The interval starts at [`Timeouts::ack`] and then follows the measured round trip: `srtt + max(4
/// × variance, 10 ms)`, doubled with every consecutive repeat. But a device that answers fast may
/// still pause, and some devices fail when a block comes twice. So until losses are proven in this
/// transfer ([`loss_is_proven`](Self::loss_is_proven)), the interval is at least
/// [`limits::REPEAT_FLOOR`], or exactly the negotiated interval. A repeat that proves needless
/// raises the interval above the peer's longest pause for the rest of the transfer.
///
/// All values are in nanoseconds, because each packet computes with them.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Timing {
    last_progress: Moment,
    /// The transmission whose answer is the next round-trip sample; never a repeat (Karn's rule).
    timed: Option<Moment>,
    round_trip: Option<RoundTrip>,
    /// From the round trips; before the first, the configured interval.
    measured_ns: u64,
    /// Lower bound since a repeat was needless.
    pause_floor_ns: u64,
    /// Lower bound before losses are proven.
    unproven_floor_ns: u64,
    /// Longest time that the peer took to answer.
    longest_ns: u64,
    negotiated_ns: Option<u64>,
    /// The interval that is kept to the end, whatever the round trip and the repeats.
    constant_ns: Option<u64>,
    longest_interval_ns: u64,
    patience_ns: u64,
    /// Repeats since the peer's last progress.
    pub(super) repeats_in_a_row: u32,
    /// Proofs of loss until losses are proven. A receiver never gets there.
    proofs_left: u32,
    /// First transmission of the packet that is being repeated, and its last repeat.
    repeated: Option<(Moment, Moment)>,
    verdict: Verdict,
    /// A round trip that is too short to count until the peer's next packet.
    early_ns: Option<u64>,
    unproven_ns: u64,
    dally_ns: u64,
}

/// What an answer says about a repeat, unless a second answer shows that both copies arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Verdict {
    #[default]
    Nothing,
    /// The answer came a round trip after the repeat.
    Real,
    /// The answer came later, this long after the first copy.
    Slow { took_ns: u64 },
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed_ns: u64,
    variance_ns: u64,
    least_ns: u64,
}

impl Timing {
    pub(super) fn new(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        let (ack_ns, negotiated_ns) = (nanoseconds(timeouts.ack), negotiated.map(nanoseconds));
        let stretched_ns = negotiated_ns.map_or(0, intervals_before_giving_up_ns);
        Self {
            measured_ns: ack_ns,
            unproven_floor_ns: REPEAT_FLOOR_NS.min(ack_ns),
            negotiated_ns,
            constant_ns: timeouts.fixed.then(|| negotiated_ns.unwrap_or(ack_ns)),
            longest_interval_ns: negotiated_ns.unwrap_or(RTO_MAX_NS.max(ack_ns)),
            patience_ns: nanoseconds(timeouts.idle).max(stretched_ns),
            proofs_left: limits::LOSS_PROOFS,
            unproven_ns: nanoseconds(timeouts.unproven).max(negotiated_ns.unwrap_or(0)),
            dally_ns: nanoseconds(timeouts.dally),
            ..Self::default()
        }
    }

    /// The timing of a receiver, whose interval never gets shorter than the first one, whatever is
    /// lost. A sender that is only slow takes a repeated ACK within its window for the report of a
    /// loss, and some senders answer every ACK with DATA. The sender has a timer too (RFC 1123
    /// §4.2.3.1 would even let a receiver have none).
    pub(super) fn of_receiver(timeouts: Timeouts, negotiated: Option<Duration>) -> Self {
        let unproven_floor_ns = nanoseconds(timeouts.ack);
        Self { unproven_floor_ns, proofs_left: u32::MAX, ..Self::new(timeouts, negotiated) }
    }

    /// Keeps a negotiated interval to the end, as RFC 2349 strictly requires.
    pub(super) fn keep_negotiated(&mut self) {
        self.constant_ns = self.constant_ns.or(self.negotiated_ns);
    }

    /// Restarts the time without progress: at the begin, or when the server kept the peer waiting.
    pub(super) fn restart(&mut self, now: Moment) {
        self.last_progress = now;
    }

    /// Something new was sent that the peer has to answer.
    pub(super) fn sent(&mut self, now: Moment) {
        self.timed = Some(now);
    }

    pub(super) fn repeated(&mut self, now: Moment) {
        let first = self.repeated.map_or(self.timed, |(first, _)| Some(first)).unwrap_or(now);
        self.repeated = Some((first, now));
        self.timed = None;
        self.repeats_in_a_row = self.repeats_in_a_row.saturating_add(1);
    }

    /// The repeat is sent in pieces, so its answer says nothing about the repeat.
    pub(super) fn repeated_in_pieces(&mut self) {
        self.repeated = None;
    }

    /// Something is sent again because the peer misses it: no sample (Karn's rule).
    pub(super) fn sent_again(&mut self) {
        self.timed = None;
    }

    pub(super) fn progress(&mut self, now: Moment) {
        // The previous answer came only once.
        if std::mem::take(&mut self.verdict) == Verdict::Real {
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

    /// Counts a proof of loss, for example when the peer names the missing block (RFC 7440 §4).
    pub(super) fn loss_proved(&mut self) {
        self.proofs_left = self.proofs_left.saturating_sub(1);
    }

    /// Whether losses are proven in this transfer, by needed repeats or by the peer's reports.
    /// Silence then most likely means a loss instead of a pause.
    pub(super) fn loss_is_proven(&self) -> bool {
        self.proofs_left == 0
    }

    /// An ACK came twice. If it answers a repeated packet, both copies had arrived, unless the
    /// first answer came when the answer to the repeat was due: the network may have duplicated it.
    /// For a new packet, the first ACK was not its answer.
    pub(super) fn echoed(&mut self) {
        self.early_ns = None;
        if let Verdict::Slow { took_ns } = std::mem::take(&mut self.verdict) {
            self.repeat_was_needless(took_ns);
        }
    }

    /// Takes the round trip of something that was sent once. A round trip below half of the least
    /// belongs to a forged or duplicated ACK, unless it stays the only one: networks get faster.
    fn take_sample(&mut self, round_trip_ns: u64) {
        if round_trip_ns < self.least_round_trip_ns() / 2 {
            self.early_ns = Some(round_trip_ns);
        } else {
            self.sample(round_trip_ns);
        }
    }

    /// Judges a repeat: first sent at `first`, repeated at `last`, and now answered.
    fn judge_repeat(&mut self, now: Moment, first: Moment, last: Moment) {
        if now.ns_since(last) < self.least_round_trip_ns() / 2 {
            // Too soon to answer the repeat.
            self.repeat_was_needless(now.ns_since(first));
        } else if self.answers(now, last) {
            self.verdict = Verdict::Real;
        } else if now.ns_since(last) > self.measured_ns {
            self.verdict = Verdict::Slow { took_ns: now.ns_since(first) };
        }
    }

    /// Whether an answer at `now` belongs to what was sent at `sent`, because it took as long as
    /// answers usually do. A pause may end in that time too, so the margin is a small part of the
    /// time without progress.
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

    /// Least round trip so far; zero before the first. Earlier answers belong to something else.
    /// The smoothed round trip (RFC 6298); `None` before the first sample.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|round_trip| Duration::from_nanos(round_trip.smoothed_ns))
    }

    pub(super) fn least_round_trip_ns(&self) -> u64 {
        self.round_trip.map_or(0, |round_trip| round_trip.least_ns)
    }

    pub(super) fn repeat_at(&self, sent: Moment) -> Moment {
        sent.after_ns(self.interval_ns())
    }

    /// When a packet sent at `sent` should have been answered, apart from any negotiated interval.
    pub(super) fn answered_by(&self, sent: Moment) -> Moment {
        sent.after_ns(self.adapted_ns())
    }

    /// Whether an answer at `now` to a packet sent at `sent` took longer than usual.
    pub(super) fn is_late(&self, now: Moment, sent: Moment) -> bool {
        now.ns_since(sent) > self.measured_ns
    }

    fn interval_ns(&self) -> u64 {
        let constant_ns = self.constant_ns.or(self.negotiated_ns.filter(|_| !self.loss_is_proven()));
        constant_ns.unwrap_or_else(|| {
            let doubled_ns = self.adapted_ns().saturating_mul(1 << self.repeats_in_a_row.min(16));
            doubled_ns.min(self.longest_interval_ns)
        })
    }

    /// The interval that follows from the peer's round trips and pauses, and from proven losses.
    fn adapted_ns(&self) -> u64 {
        let floor_ns = if self.loss_is_proven() { 0 } else { self.unproven_floor_ns };
        self.measured_ns.max(self.pause_floor_ns).max(floor_ns)
    }

    /// The peer's last progress, or `sent` if that is later: the start of a receiver's interval.
    pub(super) fn last_activity(&self, sent: Moment) -> Moment {
        self.last_progress.max(sent)
    }

    /// When to give up a peer that has answered before.
    pub(super) fn give_up_at(&self) -> Moment {
        self.last_progress.after_ns(self.patience_ns)
    }

    /// When to give up a server that has not answered the request.
    pub(super) fn give_up_request_at(&self) -> Moment {
        self.last_progress.after_ns(self.unproven_ns)
    }

    /// When to give up a peer that has never answered, after its last datagram at `sent`.
    pub(super) fn give_up_unanswered_at(&self, sent: Moment) -> Moment {
        sent.after_ns(self.unproven_ns)
    }

    /// How long to dally: long enough for a few repeats of the last DATA.
    pub(super) fn dally(&self) -> Duration {
        if self.dally_ns == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.dally_ns.max(intervals_before_giving_up_ns(self.interval_ns())))
    }

    /// RFC 6298 §2, with a smaller margin than TCP's: a TFTP client waits for each window.
    fn sample(&mut self, round_trip_ns: u64) {
        // The caller's clock may jump; intervals are bounded anyway.
        let sample_ns = round_trip_ns.min(ROUND_TRIP_MAX_NS);
        self.longest_ns = self.longest_ns.max(sample_ns);
        let round_trip = match self.round_trip {
            None => RoundTrip { smoothed_ns: sample_ns, variance_ns: sample_ns / 2, least_ns: sample_ns },
            Some(old) => RoundTrip {
                smoothed_ns: (old.smoothed_ns * 7 + sample_ns) / 8,
                variance_ns: (old.variance_ns * 3 + old.smoothed_ns.abs_diff(sample_ns)) / 4,
                least_ns: old.least_ns.min(sample_ns),
            },
        };
        self.measured_ns = round_trip.smoothed_ns + (round_trip.variance_ns * 4).max(RTO_MARGIN_MIN_NS);
        self.round_trip = Some(round_trip);
    }
}

fn intervals_before_giving_up_ns(interval_ns: u64) -> u64 {
    interval_ns.saturating_mul(limits::INTERVALS_BEFORE_GIVING_UP.into())
}

/// Longest round trip that counts; no interval exceeds [`limits::RTO_MAX`] anyway.
const ROUND_TRIP_MAX_NS: u64 = nanoseconds(Duration::from_secs(60));
const RTO_MAX_NS: u64 = nanoseconds(limits::RTO_MAX);
const REPEAT_FLOOR_NS: u64 = nanoseconds(limits::REPEAT_FLOOR);
const RTO_MARGIN_MIN_NS: u64 = nanoseconds(limits::RTO_MARGIN_MIN);

#[cfg(test)]
mod tests;
