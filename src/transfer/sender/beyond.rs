//! A block beyond the window, for a client that has the window but doesn't acknowledge it.

use super::Sender;

impl Sender {
    /// Makes a silent client report its position.
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
        self.outbox.beyond = Some(beyond);
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
