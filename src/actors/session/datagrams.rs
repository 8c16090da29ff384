//! A session's datagrams: in without a message each, out as the machine says.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::Context;
use actix::fut::ActorFuture;
use slog::trace;

use super::Session;
use crate::error::Failure;
use crate::limits;
use crate::transfer::{Input, Transmit, stranger_answer};
use crate::wire::{DecodeError, Packet};

/// Wakes the session whenever its socket has something.
#[derive(Debug)]
pub(super) struct Pump;

impl ActorFuture<Session> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut Session,
        ctx: &mut Context<Session>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        session.chaos.at("future", ctx);
        session.turn(ctx, task)
    }
}

thread_local! {
    /// Room for two of the largest datagrams: one for all sessions of an arbiter, since each empties it before the next has its turn.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The datagram at hand, and the one after it.
pub(super) struct Scratch {
    pub(super) current: Vec<u8>,
    next: Vec<u8>,
}

impl Scratch {
    pub(super) fn take() -> Box<Self> {
        SCRATCH.take().unwrap_or_else(|| {
            let buffer = || vec![0; limits::DATAGRAM_OCTETS_MAX];
            Box::new(Self { current: buffer(), next: buffer() })
        })
    }

    pub(super) fn give_back(self: Box<Self>) {
        SCRATCH.set(Some(self));
    }
}

/// A datagram that lies in a buffer.
pub(super) struct Arrived {
    pub(super) octets: usize,
    pub(super) from: SocketAddr,
}

impl Session {
    /// Takes what has come, until there is no more or this turn is over.
    fn turn(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if !self.backlog {
                match self.link.poll_event(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        self.fail(ctx, Failure::Internal.into());
                        return Poll::Ready(());
                    }
                }
            }
            self.take_errors(ctx);
            self.take_datagrams(ctx);
            if self.backlog {
                // Others on this arbiter have their turn first.
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Nothing is ready again before the reactor has run: however this ends, others have their turn after it.
            self.poll_datagrams(ctx);
        }
    }

    /// A client that closed its port has ended its transfer. An error that a stranger's port caused means nothing.
    fn take_errors(&mut self, ctx: &mut Context<Self>) {
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            match self.link.take_error() {
                Some(gone) if gone == self.lease.assignment.peer => self.feed(ctx, Input::PeerGone),
                Some(_) => {}
                None => break,
            }
        }
    }

    pub(super) fn take_datagrams(&mut self, ctx: &mut Context<Self>) {
        let mut scratch = Scratch::take();
        let mut arrived = self.receive(&mut scratch.current);
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            let Some(Arrived { octets, from }) = arrived else { break };
            let following = self.receive(&mut scratch.next);
            let more = following.as_ref().is_some_and(|following| following.from == from);
            self.on_datagram(ctx, from, &scratch.current[..octets], more);
            std::mem::swap(&mut scratch.current, &mut scratch.next);
            arrived = following;
        }
        self.backlog = false;
        if let Some(Arrived { octets, from }) = arrived {
            self.backlog = true;
            self.on_datagram(ctx, from, &scratch.current[..octets], false);
        }
        scratch.give_back();
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<Arrived> {
        self.chaos.seam("link").at("receive");
        let (octets, from) = self.link.receive(buffer).ok()?;
        Some(Arrived { octets: octets.min(buffer.len()), from })
    }

    pub(super) fn on_datagram(
        &mut self,
        ctx: &mut Context<Self>,
        from: SocketAddr,
        octets: &[u8],
        more: bool,
    ) {
        self.log_received(from, octets);
        if from != self.lease.assignment.peer {
            return self.answer_stranger(from, octets);
        }
        self.awaits_answer = false;
        if self.service.rules.strict && is_illegal(octets) {
            return self.fail(ctx, Failure::IllegalOperation.into());
        }
        self.feed(ctx, Input::Datagram { octets, more });
    }

    /// ERROR 5 to whoever isn't the peer; the transfer is not disturbed (RFC 1350 §4).
    fn answer_stranger(&mut self, from: SocketAddr, octets: &[u8]) {
        let Some(answer) = stranger_answer(octets) else { return };
        let answered = {
            let mut held = self.lease.hold();
            held.strangers_answered = held.strangers_answered.saturating_add(1);
            held.strangers_answered
        };
        if answered <= limits::STRANGERS_ANSWERED_MAX && self.lease.is_life(self.life) {
            self.log_sent(from, &Transmit::Packet(&answer));
            // What can't reach a stranger is of no concern here.
            let _ = self.link.send(from, &Transmit::Packet(&answer));
        }
    }

    fn log_received(&self, from: SocketAddr, octets: &[u8]) {
        if let Some(log) = &self.service.packet_log {
            let id = self.lease.assignment.id.0;
            trace!(log, "received"; "transfer" => id, "from" => %from, "packet" => Shown(octets).to_string());
        }
    }

    pub(super) fn log_sent(&self, to: SocketAddr, transmit: &Transmit<'_>) {
        let Some(log) = &self.service.packet_log else { return };
        let id = self.lease.assignment.id.0;
        match transmit {
            Transmit::Packet(packet) => {
                trace!(log, "sent"; "transfer" => id, "to" => %to, "packet" => Shown(packet).to_string());
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

/// Whether this is a packet that no transfer can have: an unknown opcode, or a request (RFC 1350 §2).
fn is_illegal(octets: &[u8]) -> bool {
    matches!(
        Packet::decode(octets),
        Ok(Packet::Request(_)) | Err(DecodeError::UnknownOpcode(_) | DecodeError::Malformed(_))
    )
}

/// A packet as the log shows it.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Packet::decode(self.0) {
            Ok(Packet::Request(request)) => {
                write!(f, "{} request for {}", request.direction, request.filename())
            }
            Ok(Packet::Data { block, payload }) => write!(f, "DATA {block} ({} octets)", payload.len()),
            Ok(Packet::Ack { block }) => write!(f, "ACK {block}"),
            Ok(Packet::Error { code, message }) => write!(f, "ERROR {code} \"{message}\""),
            Ok(Packet::Oack(options)) => write!(f, "OACK {options}"),
            Err(error) => write!(f, "{} octets: {error}", self.0.len()),
        }
    }
}
