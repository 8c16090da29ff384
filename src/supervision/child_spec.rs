//! Child specifications.

use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, Context, Supervised};
use actix_rt::ArbiterHandle;

use super::RestartLimit;
use super::lives::Factory;
use super::mail::Mail;
use super::net::Restart;
use crate::limits;

/// How a supervisor starts an actor, how often it starts it again, and how it stops it (OTP's child specification).
pub struct ChildSpec<A: Actor<Context = Context<A>>> {
    pub(super) name: &'static str,
    pub(super) factory: Factory<A>,
    /// Set for a permanent one.
    pub(super) restart: Option<Restart<A>>,
    pub(super) limit: RestartLimit,
    pub(super) mailbox: usize,
    pub(super) stop_within: Duration,
    /// `None` if the supervisor decides.
    pub(super) place: Option<Place>,
    pub(super) mail: Mail,
}

/// Where a child lives.
pub(super) enum Place {
    /// On its supervisor's arbiter.
    WithSupervisor,
    /// On an arbiter that is started for it, and ends with it.
    Own,
    /// On this one.
    On(ArbiterHandle),
}

impl<A: Actor<Context = Context<A>>> ChildSpec<A> {
    /// A child that is started again whatever ends it, except an order of its supervisor. `name` is for people: a few words that a
    /// sentence can begin with after "the".
    ///
    /// Each further life begins with [`restarting`](Supervised::restarting), at the same address, with the mail that waits; see
    /// [`start_permanent`](super::start_permanent) for what that asks of the actor. The factory makes the actor once.
    #[must_use]
    pub fn permanent(name: &'static str, factory: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Self
    where
        A: Supervised,
    {
        Self { restart: Some(ContextFut::restart), ..Self::temporary(name, factory) }
    }

    /// A child that is never started again: its end is reported, and that is all. As always in actix, it ends too when nobody has its
    /// address and it waits for nothing.
    #[must_use]
    pub fn temporary(
        name: &'static str,
        factory: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    ) -> Self {
        Self {
            name,
            factory: Box::new(factory),
            restart: None,
            limit: RestartLimit::default(),
            mailbox: limits::MAILBOX_CHILD_DEFAULT,
            stop_within: limits::CHILD_STOP_WITHIN_DEFAULT,
            place: None,
            mail: Mail::Finished,
        }
    }

    /// Restarts that a permanent child gets before its supervisor gives up (OTP's restart
    /// intensity, here for each child): five in ten seconds unless this says otherwise.
    #[must_use]
    pub fn limit(self, limit: RestartLimit) -> Self {
        Self { limit, ..self }
    }

    /// Messages that `try_send` may leave waiting for it; 16 ([`limits::MAILBOX_CHILD_DEFAULT`])
    /// unless this says otherwise.
    #[must_use]
    pub fn mailbox(self, messages: usize) -> Self {
        Self { mailbox: messages, ..self }
    }

    /// Time that it gets to stop when it is told to, before it is terminated (OTP's shutdown): 5
    /// seconds ([`limits::CHILD_STOP_WITHIN_DEFAULT`]) unless this says otherwise, a day
    /// ([`limits::STOP_WITHIN_MAX`]) at most.
    ///
    /// Children stop one after the other: the end of all takes the sum of their times at most.
    ///
    /// In this time it handles the messages that wait for it, those that still arrive included;
    /// then its [`stopping`](Actor::stopping) runs. (What a message has begun beside the mailbox,
    /// by `ctx.spawn`, a `ResponseFuture` or a `ResponseActFuture`, is not waited for: an
    /// [`AtomicResponse`](actix::AtomicResponse) is. An actor that wants the others to be answers
    /// [`Running::Continue`](actix::Running::Continue), and calls `ctx.stop()` when it has
    /// finished.) An order that arrives in a restart pause ends the pause; a panic after the order
    /// is not followed by another life.
    #[must_use]
    pub fn stop_within(self, time: Duration) -> Self {
        Self { stop_within: time.min(limits::STOP_WITHIN_MAX), ..self }
    }

    /// When it is told to stop, it stops at once, and the messages that wait are dropped.
    #[must_use]
    pub fn leaving_mail(self) -> Self {
        Self { mail: Mail::Left, ..self }
    }

    /// It lives on this arbiter. Unless told otherwise a child lives [with its
    /// supervisor](Self::with_supervisor), and one that is added to a server on [an arbiter of its
    /// own](Self::on_own_arbiter).
    #[must_use]
    pub fn on(self, arbiter: &ArbiterHandle) -> Self {
        Self { place: Some(Place::On(arbiter.clone())), ..self }
    }

    /// It lives on an arbiter (a thread) that is started for it, and ends when it has ended for
    /// good. It may block that thread: nobody else waits. If the operating system has no thread to
    /// give, the child has panicked at its start.
    #[must_use]
    pub fn on_own_arbiter(self) -> Self {
        Self { place: Some(Place::Own), ..self }
    }

    /// It lives on the arbiter of its supervisor: a child that blocks this thread blocks everybody
    /// there, and of a server that is every listener.
    #[must_use]
    pub fn with_supervisor(self) -> Self {
        Self { place: Some(Place::WithSupervisor), ..self }
    }
}
