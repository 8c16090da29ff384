//! Repeats and the end of a transfer when no answer comes.

use super::{Moment, Outcome, Sender};
use crate::limits;

impl Sender {
    pub(super) fn on_deadline(&mut self, now: Moment) {
        if now >= self.at.peer.give_up_at(&self.timing) {
            self.give_up(if self.at.peer.proven { Outcome::TimedOut } else { Outcome::Unanswered });
        } else if self.overruns.resumes_at.is_some() {
            // The next piece of the window follows.
        } else if self.overruns.gap_at.is_some_and(|gap_at| now >= gap_at) {
            self.go_on_behind_gap();
        } else if self.at.peer.may_send() {
            self.repeat(now);
            self.outbox.asks_beyond = self.timing.repeats_in_a_row >= limits::REPEATS_BEFORE_BEYOND;
        }
    }

    /// The peer won't answer any more. If only the last ACK is missing, that is not a failure: some
    /// clients never send it, and others close their port before it is repeated (R1350-24).
    pub(super) fn give_up(&mut self, outcome: Outcome) {
        let all_sent = self.at.peer.proven && self.last_block() == Some(self.at.highest);
        self.ending.end(if all_sent { Outcome::Unconfirmed } else { outcome });
    }

    /// The timer runs while the peer owes an answer (to the OACK or a window), not during reads.
    pub(super) fn set_deadline(&mut self, now: Moment) {
        if let Some(resumes_at) = self.overruns.resumes_at {
            self.ending.deadline = Some(resumes_at.min(self.at.peer.give_up_at(&self.timing)));
            return;
        }
        let owed = self.at.peer.offering || (self.sent > self.at.acked && self.sent == self.window_end());
        if !owed || self.ending.deadline.is_none() {
            // The server's own time never counts against the peer.
            self.timing.restart(now);
        }
        self.ending.deadline = owed.then(|| {
            let repeat = self.timing.repeat_at(self.at.peer.last_sent_at);
            let repeat = self.overruns.gap_at.map_or(repeat, |gap_at| gap_at.min(repeat));
            self.at.peer.deadline(&self.timing, repeat)
        });
    }

    /// Makes a silent client report its position, with a block beyond the window.
    ///
    /// A whole window was lost, or its ACK. Some clients don't answer a repeated window that they
    /// already have until their own timer expires after one to five seconds. They do answer a gap,
    /// or the last block of the file. So the block after the next is sent too; it belongs to the
    /// window that the client may be waiting for (RFC 7440 §4). Only after losses are proven,
    /// because it is one block more than agreed.
    pub(super) fn send_beyond(&mut self) {
        let window_end = self.at.acked + u64::from(self.terms.windowsize);
        let beyond = self.last_block().map_or(window_end + 2, |last| last.min(window_end + 2));
        let is_worth_it = self.terms.windowsize > 1 && !self.strict && self.timing.loss_is_proven();
        if !is_worth_it || beyond <= window_end || beyond > self.buffer.last_sendable(self.terms.blksize) {
            return;
        }
        self.outbox.beyond = Some((beyond, beyond));
        self.overruns.asked_beyond = true;
        self.at.tally.repeats += 1;
        self.beyond = beyond;
        self.count_beyond();
    }

    /// The block beyond the window may be acknowledged once all blocks before it were sent.
    pub(super) fn count_beyond(&mut self) {
        if self.beyond == self.at.highest + 1 {
            self.at.highest = self.beyond;
            self.at.tally.blocks += 1;
        }
    }
}
