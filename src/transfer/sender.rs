//! The sending end: a server for a read request, a client that writes.

mod beyond;
mod checkpoint;
mod deadline;
mod overrun;

use self::checkpoint::{Checkpoint, Duplicates};
use self::overrun::Overruns;
use super::machine::{Ending, aborted};
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
    /// The checkpoint that [`Input::Resumed`] returns to.
    committed: Checkpoint,
    last_sent_at: Moment,
    buffer: SendBuffer,
    ending: Ending,
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
    /// Datagrams that the peer may get before it has answered.
    allowance: u32,
    /// Follows the RFCs strictly: only the agreed window and the negotiated interval.
    strict: bool,
    /// The OACK that is sent first; empty if there is none.
    oack: Vec<u8>,
    /// The ERROR that ended the transfer; empty until then.
    error: Vec<u8>,
}

#[derive(Debug, Default)]
struct Outbox {
    control: bool,
    /// First and last block of a run.
    run: Option<(u64, u64)>,
    /// A block beyond the window follows the window's last one.
    asks_beyond: bool,
    beyond: Option<u64>,
    want: bool,
}

impl Sender {
    /// A sender that has sent nothing yet; [`Input::Start`] starts it.
    #[must_use]
    pub fn new(terms: Terms, opening: Opening, timeouts: Timeouts) -> Self {
        let proven = opening == Opening::Answered;
        let oack = if let Opening::Oack(oack) = opening { oack } else { Vec::new() };
        let at = Checkpoint { offering: !oack.is_empty(), proven, ..Checkpoint::default() };
        Self {
            buffer: SendBuffer::new(terms.netascii),
            timing: Timing::new(timeouts, terms.interval),
            allowance: limits::UNPROVEN_DATAGRAMS_MAX,
            strict: false,
            terms,
            oack,
            error: Vec::new(),
            at,
            committed: at,
            sent: 0,
            last_sent_at: Moment::default(),
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

    /// Sets how many datagrams the peer may get before it has answered, at least one.
    #[must_use]
    pub fn allowing(mut self, datagrams: u32) -> Self {
        self.allowance = datagrams.max(1);
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
        self.buffer.stream_end().map(|end| end / u64::from(self.terms.blksize) + 1)
    }

    /// Position after which an ACK must come.
    fn window_end(&self) -> u64 {
        let end = self.at.acked + u64::from(self.terms.windowsize);
        self.last_block().map_or(end, |last| end.min(last))
    }

    fn offset_of_unacked(&self) -> u64 {
        self.at.acked * u64::from(self.terms.blksize)
    }

    /// Continues after a client's request was answered.
    pub(super) fn succeed(&mut self, requesting: &Ending) {
        self.ending.succeed(requesting);
    }

    fn on_datagram(&mut self, now: Moment, octets: &[u8]) {
        match Packet::decode(octets) {
            Ok(Packet::Ack { block }) if self.at.offering => self.on_offer_acked(now, block),
            Ok(Packet::Ack { block }) => self.on_ack(now, block),
            Ok(Packet::Error { code, message }) => {
                self.ending.finish(aborted(code, &message, self.at.offering));
                self.ending.close();
            }
            // Not a TFTP packet, or one without a meaning here; ignored, as in other servers.
            _ => self.at.tally.ignored += 1,
        }
    }

    /// ACK 0 accepts the OACK (RFC 2347); no DATA is sent before.
    fn on_offer_acked(&mut self, now: Moment, block: u16) {
        if block != 0 {
            self.at.tally.ignored += 1;
            return;
        }
        self.at.offering = false;
        self.at.proven = true;
        // A peer that received both OACKs accepts both.
        self.duplicates.echoes = self.at.unproven_datagrams.saturating_sub(1);
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
        self.at.proven = true;
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
        self.at.tally.octets = released.min(self.buffer.stream_end().unwrap_or(released));
        self.buffer.release(released);
        if self.last_block() == Some(position) {
            self.ending.finish(Outcome::Complete);
            self.ending.close();
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
        now.ns_since(self.last_sent_at) >= self.timing.least_round_trip_ns() / 2
    }

    /// Starts the window again at the first unacknowledged block, or repeats the OACK.
    fn repeat(&mut self, now: Moment) {
        self.timing.repeated(now);
        if self.at.offering {
            self.offer(now);
        } else {
            self.duplicates.resends += 1;
            self.sent = self.at.acked;
            self.overruns.begin_window_again(self.terms.windowsize, self.timing.repeats_in_a_row());
        }
    }

    fn offer(&mut self, now: Moment) {
        self.at.tally.repeats += u64::from(self.at.unproven_datagrams > 0);
        self.at.unproven_datagrams += 1;
        self.last_sent_at = now;
        self.outbox.control = true;
    }

    /// A forged request gets a few datagrams at most.
    fn may_send(&self) -> bool {
        self.at.proven || self.at.unproven_datagrams < self.allowance
    }

    /// The client repeated its request: our packet was lost, or they crossed. Allows one answer.
    fn on_repeated(&mut self, now: Moment) {
        let crossed = now - self.last_sent_at < limits::REPEAT_QUIET;
        let sent_something = self.at.offering || self.sent > self.at.acked;
        if self.at.proven || !sent_something || crossed {
            return;
        }
        self.allowance = self.allowance.max(self.at.unproven_datagrams + 1);
        if self.may_send() {
            self.repeat(now);
        }
    }

    /// Sends the blocks that fit the window and that the reader has delivered.
    fn fill_window(&mut self, now: Moment) {
        if self.at.offering {
            return;
        }
        let last = self.window_end().min(self.buffer.last_sendable(self.terms.blksize));
        if last <= self.sent || self.overruns.is_paused_until_after(now) {
            return;
        }
        let first = self.sent + 1;
        let last = self.overruns.piece(now, first, last);
        if self.overruns.is_paused() {
            self.timing.repeated_in_pieces();
        }
        self.outbox.run = Some((first, last));
        self.at.unproven_datagrams += u32::from(!self.at.proven);
        self.at.tally.repeats += (self.at.highest.min(last) + 1).saturating_sub(first);
        self.at.tally.blocks += last.saturating_sub(self.at.highest);
        if first > self.at.highest {
            self.timing.sent(now);
        }
        self.last_sent_at = now;
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
        if self.wanted || self.buffer.is_ended() {
            return;
        }
        let held = self.buffer.octets_from(self.offset_of_unacked());
        let window = u64::from(self.terms.blksize) * u64::from(self.terms.windowsize);
        let enough = match (self.at.proven, self.at.offering) {
            (true, _) => window + window.clamp(READ_AHEAD_OCTETS_MIN, READ_AHEAD_OCTETS_MAX),
            (false, false) => self.terms.blksize.into(),
            (false, true) => 0,
        };
        self.wanted = held < enough;
        self.outbox.want = self.wanted;
    }

    /// Octets to ask for: up to the next slab boundary, so that transfers of one file share slabs.
    fn want_octets(&self) -> usize {
        if self.at.proven {
            limits::SLAB_OCTETS - usize::try_from(self.buffer.file_end()).unwrap_or(0) % limits::SLAB_OCTETS
        } else {
            self.terms.blksize.into()
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.error = fault_packet(fault);
        self.outbox = Outbox { control: true, ..Outbox::default() };
        self.ending.finish(Outcome::Failed(fault.failure));
        self.ending.close();
    }
}

impl Machine for Sender {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        if self.ending.is_over() && !matches!(input, Input::Resumed) {
            return;
        }
        self.uncommitted = true;
        let mut hold = false;
        match input {
            Input::Start => {
                self.timing.restart(now);
                if self.at.offering {
                    self.timing.sent(now);
                    self.offer(now);
                }
            }
            Input::Datagram { octets, more } => {
                hold = more;
                self.on_datagram(now, octets);
            }
            Input::Deadline => self.on_deadline(now),
            // A slab that was not requested would shift the file.
            Input::Slab { bytes, end } if self.wanted => {
                self.wanted = false;
                let end = end || bytes.is_empty();
                self.buffer.push(bytes, end);
                self.buffer.release(self.offset_of_unacked());
            }
            Input::Repeated => self.on_repeated(now),
            Input::Restrained => self.allowance = self.allowance.min(self.at.unproven_datagrams).max(1),
            Input::GivenUp if !self.at.proven => self.give_up(Outcome::Unanswered),
            Input::Resumed => self.resume(now),
            Input::PeerGone => self.give_up(Outcome::PeerGone),
            Input::Superseded => self.give_up(Outcome::Superseded),
            Input::Failed(fault) => self.fail(fault),
            Input::Slab { .. } | Input::Stored | Input::Published | Input::GivenUp => {}
        }
        if self.ending.is_over() || hold {
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
        if let Some((first, last)) = self.outbox.run.take() {
            let blocks = self.buffer.blocks(first, last, self.terms.blksize, self.terms.rollover);
            return Some(Action::Transmit(Transmit::Blocks(blocks)));
        }
        if let Some(beyond) = self.outbox.beyond.take() {
            let blocks = self.buffer.blocks(beyond, beyond, self.terms.blksize, self.terms.rollover);
            return Some(Action::Transmit(Transmit::Blocks(blocks)));
        }
        if std::mem::take(&mut self.outbox.want) {
            return Some(Action::Want { offset: self.buffer.file_end(), octets: self.want_octets() });
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
