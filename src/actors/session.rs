//! The actor that serves one transfer from its socket, the TID.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};

use crate::actors::PollFn;
use crate::engine::driver::Driver;
use crate::engine::driver::asking::Question;
use crate::engine::messages::{SessionMessage, session_addr};
use crate::engine::poll_loop::{PollLoop, Registration};
use crate::engine::service::Service;
use crate::engine::transfers::SharedTransfer;
use crate::net::Link;
use crate::supervision::ChildExited;

/// Serves one request, from opening the file to the last ACK, or from where another session died.
/// Its [`Driver`] handles the packets. The session has the mailbox, and does what needs an actor.
pub(crate) struct Session {
    /// Dropped before the driver.
    registration: Option<Registration>,
    driver: Rc<RefCell<Driver>>,
    poll_loop: Rc<PollLoop>,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<SharedTransfer>,
        life: u32,
        service: Arc<Service>,
        link: Box<dyn Link>,
        poll_loop: Rc<PollLoop>,
        address: Addr<Self>,
    ) -> Self {
        let driver = Driver::new(shared, life, service, link, session_addr(address));
        Self { registration: None, driver: Rc::new(RefCell::new(driver)), poll_loop }
    }

    /// Asks extensions, and continues when they answer. The question ends with the session.
    fn ask(&self, question: Question, driver: &Driver, ctx: &mut Context<Self>) {
        let (service, shared) = (Arc::clone(&driver.service), &driver.shared);
        let config = Arc::clone(&shared.assignment.config);
        let asked = shared.assignment.asked(shared.local).into_owned();
        match question {
            Question::Routes => {
                let answer = service.ask_routes(config, asked, shared.ask_from).into_actor(self);
                ctx.spawn(answer.map(|routed, session, ctx| {
                    session.attend(ctx, |driver, _| driver.on_routed(routed));
                }));
            }
            Question::Negotiators => {
                let answer = service.ask_negotiators(config, asked, driver.found()).into_actor(self);
                ctx.spawn(answer.map(|granted, session, ctx| {
                    session.attend(ctx, |driver, _| driver.on_granted(granted));
                }));
            }
        }
    }

    /// Runs the driver whenever its link has datagrams, where the poll loop can't.
    fn pump(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let mut pumped = Poll::Pending;
        self.attend(ctx, |driver, _| pumped = driver.pump(task));
        pumped
    }

    /// Runs a step of the driver, then does the work that the step deferred.
    ///
    /// # Panics
    /// If the step panics, or if the driver panicked in the poll loop before.
    fn attend(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Driver, &mut Context<Self>)) {
        let mut driver = self.driver.borrow_mut();
        if let Some(panic) = driver.deferred.panic.take() {
            drop(driver);
            std::panic::resume_unwind(Box::new(String::from(panic)));
        }
        step(&mut driver, ctx);
        if driver.deferred.stop {
            ctx.stop();
            return;
        }
        if let Some(question) = driver.deferred.question.take() {
            self.ask(question, &driver, ctx);
        }
        if let Some(registration) = &self.registration {
            registration.follow_up(&mut driver);
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let registration = self.poll_loop.register(&self.driver);
        if !registration.is_polled {
            ctx.spawn(PollFn(Self::pump));
        }
        self.registration = Some(registration);
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("started", ctx);
            driver.start();
            driver.read_cached();
        });
    }
}

impl Handler<SessionMessage> for Session {
    type Result = ();

    fn handle(&mut self, message: SessionMessage, ctx: &mut Self::Context) {
        let is_scheduled = matches!(message, SessionMessage::DeadlinePassed);
        if is_scheduled && let Some(registration) = &self.registration {
            registration.on_deadline_handled();
        }
        self.attend(ctx, |driver, ctx| {
            if matches!(message, SessionMessage::Attend) {
                driver.deferred.is_notified = false;
            }
            driver.chaos.at(if is_scheduled { "scheduled" } else { "handle" }, ctx);
            driver.on_message(message);
        });
    }
}

impl Handler<ChildExited> for Session {
    type Result = ();

    fn handle(&mut self, ChildExited { exit, .. }: ChildExited, ctx: &mut Self::Context) {
        self.attend(ctx, |driver, ctx| {
            driver.chaos.at("handle", ctx);
            driver.on_child_exited(&exit);
        });
    }
}

#[cfg(test)]
mod tests;
