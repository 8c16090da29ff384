//! The receiving end: a server for a write request, a client that reads.

mod arrivals;

use std::time::Duration;

use super::machine::{Ending, aborted};
use super::peer::Peer;
use super::receive_buffer::ReceiveBuffer;
use super::tid::fault_packet;
use super::timing::Timing;
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
    terms: Terms,
    timing: Timing,
    on_abort: OnAbort,
    buffer: ReceiveBuffer,
    at: Checkpoint,
    committed: Checkpoint,
    /// How the transfer ends once the octets of a sender that stopped are kept.
    kept_outcome: Option<Outcome>,
    /// The OACK, or ACK 0.
    opening: Vec<u8>,
    /// The packet that is sent and repeated: the OACK, an ACK, or the final ERROR.
    control: Vec<u8>,
    outbox: Outbox,
    pub(super) ending: Ending,
    /// An input was taken and is not committed yet.
    uncommitted: bool,
}

/// All state that a receiver needs to resume, except the octets.
#[derive(Debug, Clone, Copy, Default)]
struct Checkpoint {
    phase: Phase,
    peer: Peer,
    received: u64,
    acked: u64,
    /// Position of the ACK before it: where the sender still is if the last one was lost.
    acked_before: u64,
    /// Position of the last ACK that was sent more than once.
    acked_twice: Option<u64>,
    /// Position of the last ACK that was not repeated for its repeated window.
    passed_over: Option<u64>,
    /// Block at which the next ACK is due.
    window_end: u64,
    /// The gap after `received` was answered: one ACK for each gap (RFC 7440 §4).
    gap_acked: bool,
    /// The last block, if it was a repeated one.
    replayed: Option<u64>,
    /// The repeated blocks are a whole window whose ACK was lost.
    unseen_ack: bool,
    unstored: usize,
    stored: u64,
    /// The window is complete, but its ACK waits for the writer.
    ack_held: bool,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Receiving,
    /// All blocks were received and the writer publishes the file. Nothing is answered meanwhile.
    Publishing,
    /// The sender stopped. The received octets are kept, then the transfer ends with
    /// `kept_outcome`.
    Keeping,
    /// The file is published; repeats of the last block are still answered (RFC 1350 §6).
    Dallying,
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
        let (peer, window_end) = (Peer::new(&opening), terms.windowsize.into());
        let at = Checkpoint { peer, window_end, ..Checkpoint::default() };
        let opening =
            if let Opening::Oack(oack) = opening { oack } else { Packet::Ack { block: 0 }.to_bytes() };
        Self {
            timing: Timing::of_receiver(timeouts, terms.interval),
            terms,
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
        &self.terms
    }

    /// The smoothed round trip; `None` before the first sample.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.timing.round_trip()
    }

    /// Sets how many datagrams the peer may get before it has answered, at least one.
    #[must_use]
    pub fn allowing(mut self, datagrams: u32) -> Self {
        self.at.peer.allow(datagrams);
        self.committed = self.at;
        self
    }

    /// The number of [`Input::Stored`] that were taken.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.at.stored
    }

    /// A receiver for a client whose request was answered by DATA 1: no first packet.
    pub(super) fn begun(now: Moment, terms: Terms, timeouts: Timeouts) -> Self {
        let mut receiver = Self::new(terms, Opening::Answered, timeouts, OnAbort::Discard);
        receiver.timing.restart(now);
        receiver.at.peer.last_sent_at = now;
        receiver
    }

    fn on_datagram(&mut self, now: Moment, octets: &[u8]) {
        match Packet::decode(octets) {
            Ok(Packet::Data { block, payload }) => self.on_data(now, block, payload),
            Ok(Packet::Error { code, message }) if self.at.phase == Phase::Receiving => {
                self.stop(aborted(code, &message, self.at.peer.offering));
            }
            Ok(Packet::Error { .. }) if self.at.phase == Phase::Dallying => self.ending.close(),
            _ => self.at.tally.ignored += 1,
        }
    }

    /// The OACK came again: its sender has not seen ACK 0.
    pub(super) fn on_offer_repeated(&mut self, now: Moment) {
        if self.at.received == 0 && !self.ending.is_over {
            self.repeat_ack(now);
            self.set_deadline(now);
        }
    }

    /// The window is complete: acknowledges it, unless the writer is too far behind.
    fn ack(&mut self, now: Moment) {
        self.at.ack_held = self.at.unstored >= limits::SLABS_UNSTORED_MAX;
        if !self.at.ack_held {
            self.send_ack(now);
            self.timing.sent(now);
        }
    }

    fn send_ack(&mut self, now: Moment) {
        if self.at.received > self.at.acked {
            self.at.acked_before = self.at.acked;
            self.at.acked = self.at.received;
        }
        self.at.window_end = self.at.acked + u64::from(self.terms.windowsize);
        if self.at.received > 0 || self.at.gap_acked {
            let block = self.terms.rollover.wire_number(self.at.received);
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
        if self.at.acked == self.at.received {
            self.at.tally.repeats += 1;
            self.at.acked_twice = Some(self.at.acked);
        }
        self.timing.repeated(now);
        self.send_ack(now);
    }

    fn send_control(&mut self, now: Moment) {
        self.at.peer.sent(now);
        self.outbox.control = true;
    }

    /// Passes the slab to the writer. It stays in the buffer until the drain, so an input that is
    /// never finished loses no octets.
    fn store(&mut self) {
        self.outbox.store = !self.buffer.is_empty();
        self.at.unstored += usize::from(self.outbox.store);
    }

    fn store_rest(&mut self, phase: Phase) {
        self.at.phase = phase;
        self.buffer.finish();
        self.store();
        self.outbox.publish = true;
    }

    fn on_stored(&mut self, now: Moment) {
        self.at.stored += 1;
        self.at.unstored = self.at.unstored.saturating_sub(1);
        if self.at.ack_held && self.at.phase == Phase::Receiving {
            // The peer had to wait for the writer, which doesn't count against the peer.
            self.timing.restart(now);
            self.ack(now);
        }
    }

    /// The file is published, so the last block may be acknowledged.
    fn on_published(&mut self, now: Moment) {
        match std::mem::replace(&mut self.at.phase, Phase::Dallying) {
            Phase::Publishing => {
                self.at.ack_held = false;
                self.send_ack(now);
                self.dally(now);
            }
            Phase::Keeping => self.end_kept(),
            other => self.at.phase = other,
        }
    }

    fn dally(&mut self, now: Moment) {
        self.ending.outcome = Some(Outcome::Complete);
        self.ending.deadline = Some(now + self.timing.dally());
        if self.timing.dally().is_zero() {
            self.ending.close();
        }
    }

    fn on_deadline(&mut self, now: Moment) {
        if self.at.phase == Phase::Dallying {
            self.ending.close();
        } else if now >= self.at.peer.give_up_at(&self.timing) {
            self.stop(if self.at.peer.proven { Outcome::TimedOut } else { Outcome::Unanswered });
        } else if self.at.peer.may_send() {
            self.repeat_ack(now);
        }
    }

    fn stop(&mut self, outcome: Outcome) {
        if self.at.phase == Phase::Receiving && self.on_abort == OnAbort::Keep && self.at.received > 0 {
            self.kept_outcome = Some(outcome);
            self.store_rest(Phase::Keeping);
        } else {
            self.ending.end(outcome);
        }
    }

    /// The octets of a sender that stopped are kept, or can't be.
    fn end_kept(&mut self) {
        self.ending.outcome = self.kept_outcome.clone();
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
        self.ending.end(Outcome::Failed(fault.failure));
    }

    /// The writer has the octets of the input. An end that was not reported yet is found again.
    fn commit(&mut self) {
        if !self.ending.is_over {
            self.committed = self.at;
            self.buffer.commit();
        }
    }

    /// Continues at the last commit. Later blocks count as lost on the network: the ACK of the
    /// earlier ones is repeated.
    fn resume(&mut self, now: Moment) {
        self.at = self.committed;
        (self.outbox, self.ending) = (Outbox::default(), Ending::default());
        self.control.clone_from(&self.opening);
        if !self.buffer.rewind() {
            return self.fail(&Failure::Internal.into());
        }
        self.timing.restart(now);
        match self.at.phase {
            Phase::Receiving if self.at.peer.may_send() => {
                // Blocks of this window that still arrive will show a gap, which this ACK answers.
                self.at.gap_acked |= self.at.received > 0;
                self.repeat_ack(now);
            }
            Phase::Dallying => {
                self.repeat_ack(now);
                self.dally(now);
            }
            // The writer's answer is still to come.
            Phase::Receiving | Phase::Publishing | Phase::Keeping => {}
        }
    }

    /// The timer runs while the sender owes a block, and stops while the writer works.
    fn set_deadline(&mut self, now: Moment) {
        self.ending.deadline = match self.at.phase {
            Phase::Receiving if self.at.ack_held => None,
            Phase::Receiving => {
                let repeat = self.timing.repeat_at(self.timing.last_activity(self.at.peer.last_sent_at));
                Some(self.at.peer.deadline(&self.timing, repeat))
            }
            Phase::Publishing | Phase::Keeping => {
                self.timing.restart(now);
                None
            }
            Phase::Dallying => return,
        };
    }
}

impl Machine for Receiver {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        if self.ending.is_over && !matches!(input, Input::Resumed) {
            return;
        }
        self.uncommitted = true;
        match input {
            Input::Start => {
                self.timing.restart(now);
                self.timing.sent(now);
                self.send_control(now);
            }
            Input::Datagram { octets, .. } => self.on_datagram(now, octets),
            Input::Deadline if self.ending.is_due(now) => self.on_deadline(now),
            Input::Stored => self.on_stored(now),
            Input::Published => self.on_published(now),
            Input::Repeated if self.at.peer.request_repeated(now) => self.repeat_ack(now),
            Input::Restrained => self.at.peer.restrain(),
            Input::GivenUp if !self.at.peer.proven => self.stop(Outcome::Unanswered),
            Input::Resumed => self.resume(now),
            Input::PeerGone | Input::Superseded if self.at.phase == Phase::Dallying => self.ending.close(),
            Input::PeerGone if self.at.phase == Phase::Receiving => self.stop(Outcome::PeerGone),
            Input::Superseded if self.at.phase == Phase::Receiving => self.stop(Outcome::Superseded),
            Input::Failed(fault) => self.on_failed(fault),
            _ => {}
        }
        if !self.ending.is_over {
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
            let keeps = self.at.phase == Phase::Keeping;
            return Some(if keeps { Action::PublishPartial } else { Action::Publish });
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
        self.at.peer.proven
    }
}

#[cfg(test)]
mod tests;
