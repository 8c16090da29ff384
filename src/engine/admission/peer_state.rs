//! The state that the peer table shares with a session.

mod unproven;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Recipient;
use tokio::sync::watch;
use tokio::time::Instant;

use self::unproven::Unproven;
use crate::engine::lock;
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
    pub(super) unproven: Unproven,
}

impl AllPeers {
    pub(super) fn new(single_port: bool) -> Arc<Self> {
        let (unfinished, unproven) = (watch::Sender::new(0), Unproven::default());
        Arc::new(Self { single_port, began: Instant::now(), unfinished, unproven })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn change_unfinished(&self, change: impl FnOnce(usize) -> usize) {
        self.unfinished.send_if_modified(|count| {
            *count = change(*count);
            // Others need not wake.
            *count == 0
        });
    }
}

/// What the peer table and a session know of each other.
#[derive(Debug)]
pub(crate) struct PeerState {
    /// The peer has answered: another request of it is a new one.
    answered: AtomicBool,
    /// The outcome is known.
    over: AtomicBool,
    /// The peer has answered, or the outcome is known.
    dismissed: AtomicBool,
    /// The peer began a new transfer from the same port.
    superseded: AtomicBool,
    released: AtomicBool,
    all: Arc<AllPeers>,
    peer: SocketAddr,
    /// Among the transfers that wait for an answer. Set and cleared by [`Unproven`] alone.
    is_unproven: AtomicBool,
    session: Mutex<Option<SessionAddr>>,
    /// In single-port mode, the datagrams that arrived for the transfer.
    pub(crate) inbox: Option<Arc<Inbox>>,
    /// When the last one arrived, since [`AllPeers::began`].
    heard_at_ms: AtomicU64,
}

impl PeerState {
    pub(crate) fn new(all: &Arc<AllPeers>, peer: SocketAddr) -> Self {
        all.change_unfinished(|count| count + 1);
        all.unproven.admit(peer.ip());
        Self {
            answered: AtomicBool::default(),
            over: AtomicBool::default(),
            dismissed: AtomicBool::default(),
            superseded: AtomicBool::default(),
            released: AtomicBool::default(),
            all: Arc::clone(all),
            peer,
            is_unproven: AtomicBool::default(),
            session: Mutex::default(),
            inbox: all.single_port.then(Arc::default),
            // Only single-port mode needs the clock.
            heard_at_ms: AtomicU64::new(if all.single_port { all.now_ms() } else { 0 }),
        }
    }

    pub(super) fn deliver(&self, datagram: &[u8]) -> bool {
        self.heard_at_ms.store(self.all.now_ms(), Ordering::Relaxed);
        self.inbox.as_ref().is_some_and(|inbox| inbox.push(datagram))
    }

    /// Whether so many peers are unproven that packets to them are not repeated on timeout.
    pub(crate) fn is_restrained(&self) -> bool {
        self.all.unproven.are_many()
    }

    /// The outcome is known, though the session may live on to answer repeated packets.
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
        let returned = Repeated(Some(Box::new(Returned { listener: listener(), again })));
        let sent = session.messages.try_send(SessionMessage::Repeated(returned));
        let Err(unsent) = sent else { return true };
        if let SessionMessage::Repeated(mut repeated) = unsent.into_inner() {
            repeated.0 = None;
        }
        // A session with a full mailbox is busy, and a closed mailbox means that another session
        // takes over, unless the transfer was answered in this moment.
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
            // A session that can't take the message receives nothing more, and times out.
            let _ = session.messages.try_send(SessionMessage::Superseded);
        }
    }

    /// Asks the session to give up if its peer hasn't answered, because of this limit.
    pub(crate) fn give_up(&self, limit: Option<Limit>) {
        if let Some(session) = &*lock(&self.session) {
            // A session whose mailbox is full is receiving from its peer, or is about to end.
            let _ = session.messages.try_send(SessionMessage::GiveUp(limit));
        }
    }

    /// Sends repeated requests to `session`. The transfer may have to give way to others until its
    /// peer answers.
    pub(crate) fn set_session(self: &Arc<Self>, session: SessionAddr) {
        let mut current = lock(&self.session);
        if self.superseded.load(Ordering::Relaxed) {
            let _ = session.messages.try_send(SessionMessage::Superseded);
        }
        let is_first = current.replace(session).is_none();
        drop(current);
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

impl Drop for PeerState {
    /// Everything that belongs to the transfer held this state: nothing of it is left.
    fn drop(&mut self) {
        self.release();
    }
}
