//! Observers that are actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::{Message, Recipient, WeakRecipient};

use crate::observe::{Fact, Observer};
use crate::supervision::name_of;

/// A fact for an actor. It counts as lost if it is dropped after the actor has ended. A handler
/// that returns a future should move this value into the future.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct Observed {
    /// The fact.
    pub fact: Arc<Fact<'static>>,
    waiting: Waiting,
}

impl Observed {
    /// Creates the message in a test of an actor.
    #[must_use]
    pub fn new(fact: Arc<Fact<'static>>) -> Self {
        Self { fact, waiting: Waiting(None) }
    }
}

/// An [`Observer`] that sends facts to an actor. It never blocks: a fact that doesn't fit in the
/// actor's mailbox, or that still waits when the actor ends, is lost and counted. A child of the
/// server's tree handles its messages [before it
/// stops](crate::supervision::ChildSpec::stop_within).
///
/// A handler that awaits something should return [`AtomicResponse`](actix::AtomicResponse): the
/// server waits for it at its end. Futures of `ResponseFuture`, `ResponseActFuture` or `ctx.spawn`
/// are dropped at the end, and their facts count as lost only if the future owns the [`Observed`].
///
/// ```
/// use actix::prelude::*;
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{ActorObserver, Observed};
/// use stagecoach::observe::Fact;
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
///         if let Fact::Finished(report) = &*fact {
///             println!("{} has {}", report.peer, report.name);
///         }
///     }
/// }
///
/// # System::new().block_on(async {
/// let mut builder = Stagecoach::builder();
/// // Up to 1000 facts may wait.
/// let inventory = builder.start_child(ChildSpec::permanent("inventory", |_| Inventory).mailbox(1000));
/// let builder = builder.observer(ActorObserver::new(inventory.recipient()));
/// # });
/// ```
#[derive(Debug)]
pub struct ActorObserver {
    actor: Recipient<Observed>,
    name: &'static str,
    mailbox: Arc<Mailbox>,
}

impl ActorObserver {
    /// Sends facts to `actor`. Its mailbox limits how many may wait (16, unless the actor [sets
    /// another capacity](actix::dev::ContextParts::set_mailbox_capacity)).
    #[must_use]
    pub fn new(actor: Recipient<Observed>) -> Self {
        let mailbox =
            Mailbox { actor: actor.downgrade(), lost: AtomicU64::new(0), ended: AtomicBool::new(false) };
        let name = name_of(&actor).unwrap_or("an actor");
        Self { actor, name, mailbox: Arc::new(mailbox) }
    }
}

impl Observer for ActorObserver {
    fn observe(&self, fact: &Fact<'_>) {
        let waiting = Waiting(Some(Arc::clone(&self.mailbox)));
        let observed = Observed { fact: Arc::new(fact.to_owned()), waiting };
        if let Err(refused) = self.actor.try_send(observed) {
            self.mailbox.lost.fetch_add(1, Ordering::Relaxed);
            // It must not be counted again when it is dropped.
            refused.into_inner().waiting.0 = None;
        }
    }

    /// The server has ended, and its actors before it, so waiting facts are lost.
    fn flush(&self) {
        self.mailbox.ended.store(true, Ordering::Relaxed);
    }

    /// The name in the actor's [specification](crate::supervision::ChildSpec::permanent); `an
    /// actor` if it is not permanent.
    fn name(&self) -> &str {
        self.name
    }

    /// Facts that did not fit in the mailbox, or that the actor did not handle before it ended.
    fn lost(&self) -> u64 {
        let Mailbox { lost, ended, .. } = &*self.mailbox;
        let waiting = if ended.load(Ordering::Relaxed) { Arc::strong_count(&self.mailbox) - 1 } else { 0 };
        lost.load(Ordering::Relaxed) + waiting as u64
    }
}

/// A fact in an actor's mailbox. It counts as lost if it is dropped with the mailbox.
#[derive(Debug)]
struct Waiting(Option<Arc<Mailbox>>);

/// The state of an actor's mailbox. Its observer and each waiting fact have a reference.
#[derive(Debug)]
struct Mailbox {
    /// Weak, so that a waiting message doesn't keep its own mailbox alive.
    actor: WeakRecipient<Observed>,
    lost: AtomicU64,
    /// The server has ended: waiting facts are lost.
    ended: AtomicBool,
}

impl Drop for Waiting {
    /// A mailbox is closed before its messages are dropped. While it is open, a dropped fact was
    /// handled.
    fn drop(&mut self) {
        let Some(mailbox) = &self.0 else { return };
        let is_open = mailbox.actor.upgrade().is_some_and(|actor| actor.connected());
        mailbox.lost.fetch_add((!is_open).into(), Ordering::Relaxed);
    }
}

impl Clone for Waiting {
    /// A clone is not counted again.
    fn clone(&self) -> Self {
        Self(None)
    }
}
