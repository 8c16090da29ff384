//! The actor that owns one transfer: its socket (the TID), its machine, and one timer.

mod datagrams;
mod file;
mod polling;

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};
use tokio::time::Instant;

use self::datagrams::Pump;
use self::file::{File, ReadCached};
use self::polling::AtWork;
use super::lease::{Held, Lease, Summary, Transfer};
use super::registry::Progressed;
use super::service::Service;
use crate::chaos::Part;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::net::{Link, Received};
use crate::observe::{Report, TransferId};
use crate::store::Name;
use crate::transfer::{
    Action, Agreement, Input, Machine, Moment, Offer, Opening, Outcome, Receiver, Sender, Tally, Transmit,
    error_packet, negotiate,
};
use crate::wire::{Direction, Request};

/// What a session is to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: TransferId,
    pub(super) peer: SocketAddr,
    pub(super) request: Request<'static>,
    pub(super) name: Name,
    pub(super) received_at: Instant,
}

/// Serves one request, from opening the file to the last ACK; or from where another session died on.
#[derive(Debug)]
pub(super) struct Session {
    /// The transfer itself.
    lease: Arc<Lease>,
    peer: SocketAddr,
    /// The peer has answered, and whoever has to know was told.
    is_proven: bool,
    /// Number of this session among those of the transfer.
    life: u32,
    service: Arc<Service>,
    registry: Addr<super::Registry>,
    link: Box<dyn Link>,
    /// The open file, its reader or its writer.
    file: File,
    /// What of the file was asked for last, until it is here.
    wanted: Option<(u64, usize)>,
    timer: Timer,
    /// Datagrams were left in the socket when this session's turn ended.
    backlog: bool,
    /// While the transfer has no outcome.
    at_work: Option<AtWork>,
    /// Each block waits for the answer to the one before it.
    is_lock_step: bool,
    /// Something was sent to the peer since it was last heard.
    awaits_answer: bool,
    chaos: Part,
}

/// The one outstanding scheduled message. When the deadline moves away the message is left to come early, and is then scheduled again for the
/// rest; so a transfer that gets on costs no timer calls.
#[derive(Debug, Default)]
struct Timer {
    deadline: Option<Instant>,
    scheduled: Option<(SpawnHandle, Instant)>,
}

/// The client sent its request again; unless the session finds that it had its answer by then, which makes it a new one: what nobody
/// has handled goes back to the listener.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Repeated(pub(super) Option<Returned>);

/// A request that goes back to its listener, to be judged again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Again {
    pub(super) received: Received,
    pub(super) request: Request<'static>,
}

/// The way back.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) listener: Recipient<Again>,
    pub(super) again: Again,
}

impl Drop for Repeated {
    fn drop(&mut self) {
        if let Some(Returned { listener, again }) = self.0.take() {
            // A listener without room for it leaves it to the client to repeat.
            let _ = listener.try_send(again);
        }
    }
}

/// Ends the transfer; the peer is told why.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct End(pub(super) Failure);

/// The moment for which the timer was scheduled has come.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct DeadlinePassed;

impl Session {
    pub(super) fn new(
        lease: Arc<Lease>,
        life: u32,
        service: Arc<Service>,
        registry: Addr<super::Registry>,
        link: Box<dyn Link>,
    ) -> Self {
        let chaos = service.chaos().part("session", lease.assignment.request.filename());
        Self {
            peer: lease.assignment.peer,
            is_proven: false,
            lease,
            life,
            service,
            registry,
            link,
            file: File::default(),
            wanted: None,
            timer: Timer::default(),
            backlog: false,
            at_work: None,
            is_lock_step: false,
            awaits_answer: false,
            chaos,
        }
    }

    /// Time since the request arrived, as the machine is told it.
    fn moment(&self, now: Instant) -> Moment {
        Moment::new(now.saturating_duration_since(self.lease.assignment.received_at))
    }

    /// The file is open: agree on options and begin.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let offer = Offer { window_octets_max: self.service.windows.left(), ..self.service.offer };
        let size = self.lease.hold().summary.size;
        let agreement = match negotiate(&self.lease.assignment.request, &offer, size) {
            Ok(agreement) => agreement,
            Err(failure) => return self.refuse(ctx, failure.into()),
        };
        let machine = self.machine_for(&agreement);
        {
            let mut held = self.lease.hold();
            held.window = Some(self.service.windows.take(&agreement.terms));
            held.summary.options = agreement.accepted.to_string();
            held.machine = Some(machine);
        }
        self.feed(ctx, Input::Start);
        self.expect_runs();
    }

    fn machine_for(&self, agreement: &Agreement) -> Transfer {
        let opening = agreement.oack().map_or(Opening::Silent, Opening::Oack);
        let (terms, timeouts) = (agreement.terms, self.service.timeouts);
        match self.lease.assignment.request.direction {
            Direction::Read => Transfer::Sending(Box::new(Sender::new(terms, opening, timeouts))),
            Direction::Write => {
                Transfer::Receiving(Box::new(Receiver::new(terms, opening, timeouts, self.service.on_abort)))
            }
        }
    }

    /// There will be no transfer: exactly one ERROR, then the session is gone (RFC 1350 §2).
    fn refuse(&mut self, ctx: &mut Context<Self>, fault: Fault) {
        let packet = error_packet(fault.failure);
        let sent = self.send(&Transmit::Packet(&packet));
        {
            let mut held = self.lease.hold();
            held.summary.detail = fault.detail.or(sent.err());
            self.report(&mut held, Outcome::Failed(fault.failure));
        }
        self.end(ctx);
    }

    /// This end can't go on.
    fn fail(&mut self, ctx: &mut Context<Self>, fault: Fault) {
        if self.lease.is_over() {
            return;
        }
        let has_begun = {
            let mut held = self.lease.hold();
            if held.machine.is_some() && !self.lease.is_reported() {
                held.summary.detail.clone_from(&fault.detail);
            }
            held.machine.is_some()
        };
        if has_begun {
            self.feed(ctx, Input::Failed(fault.failure));
        } else {
            self.refuse(ctx, fault);
        }
    }

    /// The session is no longer needed, and no other will be.
    fn end(&mut self, ctx: &mut Context<Self>) {
        self.lease.set_over();
        self.at_work = None;
        // The session or its reader has the file too, and is the last to let go of it.
        let source = self.lease.hold().source.0.take();
        drop(source);
        ctx.stop();
    }

    /// Gives the machine one input, and does what it says. `true` if the transfer got on by a block, or is over.
    fn feed(&mut self, ctx: &mut Context<Self>, input: Input<'_>) -> bool {
        let lease = Arc::clone(&self.lease);
        let mut held = lease.hold();
        let Held { machine: Some(machine), summary, .. } = &mut *held else { return true };
        let (now, blocks) = (Instant::now(), machine.tally().blocks);
        let mut over = false;
        let mut drain = machine.handle(self.moment(now), input);
        if !self.is_proven && drain.is_proven() {
            self.is_proven = true;
            // Before the peer hears of it: its next request may be here sooner than this handler ends.
            lease.peer_state.set_answered();
        }
        while let Some(action) = drain.next() {
            over |= self.act(ctx, summary, action);
        }
        self.is_lock_step = machine.is_lock_step();
        let tally = machine.tally();
        match summary.outcome.take() {
            Some(outcome) => {
                self.at_work = None;
                self.report(&mut held, outcome);
            }
            None => self.tell_progress(summary, tally, now),
        }
        drop(held);
        if over {
            self.end(ctx);
        } else {
            self.schedule(ctx, now);
        }
        over || tally.blocks > blocks
    }

    /// Does one thing that the machine asks for. `true` if it was the last.
    fn act(&mut self, ctx: &mut Context<Self>, summary: &mut Summary, action: Action<'_>) -> bool {
        match action {
            Action::Transmit(transmit) => {
                if let Err(detail) = self.send(&transmit) {
                    summary.detail = Some(detail);
                }
            }
            Action::Want { offset, octets } => {
                self.wanted = Some((offset, octets));
                match self.file {
                    File::Open(_) => ctx.notify(ReadCached),
                    _ => self.file.fetch(offset, octets),
                }
            }
            Action::Store(slab) => {
                *summary.size.get_or_insert(0) += slab.len() as u64;
                self.file.append(slab);
            }
            Action::Publish => {
                summary.size.get_or_insert(0);
                self.file.publish();
            }
            Action::Arm(deadline) => {
                let epoch = self.lease.assignment.received_at;
                self.timer.deadline = deadline.map(|moment| epoch + moment.since_epoch());
            }
            Action::Finished(outcome) => summary.outcome = Some(outcome),
            Action::Close => return true,
        }
        false
    }

    /// Sends to the peer, unless another session has taken this one's place. What can't be sent is like a lost packet: the machine will
    /// repeat it, and give up in time. The operator reads why.
    fn send(&mut self, transmit: &Transmit<'_>) -> Result<(), Box<str>> {
        if !self.lease.is_life(self.life) {
            return Ok(());
        }
        self.log_sent(self.peer, transmit);
        self.awaits_answer = true;
        self.chaos.seam("link").at("send");
        self.link.send(self.peer, transmit).map_err(|error| error.to_string().into())
    }

    /// Sees to it that a message comes when the deadline passes, or earlier.
    fn schedule(&mut self, ctx: &mut Context<Self>, now: Instant) {
        let Some(deadline) = self.timer.deadline else { return };
        if let Some((handle, at)) = self.timer.scheduled {
            if at <= deadline {
                return;
            }
            ctx.cancel_future(handle);
        }
        let handle = ctx.notify_later(DeadlinePassed, deadline.saturating_duration_since(now));
        self.timer.scheduled = Some((handle, deadline));
    }

    /// Tells the registry how far the transfer is, once in a while.
    fn tell_progress(&self, summary: &mut Summary, tally: Tally, now: Instant) {
        let due = *summary.progress_at.get_or_insert(now + limits::PROGRESS_EVERY);
        if now >= due {
            summary.progress_at = Some(now + limits::PROGRESS_EVERY);
            // The next report makes good for one that finds no room.
            let _ = self.registry.try_send(Progressed { id: self.lease.assignment.id, octets: tally.octets });
        }
    }

    /// The outcome is known: tells everybody, once.
    fn report(&self, held: &mut Held, outcome: Outcome) {
        let Some(report) = self.lease.report(held, outcome) else { return };
        self.service.finish(report);
        self.lease.peer_state.set_over();
    }
}

impl Assignment {
    /// A report that has what the request itself tells.
    pub(super) fn report(&self, local: SocketAddr, outcome: Outcome) -> Report {
        Report {
            id: self.id,
            peer: self.peer,
            local,
            direction: self.request.direction,
            name: self.request.filename().to_string(),
            mode: self.request.mode.to_string(),
            path: None,
            size: None,
            options: String::new(),
            duration: self.received_at.elapsed(),
            tally: Tally::default(),
            outcome,
            detail: None,
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("started", ctx);
        self.at_work = Some(AtWork::new());
        self.lease.peer_state.set_session(ctx.address().recipient());
        self.open(ctx);
        ctx.spawn(Pump);
    }
}

impl Handler<Repeated> for Session {
    type Result = ();

    fn handle(&mut self, mut repeated: Repeated, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        // An answer that was sent before the request may still lie in the socket.
        self.take_datagrams(ctx);
        if !self.lease.peer_state.is_settled() {
            repeated.0 = None;
            self.feed(ctx, Input::Repeated);
        }
    }
}

impl Handler<End> for Session {
    type Result = ();

    fn handle(&mut self, End(failure): End, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.fail(ctx, failure.into());
    }
}

impl Handler<DeadlinePassed> for Session {
    type Result = ();

    fn handle(&mut self, _: DeadlinePassed, ctx: &mut Self::Context) {
        self.chaos.at("scheduled", ctx);
        self.timer.scheduled = None;
        let now = Instant::now();
        if self.timer.deadline.is_some_and(|deadline| deadline <= now) {
            // The answer may lie in the socket, behind what was of no use.
            self.take_datagrams(ctx);
            self.feed(ctx, Input::Deadline);
        } else {
            self.schedule(ctx, now);
        }
    }
}
