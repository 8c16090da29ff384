//! How far a receiver is, and how it goes on there.

use super::{Outbox, Receiver};
use crate::error::Failure;
use crate::limits;
use crate::transfer::machine::Ending;
use crate::transfer::timing::Timing;
use crate::transfer::{Moment, Outcome, Tally, Terms, Timeouts};

/// All that a receiver must remember to go on, but for the octets.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub(super) terms: Terms,
    pub(super) phase: Phase,
    pub(super) timing: Timing,
    pub(super) proven: bool,
    /// The OACK was answered by no DATA yet.
    pub(super) offering: bool,
    pub(super) unproven_datagrams: u32,
    /// Datagrams that the peer may get before it has answered.
    pub(super) allowance: u32,
    pub(super) last_sent_at: Moment,
    /// Last block that came in order.
    pub(super) received: u64,
    /// Position of the last ACK.
    pub(super) acked: u64,
    /// Position of the ACK before it: where the sender still is when the last one was lost.
    pub(super) acked_before: u64,
    /// Position of the last ACK that was sent more than once.
    pub(super) acked_twice: Option<u64>,
    /// Position of the last ACK that was not sent again when its window came again.
    pub(super) passed_over: Option<u64>,
    /// Block that the next ACK is due at.
    pub(super) window_end: u64,
    /// The gap after `received` was answered: one ACK a gap (RFC 7440 §4).
    pub(super) gap_acked: bool,
    pub(super) replay: Replay,
    /// Slabs under way to the writer.
    pub(super) unstored: usize,
    /// Slabs that the writer has taken care of.
    pub(super) stored: u64,
    /// The window is complete, but the writer is behind: the ACK waits for it.
    pub(super) ack_held: bool,
    pub(super) tally: Tally,
}

/// Blocks that come again.
#[derive(Debug, Clone, Default)]
pub(super) struct Replay {
    /// The last of them.
    pub(super) last: Option<u64>,
    /// They are a whole window whose ACK was lost.
    pub(super) unseen_ack: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Blocks are coming.
    Receiving,
    /// All blocks came; the writer makes the file appear. Nothing is answered meanwhile.
    Publishing,
    /// The sender stopped; what came is kept, then the transfer ends so.
    Keeping(Outcome),
    /// The file is there; repeats of the last block are still answered (RFC 1350 §6).
    Dallying,
}

impl Checkpoint {
    /// The beginning.
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
    /// Before it has answered, the peer gets so many datagrams at most; one at least.
    #[must_use]
    pub fn allowing(mut self, datagrams: u32) -> Self {
        self.at.allowance = datagrams.max(1);
        self.committed.allowance = self.at.allowance;
        self
    }

    /// The peer gets nothing more by itself before it has answered.
    pub(super) fn restrain(&mut self) {
        self.at.allowance = self.at.allowance.min(self.at.unproven_datagrams).max(1);
    }

    /// Its request came again, which buys one datagram more; unless the two have crossed.
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

    /// When patience with the peer ends.
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

    /// How many [`Input::Stored`](crate::transfer::Input::Stored) were taken in.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.at.stored
    }

    /// [`Input::Resumed`](crate::transfer::Input::Resumed) goes back to here. An end that isn't told yet is left to be found again.
    pub(super) fn commit(&mut self) {
        if !self.ending.is_over() {
            self.committed.clone_from(&self.at);
            self.buffer.commit();
        }
    }

    /// Goes on at the last commit. Blocks that have come since are lost, as on the way: the ACK of those before is repeated.
    pub(super) fn resume(&mut self, now: Moment) {
        self.at.clone_from(&self.committed);
        (self.outbox, self.ending) = (Outbox::default(), Ending::default());
        self.control.clone_from(&self.opening);
        if !self.buffer.rewind() {
            return self.fail(&Failure::Internal.into());
        }
        self.at.timing.restart(now);
        match self.at.phase {
            Phase::Receiving if self.may_send() => {
                // Blocks of this window that are still under way will show a gap: it is answered by this ACK.
                self.at.gap_acked |= self.at.received > 0;
                self.repeat_ack(now);
            }
            Phase::Dallying => {
                self.repeat_ack(now);
                self.ending.finish(Outcome::Complete);
                self.ending.arm(Some(now + self.at.timing.dally()));
            }
            // The writer's answer is still to come.
            Phase::Receiving | Phase::Publishing | Phase::Keeping(_) => {}
        }
    }
}
