//! The actor that owns one transfer: its socket (the TID) and its machine.

mod asking;
mod datagrams;
mod driver;
mod file;
mod polling;
mod sending;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::time::Instant;

use self::datagrams::Pump;
pub(super) use self::driver::Driver;
#[cfg(test)]
pub(super) use self::polling::poll_always;
pub(super) use self::sending::Departure;
use super::lease::Lease;
use super::registry::Registry;
use super::service::Service;
use super::switchboard::{Connection, Switchboard};
use crate::error::Failure;
use crate::extend::Asked;
use crate::net::{Link, Received};
use crate::observe::{Report, TransferId};
use crate::transfer::{Input, Outcome, Tally};
use crate::wire::{Direction, Request, decimal};

/// What a session is to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: TransferId,
    pub(super) peer: SocketAddr,
    pub(super) request: Request<'static>,
    pub(super) received_at: Instant,
    /// Many hosts were asked: whoever can't serve the request says nothing (RFC 1123 §4.2.3.5).
    pub(super) to_broadcast: bool,
}

/// Serves one request, from opening the file to the last ACK; or from where another session died on. What packets touch is its [`Driver`]; the session has
/// the mailbox, and does whatever only an actor can.
#[derive(Debug)]
pub(super) struct Session {
    /// Given back before the driver is dropped.
    connection: Option<Connection>,
    driver: Rc<RefCell<Driver>>,
    switchboard: Rc<Switchboard>,
}

/// The client sent its request again; unless the session finds that it had its answer by then, which makes it a new one: what nobody
/// has handled goes back to the listener.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Repeated(pub(super) Option<Returned>);

/// There is no room any more for a transfer whose peer hasn't answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Forsaken;

/// The client began anew from the same port, to which this transfer has nothing more to say.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Superseded;

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

/// The driver has left errands.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Attend;

/// The deadline has passed: the switchboard keeps it, and sends this when the time has come.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct DeadlinePassed;

impl Session {
    pub(super) fn new(
        lease: Arc<Lease>,
        life: u32,
        service: Arc<Service>,
        registry: Rc<Addr<Registry>>,
        link: Box<dyn Link>,
        switchboard: Rc<Switchboard>,
    ) -> Self {
        let driver = Rc::new(RefCell::new(Driver::new(lease, life, service, registry, link)));
        Self { connection: None, driver, switchboard }
    }

    /// Has the driver take a step, then does what it leaves to the session.
    ///
    /// # Panics
    /// If the step does; or if the driver did before, where nobody but the session was to suffer from it.
    fn attend(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Driver, &mut Context<Self>)) {
        let mut driver = self.driver.borrow_mut();
        if let Some(panic) = driver.take_panic() {
            drop(driver);
            std::panic::resume_unwind(Box::new(String::from(panic)));
        }
        step(&mut driver, ctx);
        if driver.errands.stop {
            ctx.stop();
            return;
        }
        if let Some(question) = driver.take_question() {
            self.ask(question, &driver, ctx);
        }
        if let Some(connection) = &self.connection {
            connection.follow_up(&mut driver);
        }
    }
}

impl Assignment {
    /// What extensions see of it.
    pub(super) fn asked(&self, local: SocketAddr) -> Asked<'_> {
        Asked::new(self.id, self.peer, local, &self.request)
    }

    /// Octets that the file of an upload is said to have (RFC 2349).
    fn announced(&self) -> Option<u64> {
        let Request { direction, options, .. } = &self.request;
        let tsize = options.get("tsize").filter(|_| *direction == Direction::Write)?;
        decimal(tsize.as_bytes())
    }

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
            asked: self.request.options.to_string(),
            options: String::new(),
            announced: self.announced(),
            duration: self.received_at.elapsed(),
            tally: Tally::default(),
            outcome,
            detail: None,
            limit: None,
            label: None,
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // (Each address that is made is two allocations.)
        let address = ctx.address();
        let connection = self.switchboard.connect(&self.driver, address.clone());
        if connection.is_heard {
            self.driver.borrow_mut().may_dedicate();
        } else {
            ctx.spawn(Pump);
        }
        self.connection = Some(connection);
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("started", ctx);
            driver.start(&address);
            driver.read_cached(|| address);
        });
    }
}

impl Handler<Attend> for Session {
    type Result = ();

    fn handle(&mut self, _: Attend, ctx: &mut Self::Context) {
        self.attend(ctx, |driver, ctx| {
            driver.on_told();
            driver.chaos.at("handle", ctx);
            driver.read_cached(|| ctx.address());
            // Nobody does when the turn ends that something of the file is wanted after.
            driver.poll_datagrams();
        });
    }
}

impl Handler<Repeated> for Session {
    type Result = ();

    fn handle(&mut self, mut repeated: Repeated, ctx: &mut Self::Context) {
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("handle", ctx);
            // An answer that was sent before the request may still lie in the socket.
            driver.take_datagrams(None);
            if driver.lease.peer_state.is_settled() {
                return;
            }
            repeated.0 = None;
            driver.feed(Input::Repeated);
        });
    }
}

impl Handler<Forsaken> for Session {
    type Result = ();

    fn handle(&mut self, _: Forsaken, ctx: &mut Self::Context) {
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("handle", ctx);
            // The answer may be here.
            driver.take_datagrams(None);
            driver.forsake();
        });
    }
}

impl Handler<Superseded> for Session {
    type Result = ();

    fn handle(&mut self, _: Superseded, ctx: &mut Self::Context) {
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("handle", ctx);
            driver.leave(Input::Superseded, Outcome::Superseded);
        });
    }
}

impl Handler<End> for Session {
    type Result = ();

    fn handle(&mut self, End(failure): End, ctx: &mut Self::Context) {
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("handle", ctx);
            driver.fail(failure.into());
        });
    }
}

impl Handler<DeadlinePassed> for Session {
    type Result = ();

    fn handle(&mut self, _: DeadlinePassed, ctx: &mut Self::Context) {
        if let Some(connection) = &self.connection {
            connection.on_deadline_heard();
        }
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("scheduled", ctx);
            driver.on_deadline();
        });
    }
}
