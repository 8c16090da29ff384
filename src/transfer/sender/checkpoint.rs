//! Checkpoints of senders, and resuming from them.

use super::{Outbox, Sender};
use crate::transfer::machine::Ending;
use crate::transfer::{Moment, Tally};

/// All state that a sender needs to resume, except the octets, which can be read again. It is
/// copied for each packet, so it has nothing that can be recomputed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checkpoint {
    pub(super) acked: u64,
    pub(super) highest: u64,
    pub(super) tally: Tally,
    /// Datagrams sent to a peer that hasn't answered.
    pub(super) unproven_datagrams: u32,
    pub(super) proven: bool,
    /// The OACK has not been answered by ACK 0 yet.
    pub(super) offering: bool,
}

/// The possible meanings of a duplicate ACK (RFC 7440 §4): the first block of the window was lost,
/// or the ACK is an echo of something sent twice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Duplicates {
    /// The window was restarted since the last progress; that is done only once.
    pub(super) restarted: bool,
    /// How often the blocks in flight were sent again. For each time, the peer may repeat its ACK.
    pub(super) resends: u32,
    /// How many equal ACKs are such echoes.
    pub(super) echoes: u32,
}

impl Sender {
    /// Sets where [`Input::Resumed`] returns to. An end that is not reported yet is found again.
    pub(super) fn commit(&mut self) {
        if !self.ending.is_over() {
            self.committed = self.at;
            self.buffer.commit();
        }
    }

    /// Continues at the last commit. The octets are read again, and the blocks in flight are
    /// repeated as soon as they are here.
    pub(super) fn resume(&mut self, now: Moment) {
        self.at = self.committed;
        self.sent = self.at.highest;
        self.duplicates = Duplicates::default();
        self.overruns.begin_window();
        self.buffer.rewind();
        self.error.clear();
        (self.wanted, self.outbox, self.ending) = (false, Outbox::default(), Ending::default());
        self.timing.restart(now);
        if (self.at.offering || self.sent > self.at.acked) && self.may_send() {
            self.repeat(now);
        }
    }
}
