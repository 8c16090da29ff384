//! The sessions of an arbiter, and its waiting requests. The table is held outside of any actor, so
//! that neither the end of an actor nor the end of a thread loses an entry.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::admission::Admitted;
use crate::engine::admission::peer_table::Permit;
use crate::engine::messages::SessionAddr;
use crate::engine::transfers::shared_transfer::SharedTransfer;
use crate::limits;
use crate::net::PortRange;
use crate::observe::TransferId;

/// The sessions and waiting requests of an arbiter. Accessed when a transfer begins and ends, never
/// by its packets.
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
    waiting: VecDeque<Box<PendingRequest>>,
    /// The request that the supervisor opens a socket for.
    opening: Option<Box<PendingRequest>>,
    children: HashMap<TransferId, Child>,
    /// The supervisor was sent a wake-up that it has not handled yet.
    woken: bool,
    closed: bool,
}

/// An admitted request that waits for a session, and the sockets that may serve it.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(crate) admitted: Admitted,
    /// In single-port mode, the socket that the request came to.
    pub(crate) port: Option<Arc<UdpSocket>>,
    /// The socket that the request came to. If no other socket can be opened, the request is
    /// refused from this one.
    pub(crate) last_resort: Option<Arc<UdpSocket>>,
}

/// The properties of the socket that a request needs.
#[derive(Debug)]
pub(crate) struct SocketRequest {
    pub(crate) local: SocketAddr,
    pub(crate) port: Option<Arc<UdpSocket>>,
    pub(crate) ports: Option<PortRange>,
    pub(crate) has_options: bool,
}

impl PendingRequest {
    /// Whether the transfer takes a few packets, and waits for nothing on the way.
    pub(crate) fn is_short(&self) -> bool {
        let size = self.admitted.opened.as_ref().and_then(|opened| opened.size);
        size.is_some_and(|octets| octets <= limits::SHORT_TRANSFER_OCTETS_MAX)
    }

    fn socket_request(&self) -> SocketRequest {
        let Self { admitted: Admitted { assignment, local, .. }, port, .. } = self;
        SocketRequest {
            local: *local,
            port: port.clone(),
            ports: assignment.config.ports,
            has_options: !assignment.request.options.is_empty(),
        }
    }
}

/// A transfer that has a session, or waits for another one.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) shared: Arc<SharedTransfer>,
    /// `None` until a session is started.
    pub(crate) session: Option<SessionAddr>,
    /// How often a failed session was replaced.
    pub(crate) resumptions: u32,
    /// Held until the transfer is over.
    pub(crate) _permit: Permit,
}

impl Child {
    pub(crate) fn id(&self) -> TransferId {
        self.shared.assignment.id
    }
}

impl SessionTable {
    /// A session table that takes over from another one. The children have no session until one is
    /// started.
    pub(crate) fn adopting(children: Vec<Child>, waiting: VecDeque<Box<PendingRequest>>) -> Self {
        let children = children.into_iter().map(|child| (child.id(), Child { session: None, ..child }));
        let entries = Entries { waiting, children: children.collect(), ..Entries::default() };
        let load = AtomicUsize::new(entries.load());
        Self { entries: Mutex::new(entries), load, stopping: AtomicBool::new(false) }
    }

    /// How many sessions and waiting requests there are.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Queues a request. `true` if the caller must wake the supervisor: once, until the supervisor
    /// has emptied the queue.
    ///
    /// # Errors
    /// The request, if the queue is full or the table is closed.
    pub(crate) fn push_waiting(&self, request: Box<PendingRequest>) -> Result<bool, Box<PendingRequest>> {
        self.change(|entries| {
            if entries.closed || entries.waiting.len() >= limits::REQUESTS_WAITING_MAX {
                return Err(request);
            }
            entries.waiting.push_back(request);
            Ok(!std::mem::replace(&mut entries.woken, true))
        })
    }

    /// Starts to serve the next request, and returns the properties of its socket. Until
    /// [`take_opening`](Self::take_opening) the request stays in the table, because opening a
    /// socket may take so long that the arbiter is replaced meanwhile: [`close`](Self::close) then
    /// returns this request too. A request that was left here is dropped, because the supervisor
    /// panicked while serving it.
    pub(crate) fn begin_next(&self) -> Option<SocketRequest> {
        let (socket, dropped) = self.change(|entries| {
            let next = entries.waiting.pop_front();
            entries.woken = next.is_some();
            let socket = next.as_deref().map(PendingRequest::socket_request);
            (socket, std::mem::replace(&mut entries.opening, next))
        });
        drop(dropped);
        socket
    }

    /// The request that [`begin_next`](Self::begin_next) started; `None` if another arbiter serves
    /// it by now.
    pub(crate) fn take_opening(&self) -> Option<Box<PendingRequest>> {
        self.change(|entries| entries.opening.take())
    }

    /// Inserts a child.
    ///
    /// # Errors
    /// The child, if the table is closed.
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

    /// Closes the table and returns its content.
    pub(crate) fn close(&self) -> (Vec<Child>, VecDeque<Box<PendingRequest>>) {
        self.change(|entries| {
            entries.closed = true;
            let children = std::mem::take(&mut entries.children);
            let mut waiting = std::mem::take(&mut entries.waiting);
            if let Some(opening) = entries.opening.take() {
                waiting.push_front(opening);
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

    /// A panic in another thread leaves the entries consistent: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn load(&self) -> usize {
        self.waiting.len() + usize::from(self.opening.is_some()) + self.children.len()
    }
}

#[cfg(test)]
mod tests;
