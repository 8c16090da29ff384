//! A block beyond the window, for a client that has the window and doesn't say so.

use super::Sender;

impl Sender {
    /// A block that tells a client to say where it is: a whole window is lost, or its ACK, and of
    /// that some clients say nothing more, however often they get the window again (it is old to
    /// them), until their own timer runs out, a second or five later. But to a gap, or to the last
    /// block of all, they answer. So the block after the next is sent too; it is of the window that
    /// the client may be waiting for (RFC 7440 §4). Not before losses are proven, for it is one
    /// more block than was agreed on.
    pub(super) fn send_beyond(&mut self) {
        let window_end = self.at.acked + u64::from(self.terms.windowsize);
        let beyond = self.last_block().map_or(window_end + 2, |last| last.min(window_end + 2));
        let is_worth_it = self.terms.windowsize > 1 && !self.strict && self.timing.loss_is_proven();
        if !is_worth_it || beyond <= window_end || beyond > self.buffer.last_sendable(self.terms.blksize) {
            return;
        }
        self.outbox.beyond = Some(beyond);
        self.overruns.asked_beyond = true;
        self.at.tally.repeats += 1;
        self.beyond = beyond;
        self.count_beyond();
    }

    /// Once all blocks before it were sent, the block beyond the window may be acknowledged.
    pub(super) fn count_beyond(&mut self) {
        if self.beyond == self.at.highest + 1 {
            self.at.highest = self.beyond;
            self.at.tally.blocks += 1;
        }
    }
}
