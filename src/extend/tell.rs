//! Observers that are actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::{Message, Recipient, WeakRecipient};

use crate::observe::{Fact, Observer, OwnedFact};
use crate::supervision::Pauses;

/// Tells an actor what happened. It counts as heard when it is dropped, and as lost if the actor has
/// ended by then: a handler that returns a future has the future own it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Observed {
    /// It.
    pub fact: Arc<OwnedFact>,
    waiting: Waiting,
}

impl Observed {
    /// For tests of an actor.
    #[must_use]
    pub fn new(fact: Arc<OwnedFact>) -> Self {
        Self { fact, waiting: Waiting(None) }
    }
}

/// A fact that waits for its actor, and is counted as lost if it is dropped with the mailbox.
#[derive(Debug)]
struct Waiting(Option<Arc<Mailbox>>);

/// What is known of an actor's mailbox.
#[derive(Debug)]
struct Mailbox {
    /// (Weak: a message that waits must not keep its own mailbox.)
    actor: WeakRecipient<Observed>,
    waiting: AtomicU64,
    lost: AtomicU64,
    /// The server has ended: what waits now is not heard any more.
    ended: AtomicBool,
}

/// An [`Observer`] that tells an actor. It waits for nothing: what finds no room in the actor's
/// mailbox is lost to it, and counted. So is what still waits when the actor has ended; a child of
/// the server's tree handles its mail [before it
/// stops](crate::supervision::ChildSpec::stop_within).
///
/// A handler that waits returns [`AtomicResponse`](actix::AtomicResponse): it takes one message
/// after the other, and all are waited for. What `ResponseFuture`, `ResponseActFuture` or
/// `ctx.spawn` have begun is dropped at the end, and not counted, unless the future owns the
/// [`Observed`].
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
///     fn handle(&mut self, Observed { fact, .. }: Observed, _: &mut Self::Context) {
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
    name: &'static str,
    mailbox: Arc<Mailbox>,
}

impl Tell {
    /// Tells `actor`. How much of a burst it may be behind is the capacity of its mailbox (16, unless it
    /// [sets another](actix::dev::ContextParts::set_mailbox_capacity)).
    #[must_use]
    pub fn new(actor: Recipient<Observed>) -> Self {
        let mailbox = Mailbox {
            actor: actor.downgrade(),
            waiting: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        let name = Pauses::of(&actor).name().unwrap_or("an actor");
        Self { actor, name, mailbox: Arc::new(mailbox) }
    }
}

impl Observer for Tell {
    fn observe(&self, fact: &Fact<'_>) {
        self.mailbox.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(Some(Arc::clone(&self.mailbox)));
        let told = Observed { fact: Arc::new(fact.to_owned()), waiting };
        if let Err(refused) = self.actor.try_send(told) {
            refused.into_inner().waiting.end(true);
        }
    }

    /// The server has ended, and its actors before it: what waits is waiting in vain.
    fn flush(&self) {
        self.mailbox.ended.store(true, Ordering::Relaxed);
    }

    /// What its [specification](crate::supervision::ChildSpec::permanent) calls the actor; `an actor`
    /// if it is no permanent one.
    fn name(&self) -> &str {
        self.name
    }

    /// Facts that the actor had no room for, or did not hear before it ended.
    fn lost(&self) -> u64 {
        let Mailbox { waiting, lost, ended, .. } = &*self.mailbox;
        let waiting = if ended.load(Ordering::Relaxed) { waiting.load(Ordering::Relaxed) } else { 0 };
        lost.load(Ordering::Relaxed) + waiting
    }
}

impl Waiting {
    /// It waits no longer, and was heard or is lost.
    fn end(&mut self, is_lost: bool) {
        if let Some(mailbox) = self.0.take() {
            mailbox.waiting.fetch_sub(1, Ordering::Relaxed);
            mailbox.lost.fetch_add(is_lost.into(), Ordering::Relaxed);
        }
    }
}

impl Drop for Waiting {
    /// An actor's mailbox is closed before what it holds is dropped. While it is open, a fact is
    /// dropped by whoever has handled it.
    fn drop(&mut self) {
        let is_closed =
            |mailbox: &Arc<Mailbox>| !mailbox.actor.upgrade().is_some_and(|actor| actor.connected());
        let is_lost = self.0.as_ref().is_some_and(is_closed);
        self.end(is_lost);
    }
}

impl Clone for Waiting {
    /// It is counted once.
    fn clone(&self) -> Self {
        Self(None)
    }
}
