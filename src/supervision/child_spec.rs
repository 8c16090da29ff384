//! Child specifications.

use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, Context, Supervised};
use actix_rt::ArbiterHandle;

use super::RestartLimit;
use super::lives::Factory;
use super::net::Restart;
use crate::limits;

/// How a supervisor starts, restarts and stops an actor (OTP's child specification).
pub struct ChildSpec<A: Actor<Context = Context<A>>> {
    pub(super) name: &'static str,
    pub(super) factory: Factory<A>,
    /// `None` for a temporary child.
    pub(super) restart: Option<Restart<A>>,
    pub(super) limit: RestartLimit,
    pub(super) mailbox: usize,
    pub(super) stop_within: Duration,
    /// `None` if the supervisor decides.
    pub(super) place: Option<Place>,
    /// Whether an order to stop drops the waiting messages.
    pub(super) leaves_mail: bool,
}

pub(super) enum Place {
    WithSupervisor,
    Own,
    On(ArbiterHandle),
}

impl<A: Actor<Context = Context<A>>> ChildSpec<A> {
    /// A child that is restarted whenever it ends, unless its supervisor stops it. `name` is for
    /// people: reports use it after "the", as in "the listener panicked".
    ///
    /// The factory runs only once; [`start_permanent`](super::start_permanent) says what a restart
    /// requires of the actor.
    #[must_use]
    pub fn permanent(name: &'static str, factory: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Self
    where
        A: Supervised,
    {
        Self { restart: Some(ContextFut::restart), ..Self::temporary(name, factory) }
    }

    /// A child that is never restarted: its end is only reported. As always in actix, it also ends
    /// when nobody has its address and it has nothing to do.
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
            leaves_mail: false,
        }
    }

    /// Sets the restart limit of a permanent child, by default five restarts in ten seconds. If the
    /// child exceeds it, the supervisor gives up.
    #[must_use]
    pub fn limit(self, limit: RestartLimit) -> Self {
        Self { limit, ..self }
    }

    /// Sets the capacity of the mailbox for `try_send`, by default 16.
    #[must_use]
    pub fn mailbox(self, messages: usize) -> Self {
        Self { mailbox: messages, ..self }
    }

    /// Sets how long the child may take to stop before it is terminated (OTP's shutdown): 5 seconds
    /// by default, a day at most. A supervisor takes at most the sum of its children's times.
    ///
    /// During this time the child handles its waiting messages and those that still arrive. Then
    /// its [`stopping`](Actor::stopping) runs. The child finishes an
    /// [`AtomicResponse`](actix::AtomicResponse), but drops other futures of messages (`ctx.spawn`,
    /// `ResponseFuture`, `ResponseActFuture`). To finish these too, return
    /// [`Running::Continue`](actix::Running::Continue) from `stopping`, and call `ctx.stop()` once
    /// they are done. An order to stop ends a restart pause; no restart follows it.
    #[must_use]
    pub fn stop_within(self, time: Duration) -> Self {
        Self { stop_within: time.min(limits::STOP_WITHIN_MAX), ..self }
    }

    /// Stops the child at once when it is told to stop; its waiting messages are dropped.
    #[must_use]
    pub fn leaving_mail(self) -> Self {
        Self { leaves_mail: true, ..self }
    }

    /// Starts the child on this arbiter. By default a child runs [with its
    /// supervisor](Self::with_supervisor), and a child of a server [on an arbiter of its
    /// own](Self::on_own_arbiter).
    #[must_use]
    pub fn on(self, arbiter: &ArbiterHandle) -> Self {
        Self { place: Some(Place::On(arbiter.clone())), ..self }
    }

    /// Starts the child on its own arbiter (a thread), which ends with the child, and which the
    /// child may block. If the operating system has no thread to give, this counts as a panic of
    /// the child at its start.
    #[must_use]
    pub fn on_own_arbiter(self) -> Self {
        Self { place: Some(Place::Own), ..self }
    }

    /// Starts the child on the arbiter of its supervisor. If it blocks this thread, all actors
    /// there wait; in a server these include every listener.
    #[must_use]
    pub fn with_supervisor(self) -> Self {
        Self { place: Some(Place::WithSupervisor), ..self }
    }
}
