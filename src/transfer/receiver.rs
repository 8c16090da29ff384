//! The receiving end: a server that answers a write request, a client that reads.

use bytes::Bytes;

use super::machine::{Ending, aborted};
use super::receive_buffer::ReceiveBuffer;
use super::tid::error_packet;
use super::timing::Timing;
use super::{
    Action, Input, Machine, Moment, OnAbort, Opening, Outcome, Rollover, Tally, Terms, Timeouts, Transmit,
};
use crate::error::Failure;
use crate::limits;
use crate::wire::Packet;

/// Receives a file, block by block (RFC 1350) or window by window (RFC 7440).
///
/// Octets are given to the writer, or held here, before they are acknowledged; the last ACK waits until the file is
/// published, for its receiver may switch off.
#[derive(Debug)]
pub struct Receiver {
    terms: Terms,
    on_abort: OnAbort,
    phase: Phase,
    buffer: ReceiveBuffer,
    timing: Timing,
    proven: bool,
    /// The OACK was answered by no DATA yet.
    offering: bool,
    unproven_datagrams: u32,
    last_sent_at: Moment,
    /// Last block that came in order.
    received: u64,
    /// Position of the last ACK.
    acked: u64,
    /// Position of the ACK before it: where the sender still is when the last one was lost.
    acked_before: u64,
    /// Block that the next ACK is due at.
    window_end: u64,
    /// The gap after `received` was answered: one ACK a gap (RFC 7440 §4).
    gap_acked: bool,
    replay: Replay,
    /// Slabs under way to the writer.
    unstored: usize,
    /// The window is complete, but the writer is behind: the ACK waits for it.
    ack_held: bool,
    /// The OACK, an ACK, or the ERROR that ended the transfer: what is sent now, and again.
    control: Vec<u8>,
    outbox: Outbox,
    ending: Ending,
    tally: Tally,
}

/// Blocks that come again.
#[derive(Debug, Default)]
struct Replay {
    /// The last of them.
    last: Option<u64>,
    /// They are a whole window whose ACK was lost.
    unseen_ack: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Blocks are coming.
    Receiving,
    /// All blocks came; the writer makes the file appear. Nothing is answered meanwhile.
    Publishing,
    /// The sender stopped; what came is published, then the transfer ends so.
    Keeping(Outcome),
    /// The file is there; repeats of the last block are still answered (RFC 1350 §6).
    Dallying,
}

#[derive(Debug, Default)]
struct Outbox {
    store: Option<Bytes>,
    publish: bool,
    control: bool,
}

impl Receiver {
    /// A receiver that has sent nothing yet; [`Input::Start`] starts it: with ACK 0, or the OACK.
    #[must_use]
    pub fn new(terms: Terms, opening: Opening, timeouts: Timeouts, on_abort: OnAbort) -> Self {
        let proven = opening == Opening::Answered;
        let offering = matches!(opening, Opening::Oack(_));
        let control =
            if let Opening::Oack(oack) = opening { oack } else { Packet::Ack { block: 0 }.to_bytes() };
        Self {
            on_abort,
            phase: Phase::Receiving,
            buffer: ReceiveBuffer::new(terms.netascii),
            timing: Timing::of_receiver(timeouts, terms.interval),
            proven,
            offering,
            unproven_datagrams: 0,
            last_sent_at: Moment::default(),
            received: 0,
            acked: 0,
            acked_before: 0,
            window_end: terms.windowsize.into(),
            gap_acked: false,
            replay: Replay::default(),
            unstored: 0,
            ack_held: false,
            control,
            outbox: Outbox::default(),
            ending: Ending::default(),
            tally: Tally::default(),
            terms,
        }
    }

    /// What was agreed on.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The same for a client that reads and whose request was answered by DATA 1 at once: there is nothing to send first.
    pub(super) fn begun(now: Moment, terms: Terms, timeouts: Timeouts) -> Self {
        let mut receiver = Self::new(terms, Opening::Answered, timeouts, OnAbort::Discard);
        receiver.timing.restart(now);
        receiver.last_sent_at = now;
        receiver
    }

    /// Goes on where a client's request was answered.
    pub(super) fn succeed(&mut self, requesting: &Ending) {
        self.ending.succeed(requesting);
    }

    fn on_datagram(&mut self, now: Moment, octets: &[u8]) {
        match Packet::decode(octets) {
            Ok(Packet::Data { block, payload }) => self.on_data(now, block, payload),
            Ok(Packet::Error { code, message }) if self.phase == Phase::Receiving => {
                self.stop(aborted(code, &message, self.offering));
            }
            Ok(Packet::Error { .. }) if self.phase == Phase::Dallying => self.ending.close(),
            _ => self.tally.ignored += 1,
        }
    }

    fn on_data(&mut self, now: Moment, block: u16, payload: &[u8]) {
        if self.phase == Phase::Receiving && payload.len() > self.terms.blksize.into() {
            return self.fail(Failure::IllegalOperation);
        }
        match self.locate(block) {
            Some(position) if position <= self.received => self.on_duplicate(now, position),
            Some(_) if self.phase != Phase::Receiving => self.tally.ignored += 1,
            Some(position) if position == self.received + 1 => self.on_block(now, payload),
            Some(_) => self.on_gap(now),
            None => self.tally.ignored += 1,
        }
    }

    /// The position that a block number means: one that the sender may send now, or else one that it sent before.
    fn locate(&mut self, block: u16) -> Option<u64> {
        let window = u64::from(self.terms.windowsize);
        let next = self.received + 1;
        let ahead = self.terms.rollover.position(block, next, self.acked + window);
        let behind = || {
            self.terms.rollover.position(block, self.received.saturating_sub(window).max(1), self.received)
        };
        let position = ahead.or_else(behind);
        // A sender that wraps to 1 without having said so. With a window, a lost block 0 would look the same.
        let may_wrap_to_one = next == WRAP && window == 1 && !self.terms.rollover_agreed;
        if position.is_none() && may_wrap_to_one {
            let other = if self.terms.rollover == Rollover::Zero { Rollover::One } else { Rollover::Zero };
            if block == other.wire_number(next) {
                self.terms.rollover = other;
                return Some(next);
            }
        }
        position
    }

    fn on_block(&mut self, now: Moment, payload: &[u8]) {
        (self.proven, self.offering) = (true, false);
        self.timing.progress(now);
        self.received += 1;
        self.gap_acked = false;
        self.replay = Replay::default();
        self.tally.blocks += 1;
        self.tally.octets += payload.len() as u64;
        self.buffer.push(payload);
        if payload.len() < self.terms.blksize.into() {
            self.buffer.finish();
            self.phase = Phase::Publishing;
            self.store_rest();
        } else {
            let full = self.buffer.take_full();
            self.store(full);
            if self.received >= self.window_end {
                self.ack(now);
            }
        }
    }

    /// A block before this one was lost: say at once, and once, where to go on (RFC 7440 §4).
    fn on_gap(&mut self, now: Moment) {
        self.tally.ignored += 1;
        (self.proven, self.offering) = (true, false);
        if !self.gap_acked {
            self.gap_acked = true;
            self.repeat_ack(now);
        }
    }

    /// A block that is here already. When a sender begins its window again because it hasn't seen the last ACK, that ACK is repeated at
    /// the last block of that window that is here, once each time; when its window reaches beyond what is here (the lost ACK told of a gap), the next
    /// ACK is due at that window's end. Any other block that comes twice was doubled by the network, and is not answered.
    fn on_duplicate(&mut self, now: Moment, position: u64) {
        self.tally.ignored += 1;
        if self.replay.last.is_none_or(|last| position != last + 1) {
            let senders_window_end = self.acked_before + u64::from(self.terms.windowsize);
            let from_before = position == self.acked_before + 1;
            self.replay.unseen_ack = from_before && senders_window_end <= self.received;
            if from_before && !self.replay.unseen_ack {
                self.window_end = self.window_end.min(senders_window_end);
            }
        }
        self.replay.last = Some(position);
        let answered = match self.phase {
            Phase::Receiving => self.replay.unseen_ack,
            Phase::Dallying => true,
            Phase::Publishing | Phase::Keeping(_) => false,
        };
        if answered && position == self.received {
            self.repeat_ack(now);
        }
    }

    /// The OACK came again: its sender has not seen ACK 0.
    pub(super) fn on_offer_repeated(&mut self, now: Moment) {
        if self.received == 0 && !self.ending.is_over() {
            self.repeat_ack(now);
            self.set_deadline(now);
        }
    }

    /// The window is complete: acknowledge it, unless the writer is too far behind.
    fn ack(&mut self, now: Moment) {
        self.ack_held = self.unstored >= limits::SLABS_UNSTORED_MAX;
        if !self.ack_held {
            self.send_ack(now);
            self.timing.sent(now);
        }
    }

    fn send_ack(&mut self, now: Moment) {
        if self.received > self.acked {
            self.acked_before = self.acked;
            self.acked = self.received;
        }
        self.window_end = self.acked + u64::from(self.terms.windowsize);
        if self.received > 0 || self.gap_acked {
            let block = self.terms.rollover.wire_number(self.received);
            self.control.clear();
            Packet::Ack { block }.encode(&mut self.control);
        }
        self.send_control(now);
    }

    /// Sends the last ACK (or the OACK) again, or one of what has come since.
    fn repeat_ack(&mut self, now: Moment) {
        if self.ack_held {
            return;
        }
        self.tally.repeats += u64::from(self.acked == self.received);
        self.timing.repeated(now);
        self.send_ack(now);
    }

    fn send_control(&mut self, now: Moment) {
        self.unproven_datagrams += u32::from(!self.proven);
        self.last_sent_at = now;
        self.outbox.control = true;
    }

    fn store(&mut self, slab: Option<Bytes>) {
        self.unstored += usize::from(slab.is_some());
        self.outbox.store = slab;
    }

    /// Gives the writer what is left, and has the file published.
    fn store_rest(&mut self) {
        let rest = self.buffer.take_rest();
        self.store(rest);
        self.outbox.publish = true;
    }

    fn on_stored(&mut self, now: Moment) {
        self.unstored = self.unstored.saturating_sub(1);
        if self.ack_held && self.phase == Phase::Receiving {
            // The peer was kept waiting: that doesn't count against it.
            self.timing.restart(now);
            self.ack(now);
        }
    }

    /// The file is there: now the last block may be acknowledged.
    fn on_published(&mut self, now: Moment) {
        match std::mem::replace(&mut self.phase, Phase::Dallying) {
            Phase::Publishing => {
                self.ack_held = false;
                self.send_ack(now);
                self.ending.finish(Outcome::Complete);
                self.ending.arm(Some(now + self.timing.dally()));
                if self.timing.dally().is_zero() {
                    self.ending.close();
                }
            }
            Phase::Keeping(outcome) => {
                self.ending.finish(outcome);
                self.ending.close();
            }
            other => self.phase = other,
        }
    }

    fn on_deadline(&mut self, now: Moment) {
        if self.ending.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.phase == Phase::Dallying {
            self.ending.close();
        } else if now >= self.timing.give_up_at(self.proven) {
            self.stop(if self.proven { Outcome::TimedOut } else { Outcome::Unanswered });
        } else if self.may_send() {
            self.repeat_ack(now);
        }
    }

    fn on_repeated(&mut self, now: Moment) {
        let crossed = now - self.last_sent_at < limits::REPEAT_QUIET;
        if !self.proven && !crossed && self.may_send() {
            self.repeat_ack(now);
        }
    }

    fn may_send(&self) -> bool {
        self.proven || self.unproven_datagrams < limits::UNPROVEN_DATAGRAMS_MAX
    }

    /// The sender won't send the rest.
    fn stop(&mut self, outcome: Outcome) {
        if self.phase == Phase::Receiving && self.on_abort == OnAbort::Keep && self.received > 0 {
            self.buffer.finish();
            self.phase = Phase::Keeping(outcome);
            self.store_rest();
        } else {
            self.ending.finish(outcome);
            self.ending.close();
        }
    }

    fn on_failed(&mut self, failure: Failure) {
        match std::mem::replace(&mut self.phase, Phase::Dallying) {
            // The file is there already: what fails now is of no concern to the peer.
            Phase::Dallying => self.ending.close(),
            // The peer has left, perhaps with an ERROR, and that is never answered with one.
            Phase::Keeping(outcome) => {
                self.ending.finish(outcome);
                self.ending.close();
            }
            Phase::Receiving | Phase::Publishing => self.fail(failure),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.control = error_packet(failure);
        self.outbox = Outbox { control: true, ..Outbox::default() };
        self.ending.finish(Outcome::Failed(failure));
        self.ending.close();
    }

    /// The timer runs while the sender owes a block. While the writer works, it rests.
    fn set_deadline(&mut self, now: Moment) {
        match self.phase {
            Phase::Receiving if self.ack_held => self.ending.arm(None),
            Phase::Receiving => {
                let give_up = self.timing.give_up_at(self.proven);
                let repeat = self.timing.last_activity(self.last_sent_at) + self.timing.interval();
                self.ending.arm(Some(if self.may_send() { repeat.min(give_up) } else { give_up }));
            }
            Phase::Publishing | Phase::Keeping(_) => {
                self.timing.restart(now);
                self.ending.arm(None);
            }
            Phase::Dallying => {}
        }
    }
}

/// The first position whose block number has wrapped.
const WRAP: u64 = 65536;

impl Machine for Receiver {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        if self.ending.is_over() {
            return;
        }
        match input {
            Input::Start => {
                self.timing.restart(now);
                self.timing.sent(now);
                self.send_control(now);
            }
            Input::Datagram { octets, .. } => self.on_datagram(now, octets),
            Input::Deadline => self.on_deadline(now),
            Input::Stored => self.on_stored(now),
            Input::Published => self.on_published(now),
            Input::Repeated => self.on_repeated(now),
            Input::PeerGone if self.phase == Phase::Dallying => self.ending.close(),
            Input::PeerGone if self.phase == Phase::Receiving => self.stop(Outcome::PeerGone),
            Input::PeerGone => {}
            Input::Failed(failure) => self.on_failed(failure),
            Input::Slab { .. } => {}
        }
        if !self.ending.is_over() {
            self.set_deadline(now);
        }
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        if let Some(slab) = self.outbox.store.take() {
            return Some(Action::Store(slab));
        }
        if std::mem::take(&mut self.outbox.publish) {
            return Some(Action::Publish);
        }
        if std::mem::take(&mut self.outbox.control) {
            return Some(Action::Transmit(Transmit::Packet(&self.control)));
        }
        self.ending.next_action()
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn is_proven(&self) -> bool {
        self.proven
    }
}

#[cfg(test)]
mod tests;
