//! The datagrams of a session: received without actor messages, and sent as the machine asks.

use std::cell::Cell;
use std::net::SocketAddr;
use std::task::{Context as TaskContext, Poll};

use slog::trace;

use crate::engine::driver::Driver;
use crate::engine::packet_summary::PacketSummary;
use crate::error::Failure;
use crate::limits;
use crate::net::Arrived;
use crate::transfer::{Input, Transmit, stranger_answer};
use crate::wire::{DecodeError, Packet};

thread_local! {
    /// Two buffers of the largest datagram size, shared by all sessions of an arbiter: each session
    /// empties them before the next one runs.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The current datagram and the one after it.
struct Scratch {
    current: Vec<u8>,
    next: Vec<u8>,
}

impl Scratch {
    fn take() -> Box<Self> {
        SCRATCH.take().unwrap_or_else(|| {
            let buffer = || vec![0; limits::DATAGRAM_OCTETS_MAX];
            Box::new(Self { current: buffer(), next: buffer() })
        })
    }

    fn give_back(self: Box<Self>) {
        SCRATCH.set(Some(self));
    }
}

impl Driver {
    /// Receives until the link is empty or the turn is over.
    pub(crate) fn pump(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if !self.backlog {
                match self.link.poll_event(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        self.fail(Failure::Internal.into());
                        return Poll::Ready(());
                    }
                }
            }
            self.turn();
            if self.deferred.stop {
                return Poll::Ready(());
            }
            if self.backlog {
                // The other tasks of this arbiter run first.
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Receives up to a turn's worth of datagrams. `backlog` is set if the socket may hold more: no
    /// event will announce them again.
    pub(crate) fn turn(&mut self) {
        if self.deferred.has_panicked() {
            self.backlog = false;
            return;
        }
        self.chaos.at("future", &mut self.deferred);
        if self.deferred.stop {
            self.backlog = false;
            return;
        }
        self.take_errors();
        self.take_datagrams();
    }

    /// A client that closed its port has ended its transfer. Errors that other addresses caused are
    /// ignored.
    fn take_errors(&mut self) {
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            match self.link.take_error() {
                Some(gone) if gone == self.peer => {
                    self.feed(Input::PeerGone);
                }
                Some(_) => {}
                None => break,
            }
        }
    }

    pub(crate) fn take_datagrams(&mut self) {
        self.read_stored();
        let mut scratch = Scratch::take();
        self.backlog = if self.is_lock_step || self.is_receiver {
            self.take_answer(&mut scratch)
        } else {
            self.take_window(&mut scratch)
        };
        scratch.give_back();
    }

    /// Takes in the progress of the writer before a window ends, because the ACK of the window
    /// waits for the writer.
    fn read_stored(&mut self) {
        if self.is_receiver && self.shared.upload.has_stored() {
            self.read_upload();
        }
    }

    /// Lets the kernel deliver several blocks at once, if the window is larger than one block.
    pub(crate) fn expect_runs(&mut self) {
        if self.is_receiver && !self.is_lock_step {
            self.link.expect_runs();
        }
    }

    /// Receives up to the datagram that is answered: the one that advances the transfer, or that
    /// completes a window. The peer sends nothing more before it sees the answer, so a further
    /// `recv` would cost a system call per answer for nothing. A duplicate or a stranger's packet
    /// that is in the socket nevertheless is received with the next datagram, or before the
    /// transfer repeats its last packet. `true` if there may be more to receive.
    fn take_answer(&mut self, scratch: &mut Scratch) -> bool {
        let mut taken = 0;
        while taken < limits::DATAGRAMS_PER_TURN {
            let Some(arrived) = self.receive(&mut scratch.current) else { return false };
            let mut is_answered = false;
            for octets in arrived.datagrams(&scratch.current) {
                taken += 1;
                let has_advanced = self.on_datagram(arrived.from, octets, false);
                is_answered |= has_advanced && (self.is_lock_step || self.awaits_answer);
            }
            if is_answered {
                return false;
            }
        }
        true
    }

    /// Receives until the socket is empty, and passes each datagram on with the information whether
    /// another one follows. Stops at the ACK of all blocks that were sent, after which the peer has
    /// nothing to add, as in [`take_answer`](Self::take_answer). `true` if there may be more to
    /// receive.
    fn take_window(&mut self, scratch: &mut Scratch) -> bool {
        let mut arrived = self.receive(&mut scratch.current);
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            let Some(Arrived { octets, from, .. }) = arrived else { return false };
            if from == self.peer && scratch.current[..octets] == self.ack {
                self.on_datagram(from, &scratch.current[..octets], false);
                return false;
            }
            let following = self.receive(&mut scratch.next);
            let more = following.as_ref().is_some_and(|following| following.from == from);
            self.on_datagram(from, &scratch.current[..octets], more);
            std::mem::swap(&mut scratch.current, &mut scratch.next);
            arrived = following;
        }
        let Some(Arrived { octets, from, .. }) = arrived else { return false };
        self.on_datagram(from, &scratch.current[..octets], false);
        true
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<Arrived> {
        self.chaos.seam("link").at("receive");
        let arrived = self.link.receive(buffer).ok()?;
        Some(Arrived { octets: arrived.octets.min(buffer.len()), ..arrived })
    }

    /// Sends to the peer, unless another session has replaced this one. A packet that can't be sent
    /// counts as lost: the machine repeats it, and gives up in time. The error becomes the detail
    /// of the report.
    pub(crate) fn send(&mut self, transmit: &Transmit<'_>) -> Result<(), Box<str>> {
        if !self.shared.may_send(self.life) {
            return Ok(());
        }
        self.log_sent(self.peer, transmit);
        self.shared.set_replied();
        self.awaits_answer = true;
        if let Transmit::Blocks(blocks) = transmit {
            self.ack = blocks.ack();
        }
        self.chaos.seam("link").at("send");
        self.link.send(self.peer, transmit).map_err(|error| error.to_string().into())
    }

    /// `true` if the datagram advanced the transfer, or ended it.
    fn on_datagram(&mut self, from: SocketAddr, octets: &[u8], more: bool) -> bool {
        self.log_received(from, octets);
        if from != self.peer {
            self.answer_stranger(from, octets);
            return false;
        }
        self.awaits_answer = false;
        if self.is_strict && is_illegal(octets) {
            self.fail(Failure::IllegalOperation.into());
            return true;
        }
        self.feed(Input::Datagram { octets, more })
    }

    /// Answers a stranger with ERROR 5. The transfer is not disturbed (RFC 1350 §4).
    fn answer_stranger(&mut self, from: SocketAddr, octets: &[u8]) {
        let Some(answer) = stranger_answer(octets) else { return };
        let answered = {
            let mut state = self.shared.lock();
            state.strangers_answered = state.strangers_answered.saturating_add(1);
            state.strangers_answered
        };
        if answered <= limits::STRANGERS_ANSWERED_MAX && self.shared.may_send(self.life) {
            self.log_sent(from, &Transmit::Packet(&answer));
            // A stranger that can't be reached needs no answer.
            let _ = self.link.send(from, &Transmit::Packet(&answer));
        }
    }

    fn log_received(&self, from: SocketAddr, octets: &[u8]) {
        if let Some(log) = &self.service.packet_log {
            let id = self.shared.assignment.id.0;
            trace!(log, "received"; "transfer" => id, "from" => %from, "packet" => PacketSummary(octets).to_string());
        }
    }

    fn log_sent(&self, to: SocketAddr, transmit: &Transmit<'_>) {
        let Some(log) = &self.service.packet_log else { return };
        let id = self.shared.assignment.id.0;
        match transmit {
            Transmit::Packet(packet) => {
                trace!(log, "sent"; "transfer" => id, "to" => %to, "packet" => PacketSummary(packet).to_string());
            }
            Transmit::Blocks(blocks) => {
                for block in *blocks {
                    let [_, _, high, low] = block.header;
                    let packet = format!(
                        "DATA {} ({} octets)",
                        u16::from_be_bytes([high, low]),
                        block.payload_octets()
                    );
                    trace!(log, "sent"; "transfer" => id, "to" => %to, "packet" => packet);
                }
            }
        }
    }
}

/// Whether a packet is illegal within a transfer: an unknown opcode, or a request (RFC 1350 §2).
fn is_illegal(octets: &[u8]) -> bool {
    matches!(
        Packet::decode(octets),
        Ok(Packet::Request(_)) | Err(DecodeError::UnknownOpcode(_) | DecodeError::Malformed(_))
    )
}
