//! The receiving end: a server for a write request, a client that reads.

mod checkpoint;

use self::checkpoint::{Checkpoint, Phase, Replay};
use super::machine::{Ending, aborted};
use super::receive_buffer::ReceiveBuffer;
use super::tid::fault_packet;
use super::{
    Action, Input, Machine, Moment, OnAbort, Opening, Outcome, Rollover, Tally, Terms, Timeouts, Transmit,
};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::wire::Packet;

/// Receives a file, block by block (RFC 1350) or window by window (RFC 7440).
///
/// Octets are passed to the writer, or held here, before they are acknowledged. The last ACK waits
/// until the file is published, because the sender may be switched off after it.
#[derive(Debug)]
pub struct Receiver {
    on_abort: OnAbort,
    buffer: ReceiveBuffer,
    at: Checkpoint,
    /// The checkpoint that [`Input::Resumed`] returns to.
    committed: Checkpoint,
    /// How the transfer ends once the octets of a sender that stopped are kept.
    kept_outcome: Option<Outcome>,
    /// The OACK, or ACK 0.
    opening: Vec<u8>,
    /// The packet that is sent and repeated: the OACK, an ACK, or the final ERROR.
    control: Vec<u8>,
    outbox: Outbox,
    ending: Ending,
    /// An input was taken and is not committed yet.
    uncommitted: bool,
}

#[derive(Debug, Default)]
struct Outbox {
    store: bool,
    publish: bool,
    control: bool,
}

impl Receiver {
    /// A receiver that has sent nothing yet. [`Input::Start`] sends ACK 0 or the OACK.
    #[must_use]
    pub fn new(terms: Terms, opening: Opening, timeouts: Timeouts, on_abort: OnAbort) -> Self {
        let proven = opening == Opening::Answered;
        let offering = matches!(opening, Opening::Oack(_));
        let opening =
            if let Opening::Oack(oack) = opening { oack } else { Packet::Ack { block: 0 }.to_bytes() };
        let at = Checkpoint::new(terms, timeouts, proven, offering);
        Self {
            on_abort,
            buffer: ReceiveBuffer::new(terms.netascii),
            committed: at,
            at,
            kept_outcome: None,
            control: opening.clone(),
            opening,
            outbox: Outbox::default(),
            ending: Ending::default(),
            uncommitted: false,
        }
    }

    /// The agreed terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.at.terms
    }

    /// A receiver for a client whose read request was answered by DATA 1: no first packet.
    pub(super) fn begun(now: Moment, terms: Terms, timeouts: Timeouts) -> Self {
        let mut receiver = Self::new(terms, Opening::Answered, timeouts, OnAbort::Discard);
        receiver.at.timing.restart(now);
        receiver.at.last_sent_at = now;
        receiver
    }

    /// Continues after a client's request was answered.
    pub(super) fn succeed(&mut self, requesting: &Ending) {
        self.ending.succeed(requesting);
    }

    fn on_datagram(&mut self, now: Moment, octets: &[u8]) {
        match Packet::decode(octets) {
            Ok(Packet::Data { block, payload }) => self.on_data(now, block, payload),
            Ok(Packet::Error { code, message }) if self.at.phase == Phase::Receiving => {
                self.stop(aborted(code, &message, self.at.offering));
            }
            Ok(Packet::Error { .. }) if self.at.phase == Phase::Dallying => self.ending.close(),
            _ => self.at.tally.ignored += 1,
        }
    }

    fn on_data(&mut self, now: Moment, block: u16, payload: &[u8]) {
        if self.at.phase == Phase::Receiving && payload.len() > self.at.terms.blksize.into() {
            return self.fail(&Failure::IllegalOperation.into());
        }
        match self.locate(block) {
            Some(position) if position <= self.at.received => self.on_duplicate(now, position),
            Some(position) if self.at.phase == Phase::Dallying && payload.is_empty() => {
                self.on_end_again(now, position);
            }
            Some(_) if self.at.phase != Phase::Receiving => self.at.tally.ignored += 1,
            Some(position) if position == self.at.received + 1 => self.on_block(now, payload),
            Some(_) => self.on_gap(now),
            None => self.at.tally.ignored += 1,
        }
    }

    /// tftp-hpa and curl don't recognise their last block when its number is 0, and send an empty
    /// block after it. The file is complete: the block is acknowledged and changes nothing.
    fn on_end_again(&mut self, now: Moment, position: u64) {
        self.at.tally.ignored += 1;
        if position == self.at.received + 1 {
            let block = self.at.terms.rollover.wire_number(position);
            self.control = Packet::Ack { block }.to_bytes();
            self.send_control(now);
        }
    }

    /// The position of a block number that the sender may send now, or that it sent before.
    fn locate(&mut self, block: u16) -> Option<u64> {
        let window = u64::from(self.at.terms.windowsize);
        let next = self.at.received + 1;
        let ahead = self.at.terms.rollover.position(block, next, self.at.acked + window);
        let behind = || {
            self.at.terms.rollover.position(
                block,
                self.at.received.saturating_sub(window).max(1),
                self.at.received,
            )
        };
        let position = ahead.or_else(behind);
        // A sender that wraps to 1 unasked. With a window, a lost block 0 would look the same.
        let may_wrap_to_one = next == WRAP && window == 1 && !self.at.terms.rollover_agreed;
        if position.is_none() && may_wrap_to_one {
            let other = if self.at.terms.rollover == Rollover::Zero { Rollover::One } else { Rollover::Zero };
            if block == other.wire_number(next) {
                self.at.terms.rollover = other;
                return Some(next);
            }
        }
        position
    }

    fn on_block(&mut self, now: Moment, payload: &[u8]) {
        (self.at.proven, self.at.offering) = (true, false);
        self.at.timing.progress(now);
        self.at.received += 1;
        self.at.gap_acked = false;
        self.at.replay = Replay::default();
        self.at.tally.blocks += 1;
        self.at.tally.octets += payload.len() as u64;
        self.buffer.push(payload);
        if payload.len() < self.at.terms.blksize.into() {
            self.buffer.finish();
            self.at.phase = Phase::Publishing;
            self.store_rest();
        } else {
            if self.buffer.is_full() {
                self.store();
            }
            if self.at.received >= self.at.window_end {
                self.ack(now);
            }
        }
    }

    /// A block before this one was lost: an ACK reports that at once, and once (RFC 7440 §4).
    fn on_gap(&mut self, now: Moment) {
        self.at.tally.ignored += 1;
        (self.at.proven, self.at.offering) = (true, false);
        if !self.at.gap_acked {
            self.at.gap_acked = true;
            self.repeat_ack(now);
        }
    }

    /// A block that was received before.
    ///
    /// A sender that missed the last ACK begins its window again. That ACK is then repeated at the
    /// last received block of the window, once each time. If the sender's window ends beyond the
    /// received blocks (the lost ACK reported a gap), the next ACK is due at the end of that
    /// window.
    ///
    /// Other repeated blocks were duplicated by the network and get no answer. Neither does, the
    /// first time, a repeated window after an ACK that was sent twice: a sender that restarts its
    /// window at a duplicate ACK would get every later ACK twice and send everything twice (the
    /// Sorcerer's Apprentice, RFC 1123 §4.2.3.1).
    fn on_duplicate(&mut self, now: Moment, position: u64) {
        self.at.tally.ignored += 1;
        if self.at.replay.last.is_none_or(|last| position != last + 1) {
            let senders_window_end = self.at.acked_before + u64::from(self.at.terms.windowsize);
            let from_before = position == self.at.acked_before + 1;
            let is_whole = senders_window_end <= self.at.received;
            let is_doubled = self.at.terms.windowsize > 1
                && self.at.acked_twice == Some(self.at.acked_before)
                && self.at.passed_over != Some(self.at.acked);
            self.at.replay.unseen_ack = from_before && is_whole && !is_doubled;
            if from_before && is_whole && is_doubled {
                self.at.passed_over = Some(self.at.acked);
            }
            if from_before && !is_whole {
                self.at.window_end = self.at.window_end.min(senders_window_end);
            }
        }
        self.at.replay.last = Some(position);
        let answered = match self.at.phase {
            Phase::Receiving => self.at.replay.unseen_ack,
            Phase::Dallying => true,
            Phase::Publishing | Phase::Keeping => false,
        };
        if answered && position == self.at.received {
            self.repeat_ack(now);
        }
    }

    /// The OACK came again: its sender has not seen ACK 0.
    pub(super) fn on_offer_repeated(&mut self, now: Moment) {
        if self.at.received == 0 && !self.ending.is_over() {
            self.repeat_ack(now);
            self.set_deadline(now);
        }
    }

    /// The window is complete: acknowledges it, unless the writer is too far behind.
    fn ack(&mut self, now: Moment) {
        self.at.ack_held = self.at.unstored >= limits::SLABS_UNSTORED_MAX;
        if !self.at.ack_held {
            self.send_ack(now);
            self.at.timing.sent(now);
        }
    }

    fn send_ack(&mut self, now: Moment) {
        if self.at.received > self.at.acked {
            self.at.acked_before = self.at.acked;
            self.at.acked = self.at.received;
        }
        self.at.window_end = self.at.acked + u64::from(self.at.terms.windowsize);
        if self.at.received > 0 || self.at.gap_acked {
            let block = self.at.terms.rollover.wire_number(self.at.received);
            self.control.clear();
            Packet::Ack { block }.encode(&mut self.control);
        }
        self.send_control(now);
    }

    /// Repeats the last ACK (or the OACK), or acknowledges what has come since.
    fn repeat_ack(&mut self, now: Moment) {
        if self.at.ack_held {
            return;
        }
        let is_sent_before = self.at.acked == self.at.received;
        self.at.tally.repeats += u64::from(is_sent_before);
        if is_sent_before {
            self.at.acked_twice = Some(self.at.acked);
        }
        self.at.timing.repeated(now);
        self.send_ack(now);
    }

    fn send_control(&mut self, now: Moment) {
        self.at.unproven_datagrams += u32::from(!self.at.proven);
        self.at.last_sent_at = now;
        self.outbox.control = true;
    }

    /// Passes the slab to the writer. It stays in the buffer until the drain, so an input that is
    /// never finished loses no octets.
    fn store(&mut self) {
        self.outbox.store = !self.buffer.is_empty();
        self.at.unstored += usize::from(self.outbox.store);
    }

    /// Passes the rest to the writer and asks for the publication.
    fn store_rest(&mut self) {
        self.store();
        self.outbox.publish = true;
    }

    fn on_stored(&mut self, now: Moment) {
        self.at.stored += 1;
        self.at.unstored = self.at.unstored.saturating_sub(1);
        if self.at.ack_held && self.at.phase == Phase::Receiving {
            // The peer had to wait for the writer, which doesn't count against the peer.
            self.at.timing.restart(now);
            self.ack(now);
        }
    }

    /// The file is published, so the last block may be acknowledged.
    fn on_published(&mut self, now: Moment) {
        match std::mem::replace(&mut self.at.phase, Phase::Dallying) {
            Phase::Publishing => {
                self.at.ack_held = false;
                self.send_ack(now);
                self.ending.finish(Outcome::Complete);
                self.ending.arm(Some(now + self.at.timing.dally()));
                if self.at.timing.dally().is_zero() {
                    self.ending.close();
                }
            }
            Phase::Keeping => self.end_kept(),
            other => self.at.phase = other,
        }
    }

    fn on_deadline(&mut self, now: Moment) {
        if self.ending.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.at.phase == Phase::Dallying {
            self.ending.close();
        } else if now >= self.give_up_at() {
            self.stop(if self.at.proven { Outcome::TimedOut } else { Outcome::Unanswered });
        } else if self.may_send() {
            self.repeat_ack(now);
        }
    }

    /// The sender won't send the rest.
    fn stop(&mut self, outcome: Outcome) {
        if self.at.phase == Phase::Receiving && self.on_abort == OnAbort::Keep && self.at.received > 0 {
            self.buffer.finish();
            self.at.phase = Phase::Keeping;
            self.kept_outcome = Some(outcome);
            self.store_rest();
        } else {
            self.ending.finish(outcome);
            self.ending.close();
        }
    }

    /// The octets of a sender that stopped are kept, or can't be.
    fn end_kept(&mut self) {
        if let Some(outcome) = self.kept_outcome.take() {
            self.ending.finish(outcome);
        }
        self.ending.close();
    }

    fn on_failed(&mut self, fault: &Fault) {
        match std::mem::replace(&mut self.at.phase, Phase::Dallying) {
            // The file is already published; later failures don't concern the peer.
            Phase::Dallying => self.ending.close(),
            // The peer has left, possibly with an ERROR, which is never answered with an ERROR.
            Phase::Keeping => self.end_kept(),
            Phase::Receiving | Phase::Publishing => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.control = fault_packet(fault);
        self.outbox = Outbox { control: true, ..Outbox::default() };
        self.ending.finish(Outcome::Failed(fault.failure));
        self.ending.close();
    }

    /// The timer runs while the sender owes a block, and stops while the writer works.
    fn set_deadline(&mut self, now: Moment) {
        match self.at.phase {
            Phase::Receiving if self.at.ack_held => self.ending.arm(None),
            Phase::Receiving => {
                let give_up = self.give_up_at();
                let repeat = self.at.timing.repeat_at(self.at.timing.last_activity(self.at.last_sent_at));
                self.ending.arm(Some(if self.may_send() { repeat.min(give_up) } else { give_up }));
            }
            Phase::Publishing | Phase::Keeping => {
                self.at.timing.restart(now);
                self.ending.arm(None);
            }
            Phase::Dallying => {}
        }
    }
}

/// The first position with a wrapped block number.
const WRAP: u64 = 65536;

impl Machine for Receiver {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        if self.ending.is_over() && !matches!(input, Input::Resumed) {
            return;
        }
        self.uncommitted = true;
        match input {
            Input::Start => {
                self.at.timing.restart(now);
                self.at.timing.sent(now);
                self.send_control(now);
            }
            Input::Datagram { octets, .. } => self.on_datagram(now, octets),
            Input::Deadline => self.on_deadline(now),
            Input::Stored => self.on_stored(now),
            Input::Published => self.on_published(now),
            Input::Repeated => self.on_repeated(now),
            Input::Restrained => self.restrain(),
            Input::GivenUp if !self.at.proven => self.stop(Outcome::Unanswered),
            Input::Resumed => self.resume(now),
            Input::PeerGone | Input::Superseded if self.at.phase == Phase::Dallying => self.ending.close(),
            Input::PeerGone if self.at.phase == Phase::Receiving => self.stop(Outcome::PeerGone),
            Input::Superseded if self.at.phase == Phase::Receiving => self.stop(Outcome::Superseded),
            Input::PeerGone | Input::Superseded => {}
            Input::Failed(fault) => self.on_failed(fault),
            Input::Slab { .. } | Input::GivenUp => {}
        }
        if !self.ending.is_over() {
            self.set_deadline(now);
        }
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        if std::mem::take(&mut self.outbox.store)
            && let Some(slab) = if self.outbox.publish { self.buffer.take() } else { self.buffer.take_slab() }
        {
            return Some(Action::Store(slab));
        }
        if std::mem::take(&mut self.outbox.publish) {
            let is_partial = matches!(self.at.phase, Phase::Keeping);
            return Some(if is_partial { Action::PublishPartial } else { Action::Publish });
        }
        // The writer has what it needs, so the input may be acknowledged.
        if std::mem::take(&mut self.uncommitted) {
            self.commit();
        }
        if std::mem::take(&mut self.outbox.control) {
            return Some(Action::Transmit(Transmit::Packet(&self.control)));
        }
        self.ending.next_action()
    }

    fn tally(&self) -> Tally {
        self.at.tally
    }

    fn is_proven(&self) -> bool {
        self.at.proven
    }
}

#[cfg(test)]
mod tests;
