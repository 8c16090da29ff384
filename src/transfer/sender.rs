//! The sending end: a server for a read request, a client that writes.

mod deadline;
mod overrun;

use std::time::Duration;

use self::overrun::Overruns;
use super::machine::{Ending, aborted};
use super::peer::Peer;
use super::send_buffer::SendBuffer;
use super::tid::fault_packet;
use super::timing::Timing;
use super::{Action, Input, Machine, Moment, Opening, Outcome, Tally, Terms, Timeouts, Transmit};
use crate::error::Fault;
use crate::limits::{self, READ_AHEAD_OCTETS_MAX, READ_AHEAD_OCTETS_MIN};
use crate::wire::Packet;

/// Sends a file, block by block (RFC 1350) or window by window (RFC 7440).
///
/// Positions count blocks from 1 with 64 bits; the numbers on the wire wrap. Blocks `acked +
/// 1..=sent` are in flight. `highest` is the last block ever sent: after a repeat from `acked + 1`,
/// a late ACK may still name later blocks.
///
/// The fields that each packet needs come first and together: with a thousand transfers, every
/// access to another cache line is a miss.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Sender {
    at: Checkpoint,
    /// The last block sent; below `highest` while blocks are repeated.
    sent: u64,
    committed: Checkpoint,
    buffer: SendBuffer,
    pub(super) ending: Ending,
    outbox: Outbox,
    duplicates: Duplicates,
    overruns: Overruns,
    /// The last block sent beyond a window.
    beyond: u64,
    wanted: bool,
    /// An input was taken and is not committed yet.
    uncommitted: bool,
    terms: Terms,
    timing: Timing,
    /// Follows the RFCs strictly: only the agreed window and the negotiated interval.
    strict: bool,
    /// The OACK that is sent first; empty if there is none.
    oack: Vec<u8>,
    /// The ERROR that ended the transfer; empty until then.
    error: Vec<u8>,
}

/// All state that a sender needs to resume, except the octets, which can be read again. It is
/// copied for each packet, so it has nothing that can be recomputed.
#[derive(Debug, Clone, Copy, Default)]
struct Checkpoint {
    acked: u64,
    highest: u64,
    tally: Tally,
    peer: Peer,
}

/// The possible meanings of a duplicate ACK (RFC 7440 §4): the first block of the window was lost,
/// or the ACK is an echo of something sent twice.
#[derive(Debug, Default)]
struct Duplicates {
    /// The window was restarted since the last progress; that is done only once.
    restarted: bool,
    /// How often the blocks in flight were sent again. For each time, the peer may repeat its ACK.
    resends: u32,
    /// How many equal ACKs are such echoes.
    echoes: u32,
}

#[derive(Debug, Default)]
struct Outbox {
    control: bool,
    run: Option<(u64, u64)>,
    /// A block beyond the window follows the window's last one.
    asks_beyond: bool,
    beyond: Option<(u64, u64)>,
    want: bool,
}

impl Sender {
    /// A sender that has sent nothing yet; [`Input::Start`] starts it.
    #[must_use]
    pub fn new(terms: Terms, opening: Opening, timeouts: Timeouts) -> Self {
        let at = Checkpoint { peer: Peer::new(&opening), ..Checkpoint::default() };
        Self {
            buffer: SendBuffer::new(terms.netascii),
            timing: Timing::new(timeouts, terms.interval),
            strict: false,
            terms,
            oack: if let Opening::Oack(oack) = opening { oack } else { Vec::new() },
            error: Vec::new(),
            at,
            committed: at,
            sent: 0,
            duplicates: Duplicates::default(),
            overruns: Overruns::default(),
            beyond: 0,
            wanted: false,
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

    /// Follows the RFCs strictly: a negotiated interval is kept to the end (RFC 2349), and no block
    /// is sent beyond the window (RFC 7440). This costs seconds when packets are lost.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        if strict {
            self.timing.keep_negotiated();
        }
        self
    }

    /// Position of the last block, once the end of the file has been read.
    fn last_block(&self) -> Option<u64> {
        self.buffer.stream_end.map(|end| end / u64::from(self.terms.blksize) + 1)
    }

    /// Position after which an ACK must come.
    fn window_end(&self) -> u64 {
        let end = self.at.acked + u64::from(self.terms.windowsize);
        self.last_block().map_or(end, |last| end.min(last))
    }

    fn offset_of_unacked(&self) -> u64 {
        self.at.acked * u64::from(self.terms.blksize)
    }

    fn on_datagram(&mut self, now: Moment, octets: &[u8]) {
        match Packet::decode(octets) {
            Ok(Packet::Ack { block: 0 }) if self.at.peer.offering => self.on_offer_accepted(now),
            Ok(Packet::Ack { .. }) if self.at.peer.offering => self.at.tally.ignored += 1,
            Ok(Packet::Ack { block }) => self.on_ack(now, block),
            Ok(Packet::Error { code, message }) => {
                self.ending.end(aborted(code, &message, self.at.peer.offering));
            }
            // Not a TFTP packet, or one without a meaning here; ignored, as in other servers.
            _ => self.at.tally.ignored += 1,
        }
    }

    /// ACK 0 accepts the OACK (RFC 2347); no DATA is sent before.
    fn on_offer_accepted(&mut self, now: Moment) {
        self.at.peer.answered();
        // A peer that received both OACKs accepts both.
        self.duplicates.echoes = self.at.peer.unproven_datagrams.saturating_sub(1);
        self.timing.progress(now);
    }

    fn on_ack(&mut self, now: Moment, block: u16) {
        match self.terms.rollover.position(block, self.at.acked, self.at.highest) {
            Some(position) if position > self.at.acked => self.on_progress(now, position),
            Some(_) if self.at.highest > 0 => self.on_duplicate(now),
            _ => self.at.tally.ignored += 1,
        }
    }

    /// Everything up to `position` has arrived. If more was sent, the next block was lost, and the
    /// window starts there (RFC 7440 §4).
    ///
    /// Two kinds of ACK don't prove a loss: one that comes too soon after the next block was sent,
    /// and one for a repeated block while the others are still on their way. If they restarted the
    /// window, a receiver that answers every block would get each block many times. If nothing more
    /// comes, the window starts there a round trip later.
    fn on_progress(&mut self, now: Moment, position: u64) {
        self.at.peer.answered();
        self.note_window(now, position);
        self.timing.progress(now);
        let is_under_way =
            self.at.highest > position && (self.duplicates.resends > 0 || !self.may_answer_last_run(now));
        // A receiver may answer each block that it already has; EDK2 does.
        let echoes = self.duplicates.resends.saturating_mul(self.terms.windowsize.into());
        // A copy of an ACK that reported a gap has no new information.
        let restarted = !is_under_way && self.at.highest > position;
        if restarted {
            self.timing.loss_proved();
        }
        self.duplicates = Duplicates { restarted, resends: 0, echoes };
        self.at.acked = position;
        self.sent = if is_under_way { self.sent.max(position) } else { position };
        self.overruns.gap_at = (self.sent > position).then(|| self.timing.answered_by(now));
        let released = self.offset_of_unacked();
        self.at.tally.octets = released.min(self.buffer.stream_end.unwrap_or(released));
        self.buffer.release(released);
        if self.last_block() == Some(position) {
            self.ending.end(Outcome::Complete);
        }
    }

    /// With one block in flight, a duplicate ACK never causes DATA (RFC 1123 §4.2.3.1, the
    /// Sorcerer's Apprentice). With a window, it may report the loss of the first block, and
    /// restarts the window once, unless the ACK is an echo.
    fn on_duplicate(&mut self, now: Moment) {
        self.at.tally.ignored += 1;
        self.timing.echoed();
        if self.overruns.gap_at.is_some() && self.may_answer_last_run(now) {
            self.go_on_behind_gap();
        } else if self.duplicates.echoes > 0 {
            self.duplicates.echoes -= 1;
        } else if self.terms.windowsize > 1 && !self.duplicates.restarted && self.may_answer_last_run(now) {
            self.duplicates.restarted = true;
            self.repeat(now);
        }
    }

    fn may_answer_last_run(&self, now: Moment) -> bool {
        now.ns_since(self.at.peer.last_sent_at) >= self.timing.least_round_trip_ns() / 2
    }

    /// Starts the window again at the first unacknowledged block, or repeats the OACK.
    fn repeat(&mut self, now: Moment) {
        self.timing.repeated(now);
        if self.at.peer.offering {
            self.offer(now);
        } else {
            self.duplicates.resends += 1;
            self.sent = self.at.acked;
            self.overruns.begin_window_again(self.terms.windowsize, self.timing.repeats_in_a_row);
        }
    }

    fn offer(&mut self, now: Moment) {
        self.at.tally.repeats += u64::from(self.at.peer.unproven_datagrams > 0);
        self.at.peer.sent(now);
        self.outbox.control = true;
    }

    /// Sends the blocks that fit the window and that the reader has delivered.
    fn fill_window(&mut self, now: Moment) {
        if self.at.peer.offering {
            return;
        }
        let last = self.window_end().min(self.buffer.last_sendable(self.terms.blksize));
        if last <= self.sent || self.overruns.resumes_at.is_some_and(|resumes_at| now < resumes_at) {
            return;
        }
        let first = self.sent + 1;
        let last = self.overruns.piece(now, first, last);
        if self.overruns.resumes_at.is_some() {
            self.timing.repeated_in_pieces();
        }
        self.outbox.run = Some((first, last));
        self.at.peer.sent(now);
        self.at.tally.repeats += (self.at.highest.min(last) + 1).saturating_sub(first);
        self.at.tally.blocks += last.saturating_sub(self.at.highest);
        if first > self.at.highest {
            self.timing.sent(now);
        }
        self.sent = last;
        self.at.highest = self.at.highest.max(last);
        self.count_beyond();
        if self.sent == self.window_end() && std::mem::take(&mut self.outbox.asks_beyond) {
            self.send_beyond();
        }
    }

    /// Asks for the next slab if the buffer has less than the window in flight and most of the next
    /// one: an ACK should find the next window in memory, or the peer waits while the file is read.
    /// A peer that hasn't answered gets memory for one block at most.
    fn want_more(&mut self) {
        if self.wanted || self.buffer.ended {
            return;
        }
        let held = self.buffer.octets_from(self.offset_of_unacked());
        let window = u64::from(self.terms.blksize) * u64::from(self.terms.windowsize);
        let enough = match (self.at.peer.proven, self.at.peer.offering) {
            (true, _) => window + window.clamp(READ_AHEAD_OCTETS_MIN, READ_AHEAD_OCTETS_MAX),
            (false, false) => self.terms.blksize.into(),
            (false, true) => 0,
        };
        self.wanted = held < enough;
        self.outbox.want = self.wanted;
    }

    /// Octets to ask for: up to the next slab boundary, so that transfers of one file share slabs.
    fn want_octets(&self) -> usize {
        if self.at.peer.proven {
            limits::SLAB_OCTETS - usize::try_from(self.buffer.file_end).unwrap_or(0) % limits::SLAB_OCTETS
        } else {
            self.terms.blksize.into()
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.error = fault_packet(fault);
        self.outbox = Outbox { control: true, ..Outbox::default() };
        self.ending.end(Outcome::Failed(fault.failure));
    }

    /// An end that is not reported yet is found again.
    fn commit(&mut self) {
        if !self.ending.is_over {
            self.committed = self.at;
            self.buffer.commit();
        }
    }

    /// Continues at the last commit. The octets are read again, and the blocks in flight are
    /// repeated as soon as they are here.
    fn resume(&mut self, now: Moment) {
        self.at = self.committed;
        self.sent = self.at.highest;
        self.duplicates = Duplicates::default();
        self.overruns.begin_window();
        self.buffer.rewind();
        self.error.clear();
        (self.wanted, self.outbox, self.ending) = (false, Outbox::default(), Ending::default());
        self.timing.restart(now);
        if self.is_unanswered() && self.at.peer.may_send() {
            self.repeat(now);
        }
    }

    /// Whether the OACK or blocks are in flight.
    fn is_unanswered(&self) -> bool {
        self.at.peer.offering || self.sent > self.at.acked
    }
}

impl Machine for Sender {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        if self.ending.is_over && !matches!(input, Input::Resumed) {
            return;
        }
        self.uncommitted = true;
        let hold = matches!(input, Input::Datagram { more: true, .. });
        match input {
            Input::Start => {
                self.timing.restart(now);
                if self.at.peer.offering {
                    self.timing.sent(now);
                    self.offer(now);
                }
            }
            Input::Datagram { octets, .. } => self.on_datagram(now, octets),
            Input::Deadline if self.ending.is_due(now) => self.on_deadline(now),
            // A slab that was not requested would shift the file.
            Input::Slab { bytes, end } if self.wanted => {
                self.wanted = false;
                let end = end || bytes.is_empty();
                self.buffer.push(bytes, end);
                self.buffer.release(self.offset_of_unacked());
            }
            Input::Repeated if self.is_unanswered() && self.at.peer.request_repeated(now) => self.repeat(now),
            Input::Restrained => self.at.peer.restrain(),
            Input::GivenUp if !self.at.peer.proven => self.give_up(Outcome::Unanswered),
            Input::Resumed => self.resume(now),
            Input::PeerGone => self.give_up(Outcome::PeerGone),
            Input::Superseded => self.give_up(Outcome::Superseded),
            Input::Failed(fault) => self.fail(fault),
            _ => {}
        }
        if self.ending.is_over || hold {
            return;
        }
        self.fill_window(now);
        self.want_more();
        self.set_deadline(now);
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        if std::mem::take(&mut self.uncommitted) {
            self.commit();
        }
        if std::mem::take(&mut self.outbox.control) {
            let packet = if self.error.is_empty() { &self.oack } else { &self.error };
            return Some(Action::Transmit(Transmit::Packet(packet)));
        }
        if let Some((first, last)) = self.outbox.run.take().or_else(|| self.outbox.beyond.take()) {
            let blocks = self.buffer.blocks(first, last, self.terms.blksize, self.terms.rollover);
            return Some(Action::Transmit(Transmit::Blocks(blocks)));
        }
        if std::mem::take(&mut self.outbox.want) {
            return Some(Action::Want { offset: self.buffer.file_end, octets: self.want_octets() });
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
