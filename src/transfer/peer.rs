//! What a machine knows about its peer.

use super::timing::Timing;
use super::{Moment, Opening};
use crate::limits;

/// Whether the peer has answered, and what it may get before: its address may be forged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peer {
    pub(super) last_sent_at: Moment,
    /// Datagrams sent before the first answer.
    pub(super) unproven_datagrams: u32,
    /// The most datagrams that may be sent before the first answer.
    allowance: u32,
    pub(super) proven: bool,
    /// The OACK has not been answered yet.
    pub(super) offering: bool,
}

impl Peer {
    pub(super) fn new(opening: &Opening) -> Self {
        Self {
            allowance: limits::UNPROVEN_DATAGRAMS_MAX,
            proven: *opening == Opening::Answered,
            offering: matches!(opening, Opening::Oack(_)),
            ..Self::default()
        }
    }

    /// Sets how many datagrams may be sent before the first answer, at least one.
    pub(super) fn allow(&mut self, datagrams: u32) {
        self.allowance = datagrams.max(1);
    }

    /// Stops repeats to a peer that has not answered.
    pub(super) fn restrain(&mut self) {
        self.allow(self.allowance.min(self.unproven_datagrams));
    }

    pub(super) fn may_send(&self) -> bool {
        self.proven || self.unproven_datagrams < self.allowance
    }

    pub(super) fn sent(&mut self, now: Moment) {
        self.unproven_datagrams += u32::from(!self.proven);
        self.last_sent_at = now;
    }

    pub(super) fn answered(&mut self) {
        (self.proven, self.offering) = (true, false);
    }

    /// The peer repeated its request: the last datagram was lost, which allows one more, or the
    /// two crossed. Returns whether to repeat that datagram.
    pub(super) fn request_repeated(&mut self, now: Moment) -> bool {
        let is_lost = !self.proven && now - self.last_sent_at >= limits::REPEAT_QUIET;
        if is_lost {
            self.allowance = self.allowance.max(self.unproven_datagrams + 1);
        }
        is_lost
    }

    pub(super) fn give_up_at(&self, timing: &Timing) -> Moment {
        if self.proven { timing.give_up_at() } else { timing.give_up_unanswered_at(self.last_sent_at) }
    }

    /// The deadline of a machine that repeats at `repeat`.
    pub(super) fn deadline(&self, timing: &Timing, repeat: Moment) -> Moment {
        let give_up = self.give_up_at(timing);
        if self.may_send() { repeat.min(give_up) } else { give_up }
    }
}
