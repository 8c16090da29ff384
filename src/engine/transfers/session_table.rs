//! The sessions of an arbiter, and its waiting requests.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::engine::admission::{Admitted, Permit};
use crate::engine::lock;
use crate::engine::messages::SessionAddr;
use crate::engine::transfers::SharedTransfer;
use crate::limits;
use crate::net::PortRange;
use crate::observe::TransferId;
use crate::store::Source;

/// The sessions and waiting requests of an arbiter, held outside of any actor, so that neither the
/// end of an actor nor the end of a thread loses an entry. Packets of transfers don't touch it.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    entries: Mutex<Entries>,
    /// Sessions and waiting requests together, to be compared without a lock.
    load: AtomicUsize,
    /// The sessions end, and no further ones begin.
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Entries {
    waiting: HashMap<TransferId, Arc<PendingRequest>>,
    children: HashMap<TransferId, Child>,
    closed: bool,
}

/// An admitted request that waits for a session, shared by the message to the supervisor and the
/// table: if the arbiter hangs with the message in a mailbox, or while it opens a socket, the table
/// passes the request to another arbiter.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    id: TransferId,
    pub(crate) local: SocketAddr,
    pub(crate) ports: Option<PortRange>,
    pub(crate) has_options: bool,
    /// The socket that the request came to, if its transfer uses this socket in single-port mode,
    /// or is refused from it when no other socket can be opened.
    pub(crate) well_known: Option<Arc<UdpSocket>>,
    /// The transfer takes a few packets, and waits for nothing on the way.
    pub(crate) is_short: bool,
    /// `None` once a supervisor has taken it.
    admitted: Mutex<Option<Admitted>>,
    has_begun: AtomicBool,
}

impl PendingRequest {
    pub(crate) fn new(admitted: Admitted, well_known: Option<Arc<UdpSocket>>) -> Arc<Self> {
        let Admitted { assignment, local, opened, .. } = &admitted;
        let size = opened.as_deref().and_then(Source::size);
        Arc::new(Self {
            id: assignment.id,
            local: *local,
            ports: assignment.config.ports,
            has_options: !assignment.request.options.is_empty(),
            well_known,
            is_short: size.is_some_and(|octets| octets <= limits::SHORT_TRANSFER_OCTETS_MAX),
            admitted: Mutex::new(Some(admitted)),
            has_begun: AtomicBool::new(false),
        })
    }

    pub(crate) fn set_begun(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }
}

/// A transfer that has a session, or waits for another one.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) shared: Arc<SharedTransfer>,
    pub(crate) session: Option<SessionAddr>,
    /// How often a failed session was replaced.
    pub(crate) resumptions: u32,
    pub(crate) _permit: Permit,
}

impl Child {
    pub(crate) fn id(&self) -> TransferId {
        self.shared.assignment.id
    }

    pub(crate) fn has_session(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.messages.connected())
    }
}

impl SessionTable {
    /// Takes over from another table. The children have no session until one is started.
    pub(crate) fn adopting(children: Vec<Child>, waiting: Vec<Arc<PendingRequest>>) -> Self {
        let children = children.into_iter().map(|child| (child.id(), Child { session: None, ..child }));
        waiting.iter().for_each(|request| request.has_begun.store(false, Ordering::Relaxed));
        let waiting = waiting.into_iter().map(|request| (request.id, request));
        let entries = Entries { waiting: waiting.collect(), children: children.collect(), closed: false };
        let load = AtomicUsize::new(entries.load());
        Self { entries: Mutex::new(entries), load, stopping: AtomicBool::new(false) }
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Adds a request that waits. `false` if too many wait, or the table is closed.
    pub(crate) fn push_waiting(&self, request: &Arc<PendingRequest>) -> bool {
        self.change(|entries| {
            let has_room = !entries.closed && entries.waiting.len() < limits::REQUESTS_WAITING_MAX;
            if has_room {
                entries.waiting.insert(request.id, Arc::clone(request));
            }
            has_room
        })
    }

    /// All waiting requests, in the order of their admission.
    pub(crate) fn waiting(&self) -> Vec<Arc<PendingRequest>> {
        let mut waiting: Vec<_> = lock(&self.entries).waiting.values().cloned().collect();
        waiting.sort_unstable_by_key(|request| request.id);
        waiting
    }

    /// Removes a waiting request, to serve it once it has a socket: opening one may take so long
    /// that the arbiter is replaced meanwhile. `None` if another arbiter serves the request by now.
    pub(crate) fn take(&self, request: &PendingRequest) -> Option<Admitted> {
        let request = self.change(|entries| entries.waiting.remove(&request.id))?;
        lock(&request.admitted).take()
    }

    /// Drops the request that the supervisor was serving when it panicked.
    pub(crate) fn drop_begun(&self) {
        let has_begun = |request: &Arc<PendingRequest>| request.has_begun.load(Ordering::Relaxed);
        for request in self.waiting().into_iter().filter(has_begun) {
            drop(self.take(&request));
        }
    }

    /// Inserts a child, or returns it if the table is closed.
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

    /// Removes the children whose session has ended or was never started.
    pub(crate) fn remove_without_session(&self) -> Vec<Child> {
        self.change(|entries| {
            entries.children.extract_if(|_, child| !child.has_session()).map(|(_, child)| child).collect()
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.entries).children.is_empty()
    }

    pub(crate) fn sessions(&self) -> Vec<SessionAddr> {
        lock(&self.entries).children.values().filter_map(|child| child.session.clone()).collect()
    }

    /// Closes the table and returns its content.
    pub(crate) fn close(&self) -> (Vec<Child>, Vec<Arc<PendingRequest>>) {
        self.change(|entries| {
            entries.closed = true;
            let children = std::mem::take(&mut entries.children).into_values();
            (children.collect(), std::mem::take(&mut entries.waiting).into_values().collect())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        let mut entries = lock(&self.entries);
        let changed = change(&mut entries);
        self.load.store(entries.load(), Ordering::Relaxed);
        changed
    }
}

impl Entries {
    fn load(&self) -> usize {
        self.waiting.len() + self.children.len()
    }
}

#[cfg(test)]
mod tests;
