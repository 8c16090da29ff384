//! An arbiter's sessions, and the requests that wait to become one: held outside of any actor, so that neither the end of an actor nor
//! that of a thread loses them.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::admission::Admitted;
use crate::engine::admission::peer_table::Permit;
use crate::engine::messages::SessionAddr;
use crate::engine::transfers::shared_transfer::SharedTransfer;
use crate::limits;
use crate::observe::TransferId;

/// What an arbiter has to do. Touched when a transfer begins and ends, never by its packets.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    entries: Mutex<Entries>,
    /// Of both kinds, to be compared without a lock.
    load: AtomicUsize,
    /// The sessions are to end, and no further ones to begin.
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Entries {
    waiting: VecDeque<Box<PendingRequest>>,
    /// The one for which the supervisor opens a socket.
    begun: Option<Box<PendingRequest>>,
    children: HashMap<TransferId, Child>,
    /// The supervisor is about to look for what waits.
    woken: bool,
    closed: bool,
}

/// A request that is to be served, and the sockets it may need.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(crate) admitted: Admitted,
    /// In single-port mode, the socket that the request came to.
    pub(crate) port: Option<Arc<UdpSocket>>,
    /// The socket that the request came to. Where no other socket can be had, the request is refused
    /// from this one.
    pub(crate) last_resort: Option<Arc<UdpSocket>>,
}

/// What a socket has to be for the request in hand.
#[derive(Debug)]
pub(crate) struct SocketRequest {
    pub(crate) local: SocketAddr,
    pub(crate) port: Option<Arc<UdpSocket>>,
    pub(crate) has_options: bool,
}

impl PendingRequest {
    /// Whether the transfer takes a few packets, and waits for nothing on the way.
    pub(crate) fn is_short(&self) -> bool {
        let size = self.admitted.opened.as_ref().and_then(|opened| opened.size);
        size.is_some_and(|octets| octets <= limits::SHORT_TRANSFER_OCTETS_MAX)
    }

    fn wanted(&self) -> SocketRequest {
        let Self { admitted: Admitted { assignment, local, .. }, port, .. } = self;
        SocketRequest {
            local: *local,
            port: port.clone(),
            has_options: !assignment.request.options.is_empty(),
        }
    }
}

/// A transfer that has a session, or is to get another.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) shared: Arc<SharedTransfer>,
    /// `None` where a session is still to be started.
    pub(crate) session: Option<SessionAddr>,
    /// How often a session that failed was replaced.
    pub(crate) resumptions: u32,
    /// Held until the transfer is buried.
    pub(crate) _permit: Permit,
}

impl Child {
    pub(crate) fn id(&self) -> TransferId {
        self.shared.assignment.id
    }
}

impl SessionTable {
    /// A session table that goes on for another. The children are without a session until one is started.
    pub(crate) fn adopting(children: Vec<Child>, waiting: VecDeque<Box<PendingRequest>>) -> Self {
        let children = children.into_iter().map(|child| (child.id(), Child { session: None, ..child }));
        let entries = Entries { waiting, children: children.collect(), ..Entries::default() };
        let load = AtomicUsize::new(entries.load());
        Self { entries: Mutex::new(entries), load, stopping: AtomicBool::new(false) }
    }

    /// How much there is to do.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A request for the next session. `true` if the supervisor is to be woken for it: once, until it has found that none waits.
    ///
    /// # Errors
    /// The request, if there is no room, or the arbiter has been given up.
    pub(crate) fn push_waiting(&self, serve: Box<PendingRequest>) -> Result<bool, Box<PendingRequest>> {
        self.change(|entries| {
            if entries.closed || entries.waiting.len() >= limits::REQUESTS_WAITING_MAX {
                return Err(serve);
            }
            entries.waiting.push_back(serve);
            Ok(!std::mem::replace(&mut entries.woken, true))
        })
    }

    /// Takes the next request in hand. Until it is [handed over](Self::take_begun) it stays here,
    /// and so with whoever goes on for this session table: to open a socket for it may take its time, and
    /// the arbiter be given up meanwhile. One that was in hand before is let go: its supervisor
    /// panicked over it.
    pub(crate) fn begin_next(&self) -> Option<SocketRequest> {
        let (wanted, dropped) = self.change(|entries| {
            let next = entries.waiting.pop_front();
            entries.woken = next.is_some();
            let wanted = next.as_deref().map(PendingRequest::wanted);
            (wanted, std::mem::replace(&mut entries.begun, next))
        });
        drop(dropped);
        wanted
    }

    /// The request in hand; `None` if another arbiter serves it by now.
    pub(crate) fn take_begun(&self) -> Option<Box<PendingRequest>> {
        self.change(|entries| entries.begun.take())
    }

    /// Keeps a child.
    ///
    /// # Errors
    /// The child, if the arbiter has been given up.
    pub(crate) fn insert(&self, child: Child) -> Result<(), Box<Child>> {
        self.change(|entries| {
            if entries.closed {
                return Err(Box::new(child));
            }
            entries.children.insert(child.id(), child);
            Ok(())
        })
    }

    pub(crate) fn remove(&self, id: TransferId) -> Option<Child> {
        self.change(|entries| entries.children.remove(&id))
    }

    /// Removes the children whose session has ended, or never began.
    pub(crate) fn remove_without_session(&self) -> Vec<Child> {
        self.change(|entries| {
            let is_without = |_: &TransferId, child: &mut Child| {
                child.session.as_ref().is_none_or(|session| !session.connected())
            };
            entries.children.extract_if(is_without).map(|(_, child)| child).collect()
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().children.is_empty()
    }

    pub(crate) fn sessions(&self) -> Vec<SessionAddr> {
        self.lock().children.values().filter_map(|child| child.session.clone()).collect()
    }

    /// Takes everything out; nothing more comes in.
    pub(crate) fn close(&self) -> (Vec<Child>, VecDeque<Box<PendingRequest>>) {
        self.change(|entries| {
            entries.closed = true;
            let children = std::mem::take(&mut entries.children);
            let mut waiting = std::mem::take(&mut entries.waiting);
            if let Some(begun) = entries.begun.take() {
                waiting.push_front(begun);
            }
            (children.into_values().collect(), waiting)
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        let mut entries = self.lock();
        let changed = change(&mut entries);
        self.load.store(entries.load(), Ordering::Relaxed);
        changed
    }

    /// A panic elsewhere leaves it whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn load(&self) -> usize {
        self.waiting.len() + usize::from(self.begun.is_some()) + self.children.len()
    }
}

#[cfg(test)]
mod tests;
