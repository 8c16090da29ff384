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
///
/// ```
/// use actix::prelude::*;
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::Observed;
/// use stagecoach::observe::OwnedFact;
/// use stagecoach::supervision::ChildSpec;
///
/// struct Inventory;
///
/// impl Actor for Inventory {
///     type Context = Context<Self>;
/// }
///
/// impl Supervised for Inventory {}
///
/// impl Handler<Observed> for Inventory {
///     type Result = ();
///
///     fn handle(&mut self, Observed(fact): Observed, _: &mut Self::Context) {
///         if let OwnedFact::Finished(report) = &*fact {
///             println!("{} has {}", report.peer, report.name);
///         }
///     }
/// }
///
/// # System::new().block_on(async {
/// let mut builder = Stagecoach::builder();
/// // It may be 1000 facts behind.
/// let inventory = builder.start_child(ChildSpec::permanent("inventory", |_| Inventory).mailbox(1000));
/// let builder = builder.tell(inventory.recipient());
/// # });
/// ```
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
