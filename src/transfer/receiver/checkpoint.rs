//! Checkpoints of receivers, and resuming from them.

use super::{Outbox, Receiver};
use crate::error::Failure;
use crate::limits;
use crate::transfer::machine::Ending;
use crate::transfer::timing::Timing;
use crate::transfer::{Moment, Outcome, Tally, Terms, Timeouts};

/// All state that a receiver needs to resume, except the octets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checkpoint {
    pub(super) terms: Terms,
    pub(super) phase: Phase,
    pub(super) timing: Timing,
    pub(super) proven: bool,
    /// The OACK was not answered by DATA yet.
    pub(super) offering: bool,
    pub(super) unproven_datagrams: u32,
    /// Datagrams that the peer may get before it has answered.
    pub(super) allowance: u32,
    pub(super) last_sent_at: Moment,
    /// Last block received in order.
    pub(super) received: u64,
    pub(super) acked: u64,
    /// Position of the ACK before it: where the sender still is if the last one was lost.
    pub(super) acked_before: u64,
    /// Position of the last ACK that was sent more than once.
    pub(super) acked_twice: Option<u64>,
    /// Position of the last ACK that was not repeated for its repeated window.
    pub(super) passed_over: Option<u64>,
    /// Block at which the next ACK is due.
    pub(super) window_end: u64,
    /// The gap after `received` was answered: one ACK for each gap (RFC 7440 §4).
    pub(super) gap_acked: bool,
    pub(super) replay: Replay,
    /// Slabs on their way to the writer.
    pub(super) unstored: usize,
    /// Slabs that the writer has stored.
    pub(super) stored: u64,
    /// The window is complete, but its ACK waits for the writer.
    pub(super) ack_held: bool,
    pub(super) tally: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Replay {
    pub(super) last: Option<u64>,
    /// The repeated blocks are a whole window whose ACK was lost.
    pub(super) unseen_ack: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Receiving,
    /// All blocks were received and the writer publishes the file. Nothing is answered meanwhile.
    Publishing,
    /// The sender stopped. The received octets are kept, then the transfer ends as the receiver
    /// notes in `kept_outcome`.
    Keeping,
    /// The file is published; repeats of the last block are still answered (RFC 1350 §6).
    Dallying,
}

impl Checkpoint {
    pub(super) fn new(terms: Terms, timeouts: Timeouts, proven: bool, offering: bool) -> Self {
        Self {
            phase: Phase::Receiving,
            timing: Timing::of_receiver(timeouts, terms.interval),
            proven,
            offering,
            unproven_datagrams: 0,
            allowance: limits::UNPROVEN_DATAGRAMS_MAX,
            last_sent_at: Moment::default(),
            received: 0,
            acked: 0,
            acked_before: 0,
            acked_twice: None,
            passed_over: None,
            window_end: terms.windowsize.into(),
            gap_acked: false,
            replay: Replay::default(),
            unstored: 0,
            stored: 0,
            ack_held: false,
            tally: Tally::default(),
            terms,
        }
    }
}

impl Receiver {
    /// Sets how many datagrams the peer may get before it has answered, at least one.
    #[must_use]
    pub fn allowing(mut self, datagrams: u32) -> Self {
        self.at.allowance = datagrams.max(1);
        self.committed.allowance = self.at.allowance;
        self
    }

    /// Stops repeats to a peer that has not answered.
    pub(super) fn restrain(&mut self) {
        self.at.allowance = self.at.allowance.min(self.at.unproven_datagrams).max(1);
    }

    /// The request was repeated, which allows one more datagram, unless it crossed our last one.
    pub(super) fn on_repeated(&mut self, now: Moment) {
        let crossed = now - self.at.last_sent_at < limits::REPEAT_QUIET;
        if self.at.proven || crossed {
            return;
        }
        self.at.allowance = self.at.allowance.max(self.at.unproven_datagrams + 1);
        if self.may_send() {
            self.repeat_ack(now);
        }
    }

    pub(super) fn give_up_at(&self) -> Moment {
        if self.at.proven {
            self.at.timing.give_up_at()
        } else {
            self.at.timing.give_up_unanswered_at(self.at.last_sent_at)
        }
    }

    pub(super) fn may_send(&self) -> bool {
        self.at.proven || self.at.unproven_datagrams < self.at.allowance
    }

    /// The number of [`Input::Stored`](crate::transfer::Input::Stored) that were taken.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.at.stored
    }

    /// Sets the point that [`Input::Resumed`](crate::transfer::Input::Resumed) returns to. An end
    /// that was not reported yet is not committed, so it is found again.
    pub(super) fn commit(&mut self) {
        if !self.ending.is_over() {
            self.committed = self.at;
            self.buffer.commit();
        }
    }

    /// Continues at the last commit. Later blocks count as lost on the network: the ACK of the
    /// earlier ones is repeated.
    pub(super) fn resume(&mut self, now: Moment) {
        self.at = self.committed;
        (self.outbox, self.ending) = (Outbox::default(), Ending::default());
        self.control.clone_from(&self.opening);
        if !self.buffer.rewind() {
            return self.fail(&Failure::Internal.into());
        }
        self.at.timing.restart(now);
        match self.at.phase {
            Phase::Receiving if self.may_send() => {
                // Blocks of this window that still arrive will show a gap, which this ACK answers.
                self.at.gap_acked |= self.at.received > 0;
                self.repeat_ack(now);
            }
            Phase::Dallying => {
                self.repeat_ack(now);
                self.ending.finish(Outcome::Complete);
                self.ending.arm(Some(now + self.at.timing.dally()));
            }
            // The writer's answer is still to come.
            Phase::Receiving | Phase::Publishing | Phase::Keeping => {}
        }
    }
}
