//! Repeats and the end of a transfer when no answer comes.

use super::{Moment, Outcome, Sender};
use crate::limits;

impl Sender {
    pub(super) fn on_deadline(&mut self, now: Moment) {
        if self.ending.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if now >= self.give_up_at() {
            self.give_up(if self.at.proven { Outcome::TimedOut } else { Outcome::Unanswered });
        } else if self.overruns.is_paused() {
            // The next piece of the window follows.
        } else if self.overruns.gap_at.is_some_and(|gap_at| now >= gap_at) {
            self.go_on_behind_gap();
        } else if self.may_send() {
            self.repeat(now);
            self.outbox.asks_beyond = self.timing.repeats_in_a_row() >= limits::REPEATS_BEFORE_BEYOND;
        }
    }

    fn give_up_at(&self) -> Moment {
        if self.at.proven {
            self.timing.give_up_at()
        } else {
            self.timing.give_up_unanswered_at(self.last_sent_at)
        }
    }

    /// The peer won't answer any more. If only the last ACK is missing, that is not a failure: some
    /// clients never send it, and others close their port before it is repeated (R1350-24).
    pub(super) fn give_up(&mut self, outcome: Outcome) {
        let all_sent = self.at.proven && self.last_block() == Some(self.at.highest);
        self.ending.finish(if all_sent { Outcome::Unconfirmed } else { outcome });
        self.ending.close();
    }

    /// The timer runs while the peer owes an answer (to the OACK or a window), not during reads.
    pub(super) fn set_deadline(&mut self, now: Moment) {
        if self.ending.is_over() {
            return;
        }
        if let Some(resumes_at) = self.overruns.resumes_at() {
            return self.ending.arm(Some(resumes_at.min(self.give_up_at())));
        }
        let owed = self.at.offering || (self.sent > self.at.acked && self.sent == self.window_end());
        if !owed || self.ending.deadline().is_none() {
            // The server's own time never counts against the peer.
            self.timing.restart(now);
        }
        if !owed {
            self.ending.arm(None);
            return;
        }
        let give_up = self.give_up_at();
        let repeat = self.timing.repeat_at(self.last_sent_at);
        let repeat = self.overruns.gap_at.map_or(repeat, |gap_at| gap_at.min(repeat));
        self.ending.arm(Some(if self.may_send() { repeat.min(give_up) } else { give_up }));
    }
}
