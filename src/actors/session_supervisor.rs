//! The supervisor of the sessions of one arbiter.

use std::borrow::Cow;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use actix::fut::WrapFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Running, Supervised};

use crate::actors::session::Session;
use crate::chaos::Part;
use crate::engine::admission::Admitted;
use crate::engine::messages::{SessionAddr, SessionMessage, session_addr};
use crate::engine::poll_loop::PollLoop;
use crate::engine::service::{Service, TransferEvent, limit_met};
use crate::engine::transfers::{Child, PendingRequest, SessionTable, SharedTransfer};
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::net::{UdpLink, send_from_port};
use crate::observe::{Fact, Report, TransferId};
use crate::supervision::{ChildExited, Exit, start_temporary};
use crate::transfer::{Outcome, error_packet};

/// Starts a session for each request that is assigned to its arbiter, replaces a session that
/// fails, and ends the transfers of sessions that fail too often. The session table outlives this
/// supervisor and its arbiter.
pub struct SessionSupervisor {
    service: Arc<Service>,
    sessions: Arc<SessionTable>,
    heartbeat: Arc<Heartbeat>,
    poll_loop: Rc<PollLoop>,
    is_ending: bool,
    served: usize,
    chaos: Part,
}

/// A request for a session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Serve(pub(super) Arc<PendingRequest>);

/// Checks that the arbiter handles messages.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// The liveness of an arbiter, whose [`SessionSupervisor`] answers pings.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    /// Pings without an answer.
    pub(super) missed: AtomicU32,
    pub(super) ended: AtomicBool,
}

impl SessionSupervisor {
    pub(super) fn new(service: Arc<Service>, sessions: Arc<SessionTable>, heartbeat: Arc<Heartbeat>) -> Self {
        let chaos = service.chaos.part("session_supervisor", "");
        let poll_loop = PollLoop::start(&service);
        Self { service, sessions, heartbeat, poll_loop, is_ending: false, served: 0, chaos }
    }

    /// Serves a request, unless this arbiter hung and another one serves the request by now.
    fn on_request(&self, request: &PendingRequest, ctx: &Context<Self>) {
        if self.sessions.is_stopping() {
            return drop(self.sessions.take(request));
        }
        request.set_begun();
        let socket = self.socket_for(request);
        let Some(admitted) = self.sessions.take(request) else { return };
        match socket {
            Ok((socket, local)) => self.serve(admitted, socket, local, ctx),
            Err(error) => self.refuse(admitted, request.well_known.clone(), &error),
        }
    }

    /// Nothing here may block, because the request is in no table until the child is inserted.
    fn serve(&self, admitted: Admitted, socket: Arc<UdpSocket>, local: SocketAddr, ctx: &Context<Self>) {
        let Admitted { assignment, routed, opened, mut permit, .. } = admitted;
        let shared =
            Arc::new(SharedTransfer::new(assignment, routed, socket, local, Arc::clone(&permit.state)));
        if let Some(opened) = opened {
            shared.lock().set_opened(opened);
        }
        let session = self.start_session(&shared, ctx);
        permit.supersede();
        self.keep(Child { session: Some(session), shared, resumptions: 0, _permit: permit });
    }

    /// A socket for a transfer, and its address.
    fn socket_for(&self, request: &PendingRequest) -> io::Result<(Arc<UdpSocket>, SocketAddr)> {
        if let Some(socket) = request.well_known.as_ref().filter(|_| self.service.single_port) {
            return Ok((Arc::clone(socket), request.local));
        }
        self.service.chaos.seam("link", "").at("open");
        let socket = UdpLink::open(request.local, request.ports)?;
        if request.has_options {
            UdpLink::widen(&socket);
        }
        let local = socket.local_addr()?;
        Ok((socket, local))
    }

    /// Handles a request without a socket. The client gets no answer, and repeats its request. If
    /// limits are answered, the ERROR is sent from the well-known port. A request that meets a
    /// limit is counted as a request beyond it, not as an outage.
    fn refuse(&self, admitted: Admitted, well_known: Option<Arc<UdpSocket>>, error: &io::Error) {
        let Admitted { assignment, local, permit, .. } = admitted;
        // A repeated request is a new one from now on.
        permit.state.set_answered();
        let Some(limit) = limit_met(error, assignment.config.ports) else {
            let report = assignment.report(local, Outcome::Outage(Failure::Busy));
            return self.service.finish(Report { detail: Some(error.to_string().into()), ..report });
        };
        let peer = assignment.peer;
        self.service.observe(&Fact::LimitReached { limit, peer });
        let port = well_known.filter(|_| limit == Limit::PortRange && !assignment.to_broadcast);
        if port.is_some_and(|port| send_from_port(&port, local, peer, &error_packet(Failure::Busy)).is_ok()) {
            let fault = Fault::limited(Failure::Busy, limit, limit.meaning());
            let request = Some(assignment.request);
            self.service.observe(&Fact::Refused { peer, request, fault: Cow::Owned(fault) });
        } else {
            self.service.observe(&Fact::Dropped { peer, why: limit.meaning() });
        }
    }

    /// Starts a session for a transfer. Older sessions can't send from now on.
    fn start_session(&self, shared: &Arc<SharedTransfer>, ctx: &Context<Self>) -> SessionAddr {
        let (driven, life, link) = (Arc::clone(shared), shared.next_life(), shared.link());
        let (service, poll_loop) = (Arc::clone(&self.service), Rc::clone(&self.poll_loop));
        let make = move |ctx: &mut Context<Session>| {
            Session::new(driven, life, service, link, poll_loop, ctx.address())
        };
        let (id, parent) = (shared.assignment.id.0, ctx.address().recipient());
        let session = session_addr(start_temporary(id, limits::MAILBOX_SESSION, parent, make));
        let began = TransferEvent::Began { shared: Arc::downgrade(shared), session: session.clone() };
        self.service.tell_registry(began);
        session
    }

    fn keep(&self, child: Child) {
        if let Err(child) = self.sessions.insert(child) {
            // The arbiter was replaced in this moment, and no other one knows of the transfer.
            self.bury(&child, "its arbiter was given up");
        }
    }

    /// Takes over from a supervisor that panicked or whose arbiter ended.
    fn resume(&self, ctx: &Context<Self>) {
        for mut child in self.sessions.remove_without_session() {
            if child.shared.is_over() {
                continue;
            }
            if child.session.take().is_some() {
                self.on_failed(child, "the session ended unheard", ctx);
            } else {
                self.replace(child, ctx);
            }
        }
    }

    /// Replaces a session that failed, on the same socket.
    fn on_failed(&self, mut child: Child, why: &str, ctx: &Context<Self>) {
        if self.sessions.is_stopping() || child.resumptions == limits::RESUMPTIONS_MAX {
            return self.bury(&child, why);
        }
        child.resumptions += 1;
        let (transfer, resumption) = (child.id(), child.resumptions);
        self.service.observe(&Fact::Resumed { transfer, resumption });
        self.replace(child, ctx);
    }

    fn replace(&self, mut child: Child, ctx: &Context<Self>) {
        child.session = Some(self.start_session(&child.shared, ctx));
        self.keep(child);
    }

    fn bury(&self, child: &Child, why: &str) {
        let failure = if self.sessions.is_stopping() { Failure::ShuttingDown } else { Failure::Internal };
        self.service.bury(&child.shared, failure, why);
    }

    fn on_session_exited(&self, id: TransferId, exit: &Exit, ctx: &Context<Self>) {
        if let Exit::Panicked(panic) = exit {
            self.service.crashed("session", Some(id), panic);
        }
        let Some(child) = self.sessions.remove(id) else { return };
        if child.has_session() {
            // The exit belongs to an earlier session.
            self.keep(child);
        } else if !child.shared.is_over() {
            let has_panicked = matches!(exit, Exit::Panicked(_));
            let why = if has_panicked { "the session panicked" } else { "the session stopped" };
            self.on_failed(child, why, ctx);
        }
    }

    fn stop_if_alone(&self, ctx: &mut Context<Self>) {
        if self.sessions.is_stopping() && self.sessions.is_empty() {
            ctx.stop();
        }
    }
}

impl Actor for SessionSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.set_mailbox_capacity(limits::MAILBOX_BUSY);
        self.sessions.drop_begun();
        self.resume(ctx);
        // The messages of these requests may have been lost. A second message has no effect.
        self.sessions.waiting().into_iter().for_each(|request| ctx.notify(Serve(request)));
    }

    /// Ends every session first, if the server is stopping.
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if !self.sessions.is_stopping() {
            return Running::Stop;
        }
        if !std::mem::replace(&mut self.is_ending, true) {
            for session in self.sessions.sessions() {
                // A session whose mailbox is full or closed is ended with its arbiter.
                let _ = session.messages.try_send(SessionMessage::End(Failure::ShuttingDown));
            }
        }
        if self.sessions.is_empty() { Running::Stop } else { Running::Continue }
    }
}

impl Supervised for SessionSupervisor {
    /// The sessions and their table live on. `started` handles those that ended meanwhile.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
    }
}

impl Handler<Serve> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, Serve(request): Serve, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.on_request(&request, ctx);
        self.served += 1;
        if self.served.is_multiple_of(limits::REQUESTS_PER_TURN) {
            // actix handles all messages of a mailbox before other tasks have their turns.
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}

impl Handler<ChildExited> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, ChildExited { id, exit }: ChildExited, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.on_session_exited(TransferId(id), &exit, ctx);
        self.stop_if_alone(ctx);
    }
}

impl Handler<Ping> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ping, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.heartbeat.missed.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
