//! Waits for the sockets and deadlines of all sessions of an arbiter in one task.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::engine::driver::Driver;
use crate::engine::messages::SessionMessage;
use crate::engine::service::Service;
use crate::limits;
use crate::net::{SocketEvent, SocketSet};
use crate::supervision::caught;

/// Runs the driver of a session when its socket is ready, and sends the session a message when its
/// deadline has passed. A packet touches no task, mailbox or timer of an actor: with a thousand
/// sessions, none of these is in the processor's cache when a packet arrives.
///
/// A panic in a driver is passed to its session, which panics with the same text.
pub(crate) struct PollLoop {
    /// `None` where sockets can't be waited for together: each session waits for its own then.
    set: Option<SocketSet>,
    /// The tokens of links that share a socket and were filled by its receiver. `None` until there
    /// is such a link, so that other transfers don't pay for polling it.
    sharing: RefCell<Option<(UnboundedSender<u64>, UnboundedReceiver<u64>)>>,
    entries: RefCell<Entries>,
    /// The sessions whose turn ended before their socket was empty, each once.
    again: RefCell<Vec<DefaultKey>>,
    waker: Cell<Option<Waker>>,
    /// When to check the deadlines next. A deadline that moves later doesn't change this, so a
    /// transfer that advances costs nothing here.
    next_check: Cell<Option<Instant>>,
}

type Entries = SlotMap<DefaultKey, Entry>;

struct Entry {
    driver: Rc<RefCell<Driver>>,
    /// The driver's deadline after its last step.
    deadline: Cell<Option<Instant>>,
    /// The session was sent [`SessionMessage::DeadlinePassed`], and has not handled it yet.
    is_notified: Cell<bool>,
}

/// Removes the session from the poll loop when dropped.
pub(crate) struct Registration {
    poll_loop: Rc<PollLoop>,
    key: DefaultKey,
    has_socket: bool,
    /// The poll loop is woken when the link has datagrams.
    pub(crate) is_polled: bool,
}

struct Buffers {
    events: Vec<SocketEvent>,
    sharing: Vec<u64>,
    sleep: Pin<Box<Sleep>>,
}

impl PollLoop {
    /// Starts a poll loop for the sessions of this arbiter, which runs until the arbiter ends. If
    /// the loop itself panics, it continues after a pause, and the events that it was handling
    /// count as lost packets.
    pub(crate) fn start(service: &Arc<Service>) -> Rc<Self> {
        let poll_loop = Rc::new(Self {
            set: SocketSet::new().ok(),
            sharing: RefCell::default(),
            entries: RefCell::default(),
            again: RefCell::default(),
            waker: Cell::default(),
            next_check: Cell::default(),
        });
        let (polled, service) = (Rc::clone(&poll_loop), Arc::clone(service));
        actix::spawn(async move {
            let events = Vec::with_capacity(limits::SOCKETS_PER_TURN);
            let asleep = Box::pin(sleep_until(Instant::now()));
            let mut buffers = Buffers { events, sharing: Vec::new(), sleep: asleep };
            let mut caught_poll = |cx: &mut Context<'_>| match caught(|| polled.poll(cx, &mut buffers)) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            };
            while let Err(panic) = poll_fn(&mut caught_poll).await {
                service.crashed("poll loop", None, &panic);
                sleep(limits::POLL_LOOP_PAUSE).await;
            }
        });
        poll_loop
    }

    /// Registers a driver: the poll loop runs it when its link has datagrams, and sends its
    /// deferred work to its session.
    pub(crate) fn register(self: &Rc<Self>, driver: &Rc<RefCell<Driver>>) -> Registration {
        let entry =
            Entry { driver: Rc::clone(driver), deadline: Cell::default(), is_notified: Cell::default() };
        let key = self.entries.borrow_mut().insert(entry);
        let mut driver = driver.borrow_mut();
        let pollable = self.set.as_ref().zip(driver.link.socket());
        let has_socket = pollable.is_some_and(|(set, socket)| set.add(socket, token(key)).is_ok());
        let is_polled = has_socket || self.share(&mut driver, key);
        Registration { poll_loop: Rc::clone(self), key, has_socket, is_polled }
    }

    /// Registers a link that shares a socket. `false` for any other link.
    fn share(&self, driver: &mut Driver, key: DefaultKey) -> bool {
        let mut sharing = self.sharing.borrow_mut();
        let is_first = sharing.is_none();
        let (ready, _) = sharing.get_or_insert_with(unbounded_channel);
        let has_joined = driver.link.join(ready, token(key));
        if has_joined && is_first {
            // The poll loop has not polled it yet.
            self.wake();
        }
        has_joined
    }

    fn poll(&self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<()> {
        let again = self.again.take();
        for key in again {
            if let Some(driver) = self.driver(key) {
                let mut driver = driver.borrow_mut();
                driver.is_queued = false;
                self.serve(key, &mut driver, Driver::turn);
            }
        }
        let Ok(more) = self.serve_ready(cx, buffers) else {
            // The reactor has ended, and the arbiter with it.
            return Poll::Ready(());
        };
        let more = self.serve_sharing(cx, buffers) || more;
        self.check_deadlines(cx, &mut buffers.sleep);
        if more || !self.again.borrow().is_empty() {
            // Timers and messages run first. A task that wakes itself directly would be polled many
            // times before the runtime checks for those.
            let _ = pin!(yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// Serves the ready sockets, up to a turn's worth. `true` if there may be more.
    fn serve_ready(&self, cx: &mut Context<'_>, buffers: &mut Buffers) -> io::Result<bool> {
        let Some(set) = &self.set else { return Ok(false) };
        loop {
            let Poll::Ready(polled) = set.poll_events(cx, &mut buffers.events) else { return Ok(false) };
            let more = polled?;
            buffers.events.iter().for_each(|event| self.on_event(*event));
            if more {
                return Ok(true);
            }
        }
    }

    /// As [`serve_ready`](Self::serve_ready), for the links that share a socket.
    fn serve_sharing(&self, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        buffers.sharing.clear();
        let is_ready = self.sharing.borrow_mut().as_mut().is_some_and(|(_, ready)| {
            ready.poll_recv_many(cx, &mut buffers.sharing, limits::SOCKETS_PER_TURN).is_ready()
        });
        buffers.sharing.iter().for_each(|&token| self.on_event(SocketEvent { token, error: false }));
        is_ready
    }

    fn on_event(&self, event: SocketEvent) {
        let key = key_of(event.token);
        let Some(driver) = self.driver(key) else { return };
        self.serve(key, &mut driver.borrow_mut(), |driver| {
            if event.error {
                driver.link.expect_errors();
            }
            // A queued driver takes these datagrams in its queued turn.
            if !driver.is_queued {
                driver.turn();
            }
        });
    }

    fn serve(&self, key: DefaultKey, driver: &mut Driver, step: impl FnOnce(&mut Driver)) {
        if let Err(panic) = caught(|| step(driver)) {
            driver.deferred.panic = Some(panic.into());
        }
        self.follow_up(key, driver);
    }

    fn follow_up(&self, key: DefaultKey, driver: &mut Driver) {
        self.schedule_check(key, driver.deadline);
        if driver.backlog && !std::mem::replace(&mut driver.is_queued, true) {
            self.again.borrow_mut().push(key);
            self.wake();
        }
        if driver.needs_session() {
            // Not `try_send`: there is at most one such message.
            driver.session.messages.do_send(SessionMessage::Attend);
        }
    }

    /// Checks the deadlines if due, and sleeps until the next check.
    fn check_deadlines(&self, cx: &mut Context<'_>, sleep: &mut Pin<Box<Sleep>>) {
        loop {
            let now = Instant::now();
            if self.next_check.get().is_some_and(|at| at <= now) {
                self.check_all_deadlines(now);
            }
            let Some(next) = self.next_check.get() else { break };
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                break;
            }
        }
        let waker = self.waker.take().unwrap_or_else(|| cx.waker().clone());
        self.waker.set(Some(waker));
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Notifies the sessions whose deadline has passed. Checking all deadlines, which are adjacent
    /// in memory, is cheaper than keeping them sorted, because packets move them often. The pause
    /// until the next check grows with the number of sessions.
    fn check_all_deadlines(&self, now: Instant) {
        let entries = self.entries.borrow();
        let mut next = None;
        for entry in entries.values().filter(|entry| !entry.is_notified.get()) {
            match entry.deadline.get() {
                Some(deadline) if deadline <= now => {
                    entry.is_notified.set(true);
                    // Not `try_send`: there is at most one such message.
                    entry.driver.borrow().session.messages.do_send(SessionMessage::DeadlinePassed);
                }
                Some(deadline) => next = Some(next.map_or(deadline, |next: Instant| next.min(deadline))),
                None => {}
            }
        }
        let pause = limits::CHECK_PAUSE_PER_SESSION * u32::try_from(entries.len()).unwrap_or(u32::MAX);
        self.next_check.set(next.map(|next| next.max(now + pause)));
    }

    /// Stores a deadline, and moves the next check forward if necessary.
    fn schedule_check(&self, key: DefaultKey, deadline: Option<Instant>) {
        if let Some(entry) = self.entries.borrow().get(key) {
            entry.deadline.set(deadline);
            if entry.is_notified.get() {
                // The session schedules its next deadline when it handles the notification.
                return;
            }
        }
        let is_late = |deadline: &Instant| self.next_check.get().is_none_or(|at| at > *deadline);
        if let Some(deadline) = deadline.filter(is_late) {
            self.next_check.set(Some(deadline));
            self.wake();
        }
    }

    fn driver(&self, key: DefaultKey) -> Option<Rc<RefCell<Driver>>> {
        // An event or message may arrive after its session has ended.
        self.entries.borrow().get(key).map(|entry| Rc::clone(&entry.driver))
    }
}

impl Registration {
    pub(crate) fn follow_up(&self, driver: &mut Driver) {
        self.poll_loop.follow_up(self.key, driver);
    }

    /// The session handles [`SessionMessage::DeadlinePassed`]: its next deadline is checked again.
    pub(crate) fn on_deadline_handled(&self) {
        if let Some(entry) = self.poll_loop.entries.borrow().get(self.key) {
            entry.is_notified.set(false);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(entry) = self.poll_loop.entries.borrow_mut().remove(self.key) else { return };
        let driver = entry.driver.borrow();
        if self.has_socket
            && let (Some(set), Some(socket)) = (&self.poll_loop.set, driver.link.socket())
        {
            let _ = set.remove(socket);
        }
    }
}

impl fmt::Debug for PollLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollLoop").finish_non_exhaustive()
    }
}

fn token(key: DefaultKey) -> u64 {
    key.data().as_ffi()
}

fn key_of(token: u64) -> DefaultKey {
    KeyData::from_ffi(token).into()
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
