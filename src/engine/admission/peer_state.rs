//! The state that the peer table shares with a session.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Recipient;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::admission::unproven::{Provable, Unproven};
use crate::engine::messages::{Again, Repeated, Returned, SessionAddr, SessionMessage};
use crate::error::Limit;
use crate::limits;
use crate::net::Inbox;

/// What all peers of a server have in common.
#[derive(Debug)]
pub(crate) struct AllPeers {
    /// Packets of transfers arrive at the well-known port too.
    pub(super) single_port: bool,
    began: Instant,
    /// The number of transfers whose outcome isn't known.
    pub(super) unfinished: watch::Sender<usize>,
    pub(super) unproven: Unproven<PeerState>,
}

impl AllPeers {
    pub(super) fn new(single_port: bool) -> Arc<Self> {
        let (unfinished, unproven) = (watch::Sender::new(0), Unproven::default());
        Arc::new(Self { single_port, began: Instant::now(), unfinished, unproven })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Wakes the waiting tasks only when the count reaches zero.
    fn change_unfinished(&self, change: impl FnOnce(usize) -> usize) {
        self.unfinished.send_if_modified(|count| {
            *count = change(*count);
            *count == 0
        });
    }
}

/// The state that the peer table shares with a session.
#[derive(Debug)]
pub(crate) struct PeerState {
    /// The peer has answered: another request of the peer is a new one.
    answered: AtomicBool,
    /// The outcome is known. The session may live on to answer repeated packets.
    over: AtomicBool,
    /// The peer has answered, or the outcome is known.
    dismissed: AtomicBool,
    /// The peer began a new transfer from the same port.
    superseded: AtomicBool,
    /// The transfer no longer counts as unproven.
    released: AtomicBool,
    all: Arc<AllPeers>,
    peer: SocketAddr,
    is_unproven: AtomicBool,
    session: Mutex<Option<SessionAddr>>,
    /// In single-port mode, the datagrams that arrived for the transfer, and the time of the last
    /// one in milliseconds since the table was created.
    inbox: Option<Arc<Inbox>>,
    heard_at_ms: AtomicU64,
}

impl PeerState {
    /// The state of a transfer that begins.
    pub(crate) fn new(all: &Arc<AllPeers>, peer: SocketAddr) -> Self {
        all.change_unfinished(|count| count + 1);
        all.unproven.admit(peer.ip());
        Self {
            answered: AtomicBool::new(false),
            over: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            released: AtomicBool::new(false),
            all: Arc::clone(all),
            peer,
            is_unproven: AtomicBool::new(false),
            session: Mutex::default(),
            inbox: all.single_port.then(Arc::default),
            // Only single-port mode needs the clock, and reading it for every failed request would
            // be expensive.
            heard_at_ms: AtomicU64::new(if all.single_port { all.now_ms() } else { 0 }),
        }
    }

    /// The datagrams that arrived for the transfer at the well-known port, in single-port mode.
    pub(crate) fn inbox(&self) -> Option<&Arc<Inbox>> {
        self.inbox.as_ref()
    }

    /// Delivers a datagram. `false` if there is no inbox, or no room in it.
    pub(super) fn deliver(&self, datagram: &[u8]) -> bool {
        self.heard_at_ms.store(self.all.now_ms(), Ordering::Relaxed);
        self.inbox.as_ref().is_some_and(|inbox| inbox.push(datagram))
    }

    /// Whether so many peers are unproven that packets to them are not repeated on timeout.
    pub(crate) fn is_restrained(&self) -> bool {
        self.all.unproven.are_many()
    }

    /// The outcome is known. Nobody waits for this transfer any more, though its session may live
    /// on to answer repeated packets.
    pub(crate) fn set_over(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.all.change_unfinished(|count| count - 1);
            self.dismiss();
        }
    }

    /// The peer has answered. Requests from the same address begin new transfers from now on.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
        self.release();
        self.dismiss();
    }

    /// Stops counting the transfer as unproven: the peer has answered, or a session that hangs may
    /// hold the transfer for ever.
    pub(crate) fn release(&self) {
        if !self.released.swap(true, Ordering::Relaxed) {
            self.all.unproven.release();
        }
    }

    /// Removes the transfer from those whose peers haven't answered.
    fn dismiss(&self) {
        if !self.dismissed.swap(true, Ordering::Relaxed) {
            self.all.unproven.dismiss(self);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.has_answered() || self.is_over()
    }

    /// Notifies the session of a repeated request. `false` if the transfer has been answered
    /// meanwhile, so that the request is a new one.
    pub(super) fn notify_repeated(&self, again: Again, listener: impl FnOnce() -> Recipient<Again>) -> bool {
        let Some(session) = &*lock(&self.session) else { return true };
        let returned = Returned { listener: listener(), again };
        let message = SessionMessage::Repeated(Repeated(Some(Box::new(returned))));
        let Err(unsent) = session.try_send(message) else { return true };
        if let SessionMessage::Repeated(mut repeated) = unsent.into_inner() {
            repeated.0 = None;
        }
        // A session with a full mailbox is busy, and a closed mailbox means that another session
        // takes over: the request is answered either way. The exception is a session that ended
        // because the transfer was answered in this moment.
        !self.is_settled()
    }

    /// Whether nothing has arrived for so long that a repeated request can't be a late copy.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet_ms = self.all.now_ms().saturating_sub(self.heard_at_ms.load(Ordering::Relaxed));
        Duration::from_millis(quiet_ms) >= limits::RESTART_QUIET
    }

    pub(super) fn notify_superseded(&self) {
        let session = lock(&self.session);
        // A session that starts later is notified by `set_session`.
        self.superseded.store(true, Ordering::Relaxed);
        if let Some(session) = &*session {
            // A session whose mailbox is full, or that is just being replaced, receives nothing
            // more in its inbox, and times out.
            let _ = session.try_send(SessionMessage::Superseded);
        }
    }

    /// Asks the session to give up if its peer hasn't answered, because of `limit` if there is one.
    pub(crate) fn give_up(&self, limit: Option<Limit>) {
        if let Some(session) = &*lock(&self.session) {
            // A session whose mailbox is full is receiving from its peer, or is about to end.
            let _ = session.try_send(SessionMessage::GiveUp(limit));
        }
    }

    /// Sends repeated requests to `session`, which has sent a packet or is about to. From now on
    /// the transfer may have to give way to others until its peer answers.
    pub(crate) fn set_session(self: &Arc<Self>, session: SessionAddr) {
        let is_first = {
            let mut current = lock(&self.session);
            if self.superseded.load(Ordering::Relaxed) {
                let _ = session.try_send(SessionMessage::Superseded);
            }
            current.replace(session).is_none()
        };
        if is_first
            && !self.is_settled()
            && let Some((oldest, limit)) = self.all.unproven.add(self)
        {
            oldest.give_up(Some(limit));
        }
        if self.is_settled() {
            // Another thread settled the transfer in this moment.
            self.all.unproven.remove(self);
        }
    }
}

impl Provable for PeerState {
    fn address(&self) -> IpAddr {
        self.peer.ip()
    }

    fn is_unproven(&self) -> &AtomicBool {
        &self.is_unproven
    }
}

/// Everything that belongs to the transfer holds this state, so nothing of the transfer is left.
impl Drop for PeerState {
    fn drop(&mut self) {
        self.release();
    }
}

/// A panic in another thread leaves the address consistent: it is replaced in a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
