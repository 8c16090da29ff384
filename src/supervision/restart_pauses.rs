//! Which actors pause between two lives.

use std::collections::HashMap;
use std::future::pending;
use std::hash::{Hash, Hasher};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use actix::{Message, Recipient};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// When the next life of an actor begins that is in its restart pause; `None` while it lives.
type NextLife = Option<Instant>;

/// The permanent actors of all trees, by their addresses, and what is known of their restart
/// pauses. (Of the process, not of a tree: a store or a step is made of an actor's address alone.
/// No two actors that live have the same.)
static ENTRIES: LazyLock<Mutex<HashMap<usize, Known>>> = LazyLock::new(Mutex::default);

/// What is known of an actor.
#[derive(Debug, Clone)]
struct Known {
    name: &'static str,
    next_life: watch::Receiver<NextLife>,
}

/// One actor's entry, removed when dropped.
#[derive(Debug)]
pub(super) struct RestartPause {
    address: usize,
    next_life: watch::Sender<NextLife>,
}

/// The restart pauses of an actor that is asked; none, if it is no permanent actor of a tree.
#[derive(Debug, Clone)]
pub(crate) struct Pauses(Option<Known>);

impl RestartPause {
    /// Enters an actor, by its address.
    pub(super) fn enter(name: &'static str, address: &impl Hash) -> Self {
        let next_life = watch::Sender::new(None);
        let address = channel_of(address);
        entries().insert(address, Known { name, next_life: next_life.subscribe() });
        Self { address, next_life }
    }

    /// The actor pauses, or lives again.
    pub(super) fn set(&self, next_life: NextLife) {
        self.next_life.send_replace(next_life);
    }
}

impl Drop for RestartPause {
    fn drop(&mut self) {
        entries().remove(&self.address);
    }
}

impl Pauses {
    /// Those of the actor behind `recipient`, now and later.
    pub(crate) fn of<M>(recipient: &Recipient<M>) -> Self
    where
        M: Message<Result: Send> + Send,
    {
        Self(entries().get(&channel_of(recipient)).cloned())
    }

    /// What the actor is called, if it is a permanent actor of a tree.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.0.as_ref().map(|known| known.name)
    }

    /// Waits until the actor is in a restart pause that is too long to be waited for
    /// ([`limits::EXTENSION_RESTART_WITHIN`]); for ever if its pauses aren't known.
    pub(crate) async fn one_is_long(self) {
        let Some(Known { next_life: mut pausing, .. }) = self.0 else { return pending().await };
        // (An actor that has ended for good answers the question: there is nobody.)
        while let Ok(next_life) = pausing.wait_for(Option::is_some).await.map(|next_life| *next_life) {
            let by = Instant::now() + limits::EXTENSION_RESTART_WITHIN;
            let is_long = next_life.is_some_and(|next_life| next_life > by);
            if is_long || timeout_at(by, pausing.wait_for(Option::is_none)).await.is_err() {
                return;
            }
        }
        pending::<()>().await;
    }
}

fn entries() -> MutexGuard<'static, HashMap<usize, Known>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the channel is that an address, or a recipient, sends into: all those of one actor have
/// the same. (actix hashes that, and offers it in no other way.)
fn channel_of(address: &impl Hash) -> usize {
    let mut pointer = Pointer::default();
    address.hash(&mut pointer);
    pointer.0
}

/// Takes the one pointer that is hashed.
#[derive(Default)]
struct Pointer(usize);

impl Hasher for Pointer {
    fn finish(&self) -> u64 {
        self.0 as u64
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = self.0.rotate_left(8) ^ usize::from(*octet);
        }
    }

    fn write_usize(&mut self, pointer: usize) {
        self.0 = pointer;
    }
}

#[cfg(test)]
mod tests;
