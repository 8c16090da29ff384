//! DATA: new blocks, blocks behind a gap, repeated ones.

use super::{Moment, Packet, Phase, Receiver, Rollover};
use crate::error::Failure;

/// The first position with a wrapped block number.
const WRAP: u64 = 65536;

impl Receiver {
    pub(super) fn on_data(&mut self, now: Moment, block: u16, payload: &[u8]) {
        if self.at.phase == Phase::Receiving && payload.len() > self.terms.blksize.into() {
            return self.fail(&Failure::IllegalOperation.into());
        }
        let position = self.locate(block);
        let is_next = position == Some(self.at.received + 1);
        match position {
            Some(_) if is_next && self.at.phase == Phase::Receiving => self.on_block(now, payload),
            Some(position) if position <= self.at.received => self.on_duplicate(now, position),
            Some(_) if self.at.phase == Phase::Receiving => self.on_gap(now),
            Some(position) if self.at.phase == Phase::Dallying && is_next && payload.is_empty() => {
                self.on_end_again(now, position);
            }
            _ => self.at.tally.ignored += 1,
        }
    }

    /// tftp-hpa and curl don't recognise their last block when its number is 0, and send an empty
    /// block after it. The file is complete: the block is acknowledged and changes nothing.
    fn on_end_again(&mut self, now: Moment, position: u64) {
        self.at.tally.ignored += 1;
        let block = self.terms.rollover.wire_number(position);
        self.control = Packet::Ack { block }.to_bytes();
        self.send_control(now);
    }

    /// The position of a block number that the sender may send now, or that it sent before.
    fn locate(&mut self, block: u16) -> Option<u64> {
        let (rollover, window) = (self.terms.rollover, u64::from(self.terms.windowsize));
        let next = self.at.received + 1;
        let oldest = self.at.received.saturating_sub(window).max(1);
        let position = rollover.position(block, next, self.at.acked + window);
        let position = position.or_else(|| rollover.position(block, oldest, self.at.received));
        // A sender that wraps to 1 unasked. With a window, a lost block 0 would look the same.
        let may_wrap_to_one = next == WRAP && window == 1 && !self.terms.rollover_agreed;
        if position.is_some() || !may_wrap_to_one {
            return position;
        }
        let other = if rollover == Rollover::Zero { Rollover::One } else { Rollover::Zero };
        (block == other.wire_number(next)).then(|| {
            self.terms.rollover = other;
            next
        })
    }

    fn on_block(&mut self, now: Moment, payload: &[u8]) {
        self.at.peer.answered();
        self.timing.progress(now);
        self.at.received += 1;
        self.at.gap_acked = false;
        (self.at.replayed, self.at.unseen_ack) = (None, false);
        self.at.tally.blocks += 1;
        self.at.tally.octets += payload.len() as u64;
        self.buffer.push(payload);
        if payload.len() < self.terms.blksize.into() {
            return self.store_rest(Phase::Publishing);
        }
        if self.buffer.is_full() {
            self.store();
        }
        if self.at.received >= self.at.window_end {
            self.ack(now);
        }
    }

    /// A block before this one was lost: an ACK reports that at once, and once (RFC 7440 §4).
    fn on_gap(&mut self, now: Moment) {
        self.at.tally.ignored += 1;
        self.at.peer.answered();
        if !self.at.gap_acked {
            self.at.gap_acked = true;
            self.repeat_ack(now);
        }
    }

    /// A block that was received before.
    ///
    /// A sender that missed the last ACK begins its window again. That ACK is then repeated at the
    /// last received block of the window, once each time, or is due at the window's end if that is
    /// beyond the received blocks (the lost ACK reported a gap).
    ///
    /// Other repeated blocks were duplicated by the network and get no answer. Neither does, the
    /// first time, a repeated window after an ACK that was sent twice: a sender that restarts its
    /// window at a duplicate ACK would get every later ACK twice and send everything twice (the
    /// Sorcerer's Apprentice, RFC 1123 §4.2.3.1).
    fn on_duplicate(&mut self, now: Moment, position: u64) {
        self.at.tally.ignored += 1;
        if self.at.replayed.is_none_or(|last| position != last + 1) {
            let senders_window_end = self.at.acked_before + u64::from(self.terms.windowsize);
            let is_doubled = self.terms.windowsize > 1
                && self.at.acked_twice == Some(self.at.acked_before)
                && self.at.passed_over != Some(self.at.acked);
            self.at.unseen_ack = false;
            if position != self.at.acked_before + 1 {
                // Not the begin of the window before.
            } else if senders_window_end > self.at.received {
                self.at.window_end = self.at.window_end.min(senders_window_end);
            } else if is_doubled {
                self.at.passed_over = Some(self.at.acked);
            } else {
                self.at.unseen_ack = true;
            }
        }
        self.at.replayed = Some(position);
        let answered = match self.at.phase {
            Phase::Receiving => self.at.unseen_ack,
            Phase::Dallying => true,
            Phase::Publishing | Phase::Keeping => false,
        };
        if answered && position == self.at.received {
            self.repeat_ack(now);
        }
    }
}
