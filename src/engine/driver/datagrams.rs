//! The datagrams of a session: received without actor messages, and sent as the machine asks.

use std::cell::RefCell;
use std::fmt;
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
    /// Buffers for the current datagram and the one after it, shared by all sessions of an arbiter:
    /// each session empties them before the next one runs.
    static BUFFERS: RefCell<[Vec<u8>; 2]> = RefCell::new([(); 2].map(|()| vec![0; limits::DATAGRAM_OCTETS_MAX]));
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
                        self.fail(Failure::Internal);
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
        self.backlog = false;
        if self.deferred.panic.is_some() {
            return;
        }
        self.chaos.at("future", &mut self.deferred);
        if self.deferred.stop {
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
                Some(gone) if gone == self.peer => _ = self.feed(Input::PeerGone),
                Some(_) => {}
                None => break,
            }
        }
    }

    pub(crate) fn take_datagrams(&mut self) {
        if self.is_receiver && self.shared.upload.has_stored() {
            // Before a window ends, because the ACK of the window waits for the writer.
            self.read_upload();
        }
        self.backlog = BUFFERS.with_borrow_mut(|buffers| {
            if self.is_lock_step || self.is_receiver {
                self.take_answer(&mut buffers[0])
            } else {
                self.take_window(buffers)
            }
        });
    }

    /// Lets the kernel deliver several blocks at once, if the window is larger than one block.
    pub(crate) fn expect_runs(&mut self) {
        if self.is_receiver && !self.is_lock_step {
            self.link.expect_runs();
        }
    }

    /// Receives up to the datagram that is answered: the one that advances the transfer, or that
    /// completes a window. The peer sends nothing more before it sees the answer, so a further
    /// `recv` would be a system call for nothing. Other packets in the socket are received with the
    /// next datagram, or before the transfer repeats its last packet. `true` if there may be more.
    fn take_answer(&mut self, buffer: &mut [u8]) -> bool {
        let mut taken = 0;
        while taken < limits::DATAGRAMS_PER_TURN {
            let Some(arrived) = self.receive(buffer) else { return false };
            let mut is_answered = false;
            for octets in arrived.datagrams(buffer) {
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
    /// nothing to add. `true` if there may be more.
    fn take_window(&mut self, [current, next]: &mut [Vec<u8>; 2]) -> bool {
        let mut arrived = self.receive(current);
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            let Some(Arrived { octets, from, .. }) = arrived else { return false };
            if from == self.peer && current[..octets] == self.ack {
                self.on_datagram(from, &current[..octets], false);
                return false;
            }
            let following = self.receive(next);
            let more = following.as_ref().is_some_and(|following| following.from == from);
            self.on_datagram(from, &current[..octets], more);
            std::mem::swap(current, next);
            arrived = following;
        }
        let Some(Arrived { octets, from, .. }) = arrived else { return false };
        self.on_datagram(from, &current[..octets], false);
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
            self.fail(Failure::IllegalOperation);
            return true;
        }
        self.feed(Input::Datagram { octets, more })
    }

    /// Answers a stranger with ERROR 5. The transfer is not disturbed (RFC 1350 §4).
    fn answer_stranger(&mut self, from: SocketAddr, octets: &[u8]) {
        let Some(answer) = stranger_answer(octets) else { return };
        let mut state = self.shared.lock();
        state.strangers_answered = state.strangers_answered.saturating_add(1);
        let may_answer = state.strangers_answered <= limits::STRANGERS_ANSWERED_MAX;
        drop(state);
        if may_answer && self.shared.may_send(self.life) {
            self.log_sent(from, &Transmit::Packet(&answer));
            // A stranger that can't be reached needs no answer.
            let _ = self.link.send(from, &Transmit::Packet(&answer));
        }
    }

    fn log_received(&self, from: SocketAddr, octets: &[u8]) {
        if let Some(log) = &self.service.packet_log {
            let id = self.shared.assignment.id.0;
            trace!(log, "received"; "transfer" => id, "from" => %from, "packet" => %PacketSummary(octets));
        }
    }

    fn log_sent(&self, to: SocketAddr, transmit: &Transmit<'_>) {
        let Some(log) = &self.service.packet_log else { return };
        let id = self.shared.assignment.id.0;
        let log_packet = |packet: fmt::Arguments<'_>| {
            trace!(log, "sent"; "transfer" => id, "to" => %to, "packet" => %packet);
        };
        match transmit {
            Transmit::Packet(packet) => log_packet(format_args!("{}", PacketSummary(packet))),
            Transmit::Blocks(blocks) => {
                for block in *blocks {
                    let [_, _, high, low] = block.header;
                    let (number, octets) = (u16::from_be_bytes([high, low]), block.payload_octets());
                    log_packet(format_args!("DATA {number} ({octets} octets)"));
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
