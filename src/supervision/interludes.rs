//! Which actors of a tree pause between two lives.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Message, Recipient};
use tokio::sync::watch;
use tokio::time::Instant;

/// When the next life of an actor begins that is in its restart pause; `None` while it lives.
pub(crate) type NextLife = Option<Instant>;

/// The permanent actors of a tree, by their addresses, and what is known of their restart pauses.
#[derive(Debug, Clone, Default)]
pub(super) struct Interludes(Arc<Mutex<HashMap<usize, watch::Receiver<NextLife>>>>);

/// One actor's entry, removed when dropped.
#[derive(Debug)]
pub(super) struct Interlude {
    of: Interludes,
    address: usize,
    next_life: watch::Sender<NextLife>,
}

impl Interludes {
    /// Enters an actor, by its address.
    pub(super) fn enter(&self, address: &impl Hash) -> Interlude {
        let next_life = watch::Sender::new(None);
        let address = channel_of(address);
        self.entries().insert(address, next_life.subscribe());
        Interlude { of: self.clone(), address, next_life }
    }

    /// When the actor behind `recipient` lives again, now and later; `None` if it is no permanent
    /// actor of this tree.
    pub(super) fn of<M>(&self, recipient: &Recipient<M>) -> Option<watch::Receiver<NextLife>>
    where
        M: Message<Result: Send> + Send,
    {
        self.entries().get(&channel_of(recipient)).cloned()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<usize, watch::Receiver<NextLife>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interlude {
    /// The actor pauses, or lives again.
    pub(super) fn set(&self, next_life: NextLife) {
        self.next_life.send_replace(next_life);
    }
}

impl Drop for Interlude {
    fn drop(&mut self) {
        self.of.entries().remove(&self.address);
    }
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
