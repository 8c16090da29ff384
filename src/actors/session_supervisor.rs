//! The parent of an arbiter's sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Running, Supervised};

use super::lease::Lease;
use super::live_peers::Ticket;
use super::registry::{Finished, Registry, Started};
use super::service::Service;
use super::session::{Assignment, End, Session};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::net::{Link, UdpLink};
use crate::observe::{Fact, TransferId};
use crate::supervision::{ChildExited, Exit, start_temporary};
use crate::transfer::{Outcome, Transmit, error_packet};

/// Starts a session for each request that the listeners hand it, another in place of one that panics, and buries those that end. What must
/// outlive a session is in its lease, which is held here too: a peer whose session crashed too often hears of it from the same TID.
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
    lease: Arc<Lease>,
    /// How often the session was replaced.
    resumptions: u32,
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

impl TransferId {
    /// What a supervisor calls the writer of this transfer. It calls the session by the transfer's own number, which never gets so high.
    pub(super) fn of_writer(self) -> u64 {
        self.0 | WRITER
    }

    /// The transfer whose writer is called `id`, if that is a writer's.
    fn from_writer(id: u64) -> Option<Self> {
        (id & WRITER != 0).then_some(Self(id & !WRITER))
    }
}

const WRITER: u64 = 1 << 63;

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
        let local = socket.local_addr().map_err(busy)?;
        let (id, parent) = (assignment.id.0, ctx.address().recipient());
        let lease = Arc::new(Lease::new(assignment, socket, local, Arc::clone(&ticket.state), parent));
        let session = self.start_life(&lease, ctx)?;
        let child = Child { session, lease, resumptions: 0, _ticket: ticket, _load: load };
        self.children.insert(id, child);
        Ok(())
    }

    /// Starts a session for a transfer: its first, or one that goes on for another. No session before it can send from now on.
    fn start_life(&self, lease: &Arc<Lease>, ctx: &Context<Self>) -> Result<Addr<Session>, Fault> {
        let link = UdpLink::from_socket(Arc::clone(&lease.socket))
            .map_err(|error| Fault::new(Failure::Busy, error))?;
        let (lease, life) = (Arc::clone(lease), lease.next_life());
        let (service, registry) = (Arc::clone(&self.service), self.registry.clone());
        let (id, parent) = (lease.assignment.id.0, ctx.address().recipient());
        Ok(start_temporary(id, limits::MAILBOX_SESSION, parent, move |_| {
            Session::new(lease, life, service, registry, Box::new(link))
        }))
    }

    /// A session panicked: another takes its place on the same socket, at once.
    fn on_crashed(&mut self, mut child: Child, panic: &str, ctx: &Context<Self>) {
        let id = child.lease.assignment.id;
        self.service.observe(&Fact::Crashed { actor: "session", transfer: Some(id), panic });
        if child.lease.is_over() {
            return;
        }
        if self.stopping || child.resumptions == limits::RESUMPTIONS_MAX {
            return self.bury(&child, panic);
        }
        match self.start_life(&child.lease, ctx) {
            Ok(session) => {
                child.session = session;
                child.resumptions += 1;
                self.service.observe(&Fact::Resumed { transfer: id, resumption: child.resumptions });
                self.children.insert(id.0, child);
            }
            Err(_) => self.bury(&child, panic),
        }
    }

    /// Says what a crashed session no longer can, from its own socket. A transfer whose end is known already is left in peace.
    fn bury(&self, child: &Child, panic: &str) {
        let (lease, failure) = (&child.lease, Failure::Internal);
        lease.next_life();
        let report = {
            let mut held = lease.hold();
            held.summary.detail = Some(format!("the session panicked: {panic}").into());
            lease.report(&mut held, Outcome::Failed(failure))
        };
        let Some(report) = report else { return };
        if let Ok(mut link) = UdpLink::from_socket(Arc::clone(&lease.socket)) {
            // Whether it arrives or not, there is nothing left to try.
            let _ = link.send(report.peer, &Transmit::Packet(&error_packet(failure)));
        }
        self.service.observe(&Fact::Finished(&report));
        let _ = self.registry.try_send(Finished(report));
    }

    /// A writer never stops by itself while its transfer lives. Without it there is no upload.
    fn on_writer_exited(&self, child: &Child, exit: &Exit) {
        if let Exit::Panicked(panic) = exit {
            let transfer = Some(child.lease.assignment.id);
            self.service.observe(&Fact::Crashed { actor: "writer", transfer, panic });
        }
        child.lease.ledger.fail(Fault::new(Failure::Internal, format_args!("the writer {exit}")));
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

    /// Ends every session, with an ERROR to its peer, and then itself.
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if !self.stopping {
            self.stopping = true;
            for child in self.children.values() {
                // One whose mailbox is full, or closed, is told by the end of its arbiter.
                let _ = child.session.try_send(End(Failure::ShuttingDown));
            }
        }
        if self.children.is_empty() { Running::Stop } else { Running::Continue }
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
        if let Some(id) = TransferId::from_writer(id) {
            if let Some(child) = self.children.get(&id.0) {
                self.on_writer_exited(child, &exit);
            }
            return;
        }
        let Some(child) = self.children.remove(&id) else { return };
        if let Exit::Panicked(panic) = exit {
            self.on_crashed(child, &panic, ctx);
        }
        self.stop_if_alone(ctx);
    }
}

impl Handler<Announce> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, Announce(registry): Announce, _: &mut Self::Context) {
        for child in self.children.values() {
            let session = child.session.clone().recipient();
            let _ = registry.try_send(Started { report: child.lease.beginning(), session });
        }
    }
}

impl Handler<Ping> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}
