//! The part of a session that its packets touch: takes datagrams, and carries out the machine's
//! actions.

pub(crate) mod asking;
mod datagrams;
mod file;

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{ActorContext, ActorState};
use tokio::time::Instant;

use crate::chaos::Part;
use crate::engine::driver::asking::Question;
use crate::engine::driver::file::File;
use crate::engine::files::Extent;
use crate::engine::messages::{Repeated, SessionAddr, SessionMessage};
use crate::engine::service::Service;
use crate::engine::transfers::{Assignment, SharedTransfer, Summary, TransferMachine, TransferState};
use crate::error::{Fault, Limit};
use crate::extend::Grants;
use crate::limits;
use crate::net::Link;
use crate::observe::Fact;
use crate::transfer::{
    Action, Agreement, Input, Machine, Moment, Offer, Opening, Outcome, Receiver, Sender, Terms, Transmit,
    fault_packet, negotiate,
};
use crate::wire::{Direction, Request, decimal};

/// A session without its mailbox, so that a packet touches nothing else. Work that needs an actor
/// is deferred to the session.
///
/// The fields that every packet touches come first, and values that would need the assignment are
/// copied here. As in [`SharedTransfer`], each cache line that is loaded costs time.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Driver {
    pub(crate) shared: Arc<SharedTransfer>,
    pub(crate) link: Box<dyn Link>,
    pub(crate) service: Arc<Service>,
    pub(crate) peer: SocketAddr,
    /// Number of this session among those of the transfer.
    pub(crate) life: u32,
    /// The peer has answered, and the peer table knows.
    pub(crate) is_proven: bool,
    /// The turn ended before the socket was empty.
    pub(crate) backlog: bool,
    /// The poll loop has queued this driver for another turn.
    pub(crate) is_queued: bool,
    /// The peer sends windows, and this end sends one ACK for each.
    pub(crate) is_receiver: bool,
    pub(crate) is_lock_step: bool,
    /// A packet that is illegal within a transfer ends it.
    is_strict: bool,
    /// A packet was sent since the peer's last packet arrived.
    pub(crate) awaits_answer: bool,
    /// The ACK that acknowledges all blocks sent so far.
    pub(crate) ack: [u8; 4],
    pub(crate) deferred: Deferred,
    /// The machine's epoch: when the request arrived.
    epoch: Instant,
    pub(crate) deadline: Option<Instant>,
    /// Offset and length of the read that is under way.
    pub(crate) wanted: Option<(u64, usize)>,
    pub(crate) session: SessionAddr,
    pub(crate) file: File,
    pub(crate) chaos: Part,
}

/// Work that is deferred to the session.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    pub(crate) stop: bool,
    /// The machine wants octets of the open file.
    pub(crate) read: bool,
    pub(crate) question: Option<Question>,
    /// A question has not been answered yet.
    pub(crate) asking: bool,
    /// The driver panicked in the poll loop. The session repeats the panic as its own. Nothing of
    /// this session may run until then: the machine may have stopped in the middle of an input, and
    /// the next input would complete the first one as if it had been handled.
    pub(crate) panic: Option<Box<str>>,
    /// The session was sent [`SessionMessage::Attend`], and has not handled it yet.
    pub(crate) is_notified: bool,
}

/// Faults that tests plan for the packet path may stop a session.
impl ActorContext for Deferred {
    fn stop(&mut self) {
        self.stop = true;
    }

    fn terminate(&mut self) {
        self.stop = true;
    }

    fn state(&self) -> ActorState {
        ActorState::Running
    }
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<SharedTransfer>,
        life: u32,
        service: Arc<Service>,
        link: Box<dyn Link>,
        session: SessionAddr,
    ) -> Self {
        let chaos = service.chaos.part("session", shared.assignment.request.filename());
        let Assignment { peer, received_at, request, config, .. } = &shared.assignment;
        Self {
            peer: *peer,
            epoch: *received_at,
            is_receiver: request.direction == Direction::Write,
            is_strict: config.rules.strict,
            shared,
            link,
            service,
            life,
            is_proven: false,
            backlog: false,
            is_queued: false,
            is_lock_step: false,
            awaits_answer: false,
            ack: [0; 4],
            deferred: Deferred::default(),
            deadline: None,
            wanted: None,
            session,
            file: File::default(),
            chaos,
        }
    }

    pub(crate) fn on_deadline(&mut self) {
        // The answer may be in the socket, behind packets that were ignored.
        self.take_datagrams();
        if !self.is_proven && self.shared.peer_state.is_restrained() {
            self.feed(Input::Restrained);
        }
        self.feed(Input::Deadline);
    }

    /// Whether there is work that the session must be notified of. Counts as a notification.
    pub(crate) fn needs_session(&mut self) -> bool {
        let Deferred { stop, read, question, panic, .. } = &self.deferred;
        let has_work = *stop || *read || question.is_some() || panic.is_some();
        has_work && !std::mem::replace(&mut self.deferred.is_notified, true)
    }

    pub(crate) fn on_message(&mut self, message: SessionMessage) {
        match message {
            SessionMessage::Attend => self.read_cached(),
            SessionMessage::Read(answer) => self.on_read(answer),
            SessionMessage::Written => self.read_upload(),
            SessionMessage::DeadlinePassed => self.on_deadline(),
            SessionMessage::Repeated(repeated) => self.on_repeated(repeated),
            SessionMessage::GiveUp(limit) => self.give_up(limit),
            SessionMessage::Superseded => self.leave(Input::Superseded, Outcome::Superseded),
            SessionMessage::End(failure) => self.fail(failure),
        }
    }

    fn on_repeated(&mut self, mut repeated: Repeated) {
        // An answer that the peer sent before the request may still be in the socket.
        self.take_datagrams();
        if !self.shared.peer_state.is_settled() {
            repeated.0 = None;
            self.feed(Input::Repeated);
        }
    }

    /// Negotiates the options and starts the machine.
    pub(crate) fn agree(&mut self, grants: &Grants) {
        let left = self.service.windows.left();
        let mut offer = Offer { window_octets_max: left, ..self.shared.assignment.config.offer };
        grants.bound(&mut offer);
        let size = self.shared.lock().summary.size;
        let request = grants.heed(&self.shared.assignment.request);
        let mut agreement = match negotiate(&request, &offer, size) {
            Ok(agreement) => agreement,
            Err(failure) => return self.fail(failure),
        };
        if !grants.answer(&mut agreement.accepted) {
            let transfer = Some(self.shared.assignment.id);
            self.service.misbehaved("negotiator", transfer, "its answers found no room in the OACK");
        }
        if left < limits::WINDOW_OCTETS_MAX && asked_for_more(&request, &agreement.terms, left) {
            self.service.observe(&Fact::LimitReached { limit: Limit::Windows, peer: self.peer });
        }
        let machine = self.machine_for(&agreement);
        let mut state = self.shared.lock();
        state.window = Some(self.service.windows.take(&agreement.terms));
        state.summary.options = agreement.accepted.to_string();
        state.machine = Some(machine);
        drop(state);
        self.feed(Input::Start);
        self.expect_runs();
    }

    fn machine_for(&self, agreement: &Agreement) -> TransferMachine {
        let opening = agreement.oack().map_or(Opening::Silent, Opening::Oack);
        let Assignment { request, config, .. } = &self.shared.assignment;
        let (terms, timeouts) = (agreement.terms, config.timeouts);
        let allowance = agreement.allowance(request);
        match request.direction {
            Direction::Read => {
                let sender = Sender::new(terms, opening, timeouts).strict(config.rules.strict);
                TransferMachine::Sending(Box::new(sender.allowing(allowance)))
            }
            Direction::Write => {
                let receiver = Receiver::new(terms, opening, timeouts, config.on_abort);
                TransferMachine::Receiving(Box::new(receiver.allowing(allowance)))
            }
        }
    }

    /// Ends the transfer because of a fault at this end. Without a machine yet, exactly one ERROR
    /// is sent (RFC 1350 §2), and none if the request was sent to many hosts.
    pub(crate) fn fail(&mut self, fault: impl Into<Fault>) {
        if self.shared.is_over() {
            return;
        }
        let fault = fault.into();
        let outcome = self.shared.failed(fault.failure);
        let is_answered = matches!(outcome, Outcome::Failed(_));
        let mut state = self.shared.lock();
        if !self.shared.is_reported() {
            state.summary.limit = fault.limit();
            state.summary.detail.clone_from(&fault.detail);
        }
        let has_begun = state.machine.is_some();
        drop(state);
        if is_answered && has_begun {
            self.feed(Input::Failed(&fault));
            return;
        }
        if is_answered
            && !self.shared.assignment.to_broadcast
            && let Err(detail) = self.send(&Transmit::Packet(&fault_packet(&fault)))
        {
            self.shared.lock().summary.detail.get_or_insert(detail);
        }
        self.end_with(outcome);
    }

    /// Gives up a transfer whose peer hasn't answered, because other transfers need its place.
    fn give_up(&mut self, limit: Option<Limit>) {
        self.take_datagrams();
        if self.is_proven {
            return;
        }
        let mut state = self.shared.lock();
        state.summary.limit = limit;
        state.summary.detail = limit.map(|limit| format!("it gave way: {}", limit.name()).into());
        drop(state);
        self.leave(Input::GivenUp, Outcome::Unanswered);
    }

    /// Ends the transfer by an input to its machine or, without a machine yet, with `outcome`. The
    /// peer is sent nothing.
    fn leave(&mut self, input: Input<'_>, outcome: Outcome) {
        if self.shared.is_over() {
            return;
        }
        let has_begun = self.shared.lock().machine.is_some();
        if has_begun {
            self.feed(input);
        } else {
            self.end_with(outcome);
        }
    }

    fn end_with(&mut self, outcome: Outcome) {
        self.report(&mut self.shared.lock(), outcome);
        self.end();
    }

    /// Neither this session nor another one is needed.
    fn end(&mut self) {
        self.shared.set_over();
        // Dropped after the lock. The session or a reader holds the file too.
        let _source = self.shared.lock().source.take();
        self.deferred.stop = true;
    }

    /// Feeds the machine one input and performs its actions. `true` if the transfer advanced by a
    /// block, or is over.
    pub(crate) fn feed(&mut self, input: Input<'_>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let TransferState { machine: Some(machine), summary, .. } = &mut *state else { return true };
        let now = Instant::now();
        let blocks = machine.tally().blocks;
        let (mut outcome, mut is_over) = (None, false);
        let mut drain = machine.handle(Moment::new(now.saturating_duration_since(self.epoch)), input);
        if !self.is_proven && drain.is_proven() {
            self.is_proven = true;
            // Before any answer, because the peer's next request may arrive at once.
            shared.peer_state.set_answered();
        }
        while let Some(action) = drain.next() {
            match action {
                Action::Finished(known) => outcome = Some(known),
                Action::Close => is_over = true,
                action => self.act(summary, action),
            }
        }
        self.is_lock_step = machine.windowsize() == 1;
        let tally = machine.tally();
        match outcome {
            Some(outcome) => self.report(&mut state, outcome),
            None => self.publish_progress(summary, machine, now),
        }
        drop(state);
        if is_over {
            self.end();
        }
        is_over || tally.blocks > blocks
    }

    fn act(&mut self, summary: &mut Summary, action: Action<'_>) {
        match action {
            Action::Transmit(transmit) => {
                if let Err(detail) = self.send(&transmit) {
                    summary.detail = Some(detail);
                }
            }
            Action::Want { offset, octets } => {
                self.wanted = Some((offset, octets));
                match self.file {
                    File::Open(_) => self.deferred.read = true,
                    _ => self.file.fetch(offset, octets),
                }
            }
            Action::Store(slab) => {
                *summary.size.get_or_insert(0) += slab.len() as u64;
                if self.shared.upload.append(slab) {
                    self.file.write();
                }
            }
            Action::Publish => {
                summary.size.get_or_insert(0);
                self.publish(Extent::Whole);
            }
            Action::PublishPartial => self.publish(Extent::Partial),
            Action::Arm(deadline) => {
                self.deadline = deadline.map(|moment| self.epoch + moment.since_epoch());
            }
            Action::Finished(_) | Action::Close => {}
        }
    }

    fn publish(&self, extent: Extent) {
        if self.shared.upload.publish(extent) {
            self.file.write();
        }
    }

    fn publish_progress(&self, summary: &mut Summary, machine: &TransferMachine, now: Instant) {
        if summary.progress_at.is_none_or(|due| now >= due) {
            summary.progress_at = Some(now + limits::PROGRESS_EVERY);
            self.shared.progress.publish(machine, summary.size);
        }
    }

    fn report(&self, state: &mut TransferState, outcome: Outcome) {
        let Some(report) = self.shared.report(state, outcome) else { return };
        self.service.finish(report);
        self.shared.peer_state.set_over();
    }
}

/// Whether the client asked for a larger window, and only memory was missing.
fn asked_for_more(request: &Request<'_>, terms: &Terms, octets_left: usize) -> bool {
    let wanted = request.options.get("windowsize").and_then(|value| decimal(value.as_bytes()));
    let next = usize::from(terms.blksize) * (usize::from(terms.windowsize) + 1);
    wanted.is_some_and(|blocks| blocks > u64::from(terms.windowsize)) && next > octets_left
}

#[cfg(test)]
mod tests;
