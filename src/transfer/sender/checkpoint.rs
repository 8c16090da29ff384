//! How far a sender is, and how it goes on there.

use super::{Outbox, Sender};
use crate::transfer::machine::Ending;
use crate::transfer::{Moment, Tally};

/// How far a transfer is: all that a sender must remember to go on, but for the octets, which can be read again. It is copied for each packet, and
/// so has nothing in it that can be done without or begun anew.
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

/// What a duplicate ACK may mean (RFC 7440 §4 and protocol lore): the first block of the window was lost, or it is only the echo of something
/// sent twice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Duplicates {
    /// The window was restarted since the last progress: once is enough.
    pub(super) restarted: bool,
    /// How often the blocks in flight were sent again: for each time, the peer may repeat its ACK of them.
    pub(super) resends: u32,
    /// So many equal ACKs are such repetitions.
    pub(super) echoes: u32,
}

impl Sender {
    /// [`Input::Resumed`] goes back to here. An end that isn't told yet is left to be found again.
    pub(super) fn commit(&mut self) {
        if !self.ending.is_over() {
            self.committed = self.at;
            self.buffer.commit();
        }
    }

    /// Goes on at the last commit. The octets are read again: what was in flight is repeated as soon as they are here.
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
