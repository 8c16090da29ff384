//! The permanent children of all supervisors, and which of them are in a restart pause.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::LazyLock;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits;

/// By address. This is global: a store or a step has nothing but an actor's address. No two running
/// actors share an address.
static ACTORS: LazyLock<watch::Sender<HashMap<u64, Entry>>> = LazyLock::new(watch::Sender::default);

#[derive(Debug)]
struct Entry {
    name: &'static str,
    /// When its restart pause ends; `None` while it runs.
    pause_end: Option<Instant>,
}

/// An actor's entry, removed when dropped. The default is none.
#[derive(Debug, Default)]
pub(super) struct RestartPause(Option<u64>);

impl RestartPause {
    pub(super) fn enter(name: &'static str, address: &impl Hash) -> Self {
        let key = key_of(address);
        ACTORS.send_modify(|actors| {
            actors.insert(key, Entry { name, pause_end: None });
        });
        Self(Some(key))
    }

    /// Sets when the pause ends; `None` if the actor runs again.
    pub(super) fn set(&self, pause_end: Option<Instant>) {
        let Some(key) = self.0 else { return };
        ACTORS.send_modify(|actors| {
            actors.entry(key).and_modify(|actor| actor.pause_end = pause_end);
        });
    }
}

impl Drop for RestartPause {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            ACTORS.send_modify(|actors| {
                actors.remove(&key);
            });
        }
    }
}

/// The name of a permanent child. `actor` is its address, or the recipient of a message.
pub(crate) fn name_of(actor: &impl Hash) -> Option<&'static str> {
    ACTORS.borrow().get(&key_of(actor)).map(|actor| actor.name)
}

/// Waits until the actor is in a restart pause too long to wait for
/// ([`limits::EXTENSION_RESTART_WITHIN`]); forever if it is no permanent child.
pub(crate) fn pauses_for_long<A: Hash>(actor: &A) -> impl Future<Output = ()> + use<A> {
    let key = key_of(actor);
    let is_long = move |actors: &HashMap<u64, Entry>| {
        let by = Instant::now() + limits::EXTENSION_RESTART_WITHIN;
        actors.get(&key).and_then(|actor| actor.pause_end).is_some_and(|end| end > by)
    };
    async move {
        // The sender is static, so there is no error.
        let _ = ACTORS.subscribe().wait_for(is_long).await;
    }
}

/// actix offers an identity that all addresses and recipients of an actor share only as a hash.
fn key_of(address: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(address)
}

#[cfg(test)]
mod tests;
