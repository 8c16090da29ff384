//! Tracks which actors are in a restart pause.

use std::collections::HashMap;
use std::future::pending;
use std::hash::{Hash, Hasher};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use actix::{Message, Recipient};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// When an actor's pause ends; `None` while it runs.
type NextLife = Option<Instant>;

/// The permanent actors of all trees, by address, with their restart pauses. This is global: a
/// store or a step has nothing but an actor's address. No two running actors share an address.
static ENTRIES: LazyLock<Mutex<HashMap<usize, Known>>> = LazyLock::new(Mutex::default);

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

/// The restart pauses of an actor; empty if it is not a permanent actor of a tree.
#[derive(Debug, Clone)]
pub(crate) struct Pauses(Option<Known>);

impl RestartPause {
    pub(super) fn enter(name: &'static str, address: &impl Hash) -> Self {
        let next_life = watch::Sender::new(None);
        let address = channel_of(address);
        entries().insert(address, Known { name, next_life: next_life.subscribe() });
        Self { address, next_life }
    }

    /// Sets when the pause ends, or that the actor runs again.
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
    /// The pauses of the actor behind `recipient`, now and later.
    pub(crate) fn of<M>(recipient: &Recipient<M>) -> Self
    where
        M: Message<Result: Send> + Send,
    {
        Self(entries().get(&channel_of(recipient)).cloned())
    }

    /// The actor's name, if it is a permanent actor of a tree.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.0.as_ref().map(|known| known.name)
    }

    /// Waits until the actor is in a restart pause too long to wait for
    /// ([`limits::EXTENSION_RESTART_WITHIN`]). If the actor is unknown, it waits forever.
    pub(crate) async fn one_is_long(self) {
        let Some(Known { next_life: mut pausing, .. }) = self.0 else { return pending().await };
        // If the actor has ended for good, sending the question fails by itself.
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

/// The channel of an address or a recipient, which is the same for all those of one actor. actix
/// offers it only through its `Hash`.
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
