//! The actor that owns one transfer: its socket (the TID), its machine, and one timer.

mod datagrams;
mod file;

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use tokio::time::Instant;

use self::datagrams::Pump;
use self::file::File;
use super::live_peers::PeerState;
use super::registry::{Finished, Progressed, Started};
use super::service::Service;
use super::window_budget::Share;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::net::Link;
use crate::observe::{Fact, Report, TransferId};
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

/// Serves one request, from opening the file to the last ACK.
#[derive(Debug)]
pub(super) struct Session {
    assignment: Assignment,
    service: Arc<Service>,
    peer_state: Arc<PeerState>,
    registry: Addr<super::Registry>,
    link: Box<dyn Link>,
    /// The reader or the writer.
    file: File,
    /// Runs once the file is open.
    machine: Option<Box<Transfer>>,
    /// Memory that the window may take.
    window: Option<Share>,
    timer: Timer,
    strangers_answered: u32,
    /// Datagrams were left in the socket when this session's turn ended.
    backlog: bool,
    summary: Summary,
}

/// What the report will say.
#[derive(Debug, Default)]
struct Summary {
    path: Option<String>,
    size: Option<u64>,
    options: String,
    detail: Option<Box<str>>,
    outcome: Option<Outcome>,
    reported: bool,
    progress_at: Option<Instant>,
}

/// The one outstanding scheduled message. When the deadline moves away the message is left to come early, and is then scheduled again for the
/// rest; so a transfer that gets on costs no timer calls.
#[derive(Debug, Default)]
struct Timer {
    deadline: Option<Instant>,
    scheduled: Option<(SpawnHandle, Instant)>,
}

/// Either direction of a transfer.
#[derive(Debug)]
enum Transfer {
    Sending(Sender),
    Receiving(Receiver),
}

/// The client sent its request again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Repeated;

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
        assignment: Assignment,
        service: Arc<Service>,
        peer_state: Arc<PeerState>,
        registry: Addr<super::Registry>,
        link: Box<dyn Link>,
    ) -> Self {
        Self {
            assignment,
            service,
            peer_state,
            registry,
            link,
            file: File::default(),
            machine: None,
            window: None,
            timer: Timer::default(),
            strangers_answered: 0,
            backlog: false,
            summary: Summary::default(),
        }
    }

    /// Time since the request arrived, as the machine is told it.
    fn now(&self) -> Moment {
        Moment::new(self.assignment.received_at.elapsed())
    }

    /// The file is open: agree on options and begin.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let offer = Offer { window_octets_max: self.service.windows.left(), ..self.service.offer };
        let agreement = match negotiate(&self.assignment.request, &offer, self.summary.size) {
            Ok(agreement) => agreement,
            Err(failure) => return self.refuse(ctx, failure.into()),
        };
        self.window = Some(self.service.windows.take(&agreement.terms));
        self.summary.options = agreement.accepted.to_string();
        self.machine = Some(Box::new(self.machine_for(&agreement)));
        self.feed(ctx, Input::Start);
    }

    fn machine_for(&self, agreement: &Agreement) -> Transfer {
        let opening = agreement.oack().map_or(Opening::Silent, Opening::Oack);
        let (terms, timeouts) = (agreement.terms, self.service.timeouts);
        match self.assignment.request.direction {
            Direction::Read => Transfer::Sending(Sender::new(terms, opening, timeouts)),
            Direction::Write => {
                Transfer::Receiving(Receiver::new(terms, opening, timeouts, self.service.on_abort))
            }
        }
    }

    /// There will be no transfer: exactly one ERROR, then the session is gone (RFC 1350 §2).
    fn refuse(&mut self, ctx: &mut Context<Self>, fault: Fault) {
        self.summary.detail = fault.detail;
        let packet = error_packet(fault.failure);
        self.send(&Transmit::Packet(&packet));
        self.report(Outcome::Failed(fault.failure), Tally::default());
        ctx.stop();
    }

    /// This end can't go on.
    fn fail(&mut self, ctx: &mut Context<Self>, fault: Fault) {
        if self.machine.is_none() {
            return self.refuse(ctx, fault);
        }
        if !self.summary.reported {
            self.summary.detail = fault.detail;
        }
        self.feed(ctx, Input::Failed(fault.failure));
    }

    /// Gives the machine one input, and does what it says.
    fn feed(&mut self, ctx: &mut Context<Self>, input: Input<'_>) {
        let Some(mut machine) = self.machine.take() else { return };
        let mut over = false;
        let mut drain = machine.handle(self.now(), input);
        if drain.is_proven() {
            // Before the peer hears of it: its next request may be here sooner than this handler ends.
            self.peer_state.set_answered();
        }
        while let Some(action) = drain.next() {
            over |= self.act(action);
        }
        let tally = machine.tally();
        self.machine = Some(machine);
        match self.summary.outcome.take() {
            Some(outcome) => self.report(outcome, tally),
            None => self.tell_progress(tally),
        }
        if over { ctx.stop() } else { self.schedule(ctx) }
    }

    /// Does one thing that the machine asks for. `true` if it was the last.
    fn act(&mut self, action: Action<'_>) -> bool {
        match action {
            Action::Transmit(transmit) => self.send(&transmit),
            Action::Want { offset, octets } => self.file.fetch(offset, octets),
            Action::Store(slab) => {
                *self.summary.size.get_or_insert(0) += slab.len() as u64;
                self.file.append(slab);
            }
            Action::Publish => {
                self.summary.size.get_or_insert(0);
                self.file.publish();
            }
            Action::Arm(deadline) => {
                let epoch = self.assignment.received_at;
                self.timer.deadline = deadline.map(|moment| epoch + moment.since_epoch());
            }
            Action::Finished(outcome) => self.summary.outcome = Some(outcome),
            Action::Close => return true,
        }
        false
    }

    fn send(&mut self, transmit: &Transmit<'_>) {
        let peer = self.assignment.peer;
        self.log_sent(peer, transmit);
        if let Err(error) = self.link.send(peer, transmit) {
            // Like a lost packet: the machine will repeat it, and give up in time. The operator reads why.
            self.summary.detail = Some(error.to_string().into());
        }
    }

    /// Sees to it that a message comes when the deadline passes, or earlier.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        let Some(deadline) = self.timer.deadline else { return };
        if let Some((handle, at)) = self.timer.scheduled {
            if at <= deadline {
                return;
            }
            ctx.cancel_future(handle);
        }
        let handle = ctx.notify_later(DeadlinePassed, deadline.saturating_duration_since(Instant::now()));
        self.timer.scheduled = Some((handle, deadline));
    }

    /// Tells the registry how far the transfer is, once in a while.
    fn tell_progress(&mut self, tally: Tally) {
        let now = Instant::now();
        let due = *self.summary.progress_at.get_or_insert(now + limits::PROGRESS_EVERY);
        if now >= due {
            self.summary.progress_at = Some(now + limits::PROGRESS_EVERY);
            // The next report makes good for one that finds no room.
            let _ = self.registry.try_send(Progressed { id: self.assignment.id, octets: tally.octets });
        }
    }

    /// The outcome is known: tells everybody, once.
    fn report(&mut self, outcome: Outcome, tally: Tally) {
        if std::mem::replace(&mut self.summary.reported, true) {
            return;
        }
        let mut report = self.assignment.report(self.link.local_addr(), outcome);
        report.path = self.summary.path.take();
        report.size = self.summary.size;
        report.options = std::mem::take(&mut self.summary.options);
        // A packet that couldn't be sent is no news if the transfer came through all the same.
        report.detail = self.summary.detail.take().filter(|_| !report.outcome.is_success());
        report.tally = tally;
        self.service.observe(&Fact::Finished(&report));
        // A registry that has no room finds out for itself: the session's address closes.
        let _ = self.registry.try_send(Finished(report));
        self.peer_state.set_over();
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
        self.peer_state.set_session(ctx.address().recipient());
        // A registry that has no room learns of the transfer when it next asks the sessions.
        let _ = self.registry.try_send(Started {
            report: self.assignment.report(self.link.local_addr(), Outcome::Complete),
            session: ctx.address().recipient(),
        });
        self.open(ctx);
        ctx.spawn(Pump);
    }
}

impl Handler<Repeated> for Session {
    type Result = ();

    fn handle(&mut self, _: Repeated, ctx: &mut Self::Context) {
        self.feed(ctx, Input::Repeated);
    }
}

impl Handler<End> for Session {
    type Result = ();

    fn handle(&mut self, End(failure): End, ctx: &mut Self::Context) {
        self.fail(ctx, failure.into());
    }
}

impl Handler<DeadlinePassed> for Session {
    type Result = ();

    fn handle(&mut self, _: DeadlinePassed, ctx: &mut Self::Context) {
        self.timer.scheduled = None;
        match self.timer.deadline {
            Some(deadline) if deadline <= Instant::now() => self.feed(ctx, Input::Deadline),
            _ => self.schedule(ctx),
        }
    }
}

impl Machine for Transfer {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        match self {
            Self::Sending(sender) => sender.take(now, input),
            Self::Receiving(receiver) => receiver.take(now, input),
        }
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        match self {
            Self::Sending(sender) => sender.next_action(),
            Self::Receiving(receiver) => receiver.next_action(),
        }
    }

    fn tally(&self) -> Tally {
        match self {
            Self::Sending(sender) => sender.tally(),
            Self::Receiving(receiver) => receiver.tally(),
        }
    }

    fn is_proven(&self) -> bool {
        match self {
            Self::Sending(sender) => sender.is_proven(),
            Self::Receiving(receiver) => receiver.is_proven(),
        }
    }
}
