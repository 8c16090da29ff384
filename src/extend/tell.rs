//! Observers that are actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Message, Recipient};

use crate::observe::{Fact, Observer, OwnedFact};

/// Tells an actor what happened.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Observed(pub Arc<OwnedFact>);

/// An [`Observer`] that tells an actor. It waits for nothing: what finds no room in the actor's mailbox is lost to it, and counted.
#[derive(Debug)]
pub struct Tell {
    actor: Recipient<Observed>,
    lost: AtomicU64,
}

impl Tell {
    /// Tells `actor`. How much of a burst it may be behind is the capacity of its mailbox (16, unless it
    /// [sets another](actix::dev::ContextParts::set_mailbox_capacity)).
    #[must_use]
    pub fn new(actor: Recipient<Observed>) -> Self {
        Self { actor, lost: AtomicU64::new(0) }
    }
}

impl Observer for Tell {
    fn observe(&self, fact: &Fact<'_>) {
        if self.actor.try_send(Observed(Arc::new(fact.to_owned()))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Facts that the actor had no room for, or was not there any more to hear.
    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
