//! The parent of an arbiter's sessions.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Running, Supervised};

use crate::actors::session::Session;
use crate::chaos::Part;
use crate::engine::admission::Admitted;
use crate::engine::heartbeat::Heartbeat;
use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::engine::poll_loop::PollLoop;
use crate::engine::service::{Service, limit_met};
use crate::engine::transfers::bury::bury;
use crate::engine::transfers::event::TransferEvent;
use crate::engine::transfers::session_table::{Child, PendingRequest, SessionTable, SocketRequest};
use crate::engine::transfers::shared_transfer::SharedTransfer;
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::net::{UdpLink, send_from_port};
use crate::observe::{Fact, TransferId};
use crate::supervision::{ChildExited, Exit, start_temporary};
use crate::transfer::{Outcome, error_packet};

/// Starts a session for each request that the listeners hand to its arbiter, another in place of one that fails, and buries those that end. What must
/// outlive a session is in its shared transfer; what must outlive this supervisor, and its arbiter, in the sessions.
#[derive(Debug)]
pub struct SessionSupervisor {
    service: Arc<Service>,
    sessions: Arc<SessionTable>,
    heartbeat: Arc<Heartbeat>,
    /// It outlives a restart, for the sessions do.
    poll_loop: Rc<PollLoop>,
    said_goodbye: bool,
    chaos: Part,
}

/// Requests wait to be served.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// Asks for a sign of life: the answer says that the arbiter gets round to its messages.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

impl SessionSupervisor {
    pub(super) fn new(service: Arc<Service>, sessions: Arc<SessionTable>, heartbeat: Arc<Heartbeat>) -> Self {
        let chaos = service.chaos().part("session_supervisor", "");
        let poll_loop = PollLoop::start(&service);
        Self { service, sessions, heartbeat, poll_loop, said_goodbye: false, chaos }
    }

    /// Serves what waits, a turn's worth.
    fn serve_waiting(&self, ctx: &mut Context<Self>) {
        for _ in 0..limits::REQUESTS_PER_TURN {
            let Some(wanted) = self.sessions.begin_next() else { return };
            let socket = if self.sessions.is_stopping() { None } else { Some(self.socket_for(wanted)) };
            // It is another arbiter's if this one hung for so long that it was given up.
            let Some(serve) = self.sessions.take_opening() else { return };
            match socket {
                Some(Ok((socket, local))) => self.serve(*serve, socket, local, ctx),
                Some(Err(error)) => self.refuse(*serve, &error),
                None => {}
            }
        }
        ctx.notify(Wake);
    }

    /// Nothing here may wait: nobody else has the request any more.
    fn serve(&self, serve: PendingRequest, socket: Arc<UdpSocket>, local: SocketAddr, ctx: &Context<Self>) {
        let Admitted { assignment, routed, opened, mut permit, .. } = serve.admitted;
        let shared =
            Arc::new(SharedTransfer::new(assignment, routed, socket, local, Arc::clone(&permit.state)));
        if let Some(opened) = opened {
            shared.lock().set_opened(opened);
        }
        let session = self.start_session(&shared, ctx);
        permit.supersede();
        self.keep(Child { session: Some(session), shared, resumptions: 0, _permit: permit });
    }

    /// A socket for a transfer, and its address: in single-port mode the one that the request came to.
    fn socket_for(&self, wanted: SocketRequest) -> io::Result<(Arc<UdpSocket>, SocketAddr)> {
        if let Some(socket) = wanted.port {
            return Ok((socket, wanted.local));
        }
        self.service.chaos().seam("link").at("open");
        let socket = UdpLink::open(wanted.local, self.service.ports)?;
        if wanted.has_options {
            UdpLink::widen(&socket);
        }
        let local = socket.local_addr()?;
        Ok((socket, local))
    }

    /// Without a socket nobody hears of it: the client repeats its request, and there may be one
    /// then. Unless clients are to hear of limits: then the ERROR comes from the well-known port,
    /// and the client gives up, or asks another server. What meets a limit is counted as any other
    /// request beyond one, and not as an outage.
    fn refuse(&self, serve: PendingRequest, error: &io::Error) {
        let PendingRequest { admitted: Admitted { assignment, local, permit, .. }, last_resort, .. } = serve;
        // It is a new request then, also while those who hear of this one take their time.
        permit.state.set_answered();
        let Some(limit) = limit_met(error, self.service.ports) else {
            let mut report = assignment.report(local, Outcome::Outage(Failure::Busy));
            report.detail = Some(error.to_string().into());
            return self.service.finish(report);
        };
        let peer = assignment.peer;
        self.service.observe(&Fact::LimitReached { limit, peer });
        let port = last_resort.filter(|_| limit == Limit::PortRange && !assignment.to_broadcast);
        if port.is_some_and(|port| send_from_port(&port, local, peer, &error_packet(Failure::Busy)).is_ok()) {
            let fault = Fault::limited(Failure::Busy, limit, limit.meaning());
            let request = Some(&assignment.request);
            self.service.observe(&Fact::Refused { peer, request, fault: &fault });
        } else {
            self.service.observe(&Fact::Dropped { peer, why: limit.meaning() });
        }
    }

    /// Starts a session for a transfer: its first, or one that goes on for another. No session before it can send from now on.
    fn start_session(&self, shared: &Arc<SharedTransfer>, ctx: &Context<Self>) -> SessionAddr {
        let link = shared.link();
        let (driven, life) = (Arc::clone(shared), shared.next_life());
        let service = Arc::clone(&self.service);
        let (id, parent) = (shared.assignment.id.0, ctx.address().recipient());
        let poll_loop = Rc::clone(&self.poll_loop);
        let make = move |ctx: &mut Context<Session>| {
            Session::new(driven, life, service, link, poll_loop, ctx.address())
        };
        let session = SessionAddr::new(start_temporary(id, limits::MAILBOX_SESSION, parent, make));
        let began = TransferEvent::Began { shared: Arc::downgrade(shared), session: session.clone() };
        self.service.registry.send(began);
        session
    }

    fn keep(&self, child: Child) {
        if let Err(child) = self.sessions.insert(child) {
            // The arbiter was given up in this very moment, and nobody else knows of this transfer.
            self.bury(&child, "its arbiter was given up");
        }
    }

    /// Goes on for a supervisor that panicked, or whose arbiter ended: what that one missed is made up for.
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

    /// A session failed: another takes its place on the same socket, at once.
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

    /// Says what a failed session no longer can.
    fn bury(&self, child: &Child, why: &str) {
        let failure = if self.sessions.is_stopping() { Failure::ShuttingDown } else { Failure::Internal };
        bury(&child.shared, &self.service, failure, why);
    }

    fn on_session_exited(&self, id: TransferId, exit: &Exit, ctx: &Context<Self>) {
        if let Exit::Panicked(panic) = exit {
            self.service.observe(&Fact::Crashed { actor: "session", transfer: Some(id), panic });
        }
        let Some(child) = self.sessions.remove(id) else { return };
        if child.session.as_ref().is_some_and(SessionAddr::connected) {
            // An earlier session's, which was replaced before this was heard.
            self.keep(child);
        } else if !child.shared.is_over() {
            let why = if matches!(exit, Exit::Panicked(_)) {
                "the session panicked"
            } else {
                "the session stopped"
            };
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
        self.resume(ctx);
        self.serve_waiting(ctx);
    }

    /// Has every session say goodbye first, if the server is to stop.
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if !self.sessions.is_stopping() {
            return Running::Stop;
        }
        if !std::mem::replace(&mut self.said_goodbye, true) {
            for session in self.sessions.sessions() {
                // One whose mailbox is full, or closed, is told by whoever ends the arbiter.
                let _ = session.try_send(SessionMessage::End(Failure::ShuttingDown));
            }
        }
        if self.sessions.is_empty() { Running::Stop } else { Running::Continue }
    }
}

impl Supervised for SessionSupervisor {
    /// The sessions live on, and so does the session table of them; `started` looks after those that ended meanwhile.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
    }
}

impl Handler<Wake> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.serve_waiting(ctx);
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
        self.heartbeat.beat();
    }
}

#[cfg(test)]
mod tests;
