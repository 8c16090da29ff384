//! The parent of an arbiter's sessions.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Supervised};

use super::live_peers::Ticket;
use super::registry::{Finished, Registry, Started};
use super::service::Service;
use super::session::{Assignment, End, Session};
use super::supervision::{ChildExited, Exit, start_temporary};
use tokio::time::Instant;

use crate::error::{Failure, Fault};
use crate::limits;
use crate::net::{Link, UdpLink};
use crate::observe::{Fact, Report};
use crate::transfer::{Outcome, Transmit, error_packet};

/// Starts a session for each request that the listeners hand it, and buries those that end. What must outlive a session is here: its
/// socket, so that a peer whose session crashed hears of it from the same TID, and its place in the table of live peers.
#[derive(Debug)]
pub struct SessionSupervisor {
    service: Arc<Service>,
    registry: Addr<Registry>,
    children: HashMap<u64, Child>,
    stopping: bool,
}

#[derive(Debug)]
struct Child {
    session: Addr<Session>,
    socket: Arc<UdpSocket>,
    /// What to report if the session can't.
    obituary: Report,
    started_at: Instant,
    /// Held until the session is buried, as the next.
    _ticket: Ticket,
    _load: Load,
}

/// Serves a request.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Serve {
    pub(super) assignment: Assignment,
    /// The address that the request was sent to: answers come from there.
    pub(super) local: std::net::SocketAddr,
    pub(super) ticket: Ticket,
    pub(super) load: Load,
}

/// One session's share of an arbiter's load: counted from the moment that the session is handed to it.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(super) fn on(sessions: &Arc<AtomicUsize>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sessions))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks the sessions to tell this registry that they are there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Announce(pub(super) Addr<Registry>);

/// Ends every session, with an ERROR to its peer, and then the supervisor itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Asks for a sign of life: the answer says that the arbiter gets round to its messages.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

impl SessionSupervisor {
    /// A supervisor without sessions.
    #[must_use]
    pub fn new(service: Arc<Service>, registry: Addr<Registry>) -> Self {
        Self { service, registry, children: HashMap::new(), stopping: false }
    }

    fn start_session(&mut self, serve: Serve, ctx: &Context<Self>) -> Result<(), Fault> {
        let Serve { assignment, local, ticket, load } = serve;
        let busy = |error| Fault::new(Failure::Busy, error);
        let socket = UdpLink::open(local, self.service.ports).map_err(busy)?;
        let link = UdpLink::from_socket(Arc::clone(&socket)).map_err(busy)?;
        let (id, started_at) = (assignment.id.0, assignment.received_at);
        let obituary =
            assignment.report(socket.local_addr().unwrap_or(local), Outcome::Failed(Failure::Internal));
        let (service, registry, state) =
            (Arc::clone(&self.service), self.registry.clone(), Arc::clone(&ticket.state));
        let session = start_temporary(id, limits::MAILBOX_SESSION, ctx.address().recipient(), move |_| {
            Session::new(assignment, service, state, registry, Box::new(link))
        });
        self.children
            .insert(id, Child { session, socket, obituary, started_at, _ticket: ticket, _load: load });
        Ok(())
    }

    /// Says what a crashed session no longer can, from its own socket.
    fn bury_crashed(&self, child: Child, panic: &str) {
        let mut report = child.obituary;
        self.service.observe(&Fact::Crashed { actor: "session", transfer: Some(report.id), panic });
        if let Ok(mut link) = UdpLink::from_socket(child.socket) {
            // Whether it arrives or not, there is nothing left to try.
            let _ = link.send(report.peer, &Transmit::Packet(&error_packet(Failure::Internal)));
        }
        report.duration = child.started_at.elapsed();
        self.service.observe(&Fact::Finished(&report));
        let _ = self.registry.try_send(Finished(report));
    }

    fn stop_if_alone(&self, ctx: &mut Context<Self>) {
        if self.stopping && self.children.is_empty() {
            ctx.stop();
        }
    }
}

impl Actor for SessionSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX_BUSY);
    }
}

impl Supervised for SessionSupervisor {
    /// The sessions live on, and so does the record of them: a handler that panicked changed it in single steps.
    fn restarting(&mut self, _: &mut Self::Context) {}
}

impl Handler<Serve> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, serve: Serve, ctx: &mut Self::Context) {
        if self.stopping {
            return;
        }
        let mut report = serve.assignment.report(serve.local, Outcome::Failed(Failure::Busy));
        if let Err(fault) = self.start_session(serve, ctx) {
            // Nobody can be told without a socket: the client repeats its request, and there may be one then.
            report.detail = fault.detail;
            self.service.observe(&Fact::Finished(&report));
        }
    }
}

impl Handler<ChildExited> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, ChildExited { id, exit }: ChildExited, ctx: &mut Self::Context) {
        let Some(child) = self.children.remove(&id) else { return };
        if let Exit::Panicked(panic) = exit {
            self.bury_crashed(child, &panic);
        }
        self.stop_if_alone(ctx);
    }
}

impl Handler<Announce> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, Announce(registry): Announce, _: &mut Self::Context) {
        for child in self.children.values() {
            let session = child.session.clone().recipient();
            let _ = registry.try_send(Started { report: child.obituary.clone(), session });
        }
    }
}

impl Handler<Stop> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.stopping = true;
        for child in self.children.values() {
            // One whose mailbox is full, or closed, is told by the end of its arbiter.
            let _ = child.session.try_send(End(Failure::ShuttingDown));
        }
        self.stop_if_alone(ctx);
    }
}

impl Handler<Ping> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}
