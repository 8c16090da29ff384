//! What wakes the sessions of an arbiter: one set of their sockets, instead of a task for each.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slotmap::{DefaultKey, Key, KeyData, SlotMap};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::engine::driver::Driver;
use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::engine::service::Service;
use crate::limits;
use crate::net::{ReadyList, SocketEvent, SocketSet};
use crate::observe::Fact;
use crate::supervision::caught;

/// Has the driver of a session take what its socket has, and sends the session a message when its deadline passes. A packet of a transfer touches its
/// driver, its shared transfer and its machine, and nothing of the actor around them: neither a task, nor a mailbox, nor a timer. (With a thousand sessions none of
/// these is in the processor's cache when a packet comes.)
///
/// A panic in a driver is its session's: that one is told, and panics with the same words; no other session notices.
pub(crate) struct PollLoop {
    /// `None` where sockets can't be waited for together: each session has to look after its own.
    set: Option<SocketSet>,
    /// Links that share a socket, which somebody else receives from; `None` as long as there was none, for nobody else is to pay for the look.
    sharing: RefCell<Option<Arc<ReadyList>>>,
    entries: RefCell<Entries>,
    schedule: RefCell<Schedule>,
    /// When to look whose deadline has passed. A deadline that moves away leaves this where it is: a transfer that gets on costs nothing here.
    next_check: Cell<Option<Instant>>,
}

type Entries = SlotMap<DefaultKey, Entry>;

struct Entry {
    driver: Rc<RefCell<Driver>>,
    session: SessionAddr,
    /// The driver's deadline, as it was last left.
    deadline: Cell<Option<Instant>>,
    /// The session has been told that it has passed, and hasn't heard of it yet.
    is_notified: Cell<bool>,
}

/// What the poll loop's task has to do besides the sockets.
#[derive(Default)]
struct Schedule {
    /// Those who had more to take than fits a turn, each once.
    again: Vec<DefaultKey>,
    /// The poll loop, which sleeps until the first of them.
    waker: Option<Waker>,
}

/// A session's key, given back when dropped.
pub(crate) struct Registration {
    poll_loop: Rc<PollLoop>,
    key: DefaultKey,
    has_socket: bool,
    /// The board hears of what the link has.
    pub(crate) is_polled: bool,
}

/// What the poll loop's task has at hand.
struct Buffers {
    events: Vec<SocketEvent>,
    sharing: Vec<u64>,
    sleep: Pin<Box<Sleep>>,
}

impl PollLoop {
    /// A board for the sessions of this arbiter, which works until the arbiter ends. If it panics itself, which no session can make it do, it goes on
    /// after a pause; what it had in hand is then like a lost packet.
    pub(crate) fn start(service: &Arc<Service>) -> Rc<Self> {
        let poll_loop = Rc::new(Self {
            set: SocketSet::new().ok(),
            sharing: RefCell::default(),
            entries: RefCell::default(),
            schedule: RefCell::default(),
            next_check: Cell::default(),
        });
        let (polled, service) = (Rc::clone(&poll_loop), Arc::clone(service));
        actix::spawn(async move {
            let events = Vec::with_capacity(limits::SOCKETS_PER_TURN);
            let asleep = Box::pin(sleep_until(Instant::now()));
            let mut buffers = Buffers { events, sharing: Vec::new(), sleep: asleep };
            while let Err(panic) = poll_fn(|cx| polled.caught_poll(cx, &mut buffers)).await {
                service.observe(&Fact::Crashed { actor: "poll_loop", transfer: None, panic: &panic });
                sleep(limits::POLL_LOOP_PAUSE).await;
            }
        });
        poll_loop
    }

    /// From now on the driver is told of what comes, and the session of its deferred.
    pub(crate) fn register(self: &Rc<Self>, driver: &Rc<RefCell<Driver>>) -> Registration {
        let session = driver.borrow().session.clone();
        let key = self.entries.borrow_mut().insert(Entry {
            driver: Rc::clone(driver),
            session,
            deadline: Cell::default(),
            is_notified: Cell::default(),
        });
        let mut driver = driver.borrow_mut();
        let added =
            self.set.as_ref().zip(driver.link.socket()).map(|(set, socket)| set.add(socket, token(key)));
        let has_socket = added.is_some_and(|added| added.is_ok());
        let is_polled = has_socket || self.share(&mut driver, key);
        Registration { poll_loop: Rc::clone(self), key, has_socket, is_polled }
    }

    /// Has the poll loop hear of a link that shares a socket. `false` if it is no such link.
    fn share(&self, driver: &mut Driver, key: DefaultKey) -> bool {
        let mut sharing = self.sharing.borrow_mut();
        let list = sharing.clone().unwrap_or_default();
        let has_joined = driver.link.join(&list, token(key));
        if has_joined && sharing.replace(list).is_none() {
            // The poll loop has not looked there yet.
            self.schedule.borrow_mut().wake();
        }
        has_joined
    }

    fn caught_poll(&self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<Result<(), String>> {
        match caught(|| self.poll(cx, buffers)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }

    fn poll(&self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<()> {
        let again = std::mem::take(&mut self.schedule.borrow_mut().again);
        for key in again {
            if let Some(driver) = self.driver(key) {
                let mut driver = driver.borrow_mut();
                driver.is_queued = false;
                self.serve(key, &mut driver, Driver::turn);
            }
        }
        let more = match &self.set {
            Some(set) => match self.serve_ready(set, cx, buffers) {
                Ok(more) => more,
                // The reactor is gone, and everything with it.
                Err(_) => return Poll::Ready(()),
            },
            None => false,
        };
        let more = self.serve_sharing(cx, buffers) || more;
        self.check_deadlines(cx, &mut buffers.sleep);
        if more || !self.schedule.borrow().again.is_empty() {
            // Timers and messages have their turn first. (Woken at once, this task would have many before the runtime looks for those.)
            let _ = pin!(yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// Serves the sockets that have something, a turn's worth. `true` if there may be more.
    fn serve_ready(&self, set: &SocketSet, cx: &mut Context<'_>, buffers: &mut Buffers) -> io::Result<bool> {
        loop {
            let Poll::Ready(polled) = set.poll_events(cx, &mut buffers.events) else { return Ok(false) };
            let more = polled?;
            buffers.events.iter().for_each(|event| self.on_event(*event));
            if more {
                return Ok(true);
            }
        }
    }

    /// Serves the links without a socket of their own that have something, a turn's worth. `true` if there may be more.
    fn serve_sharing(&self, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        let Some(sharing) = self.sharing.borrow().clone() else { return false };
        let is_ready = sharing.poll_ready(cx, &mut buffers.sharing).is_ready();
        if is_ready {
            buffers.sharing.iter().for_each(|&token| self.on_event(SocketEvent { token, error: false }));
        }
        is_ready
    }

    fn on_event(&self, event: SocketEvent) {
        let key = key(event.token);
        let Some(driver) = self.driver(key) else { return };
        self.serve(key, &mut driver.borrow_mut(), |driver| {
            if event.error {
                driver.link.expect_errors();
            }
            // One that is to have another turn has it then, and takes what has come since.
            if !driver.is_queued {
                driver.turn();
            }
        });
    }

    /// Has one driver take a step, which may panic: of that its session is told.
    fn serve(&self, key: DefaultKey, driver: &mut Driver, step: impl FnOnce(&mut Driver)) {
        if let Err(panic) = caught(|| step(driver)) {
            driver.set_panicked(panic);
        }
        self.follow_up(key, driver);
    }

    /// Sees to what a driver can't do itself, after whatever it did.
    fn follow_up(&self, key: DefaultKey, driver: &mut Driver) {
        self.schedule_check(key, driver.deadline);
        if driver.backlog && !std::mem::replace(&mut driver.is_queued, true) {
            self.schedule.borrow_mut().add_again(key);
        }
        if driver.needs_session() {
            self.send(key, SessionMessage::Attend);
        }
    }

    /// Looks whose deadline has passed, and sleeps until it may be another's.
    fn check_deadlines(&self, cx: &mut Context<'_>, sleep: &mut Pin<Box<Sleep>>) {
        loop {
            let now = Instant::now();
            if self.next_check.get().is_some_and(|at| at <= now) {
                self.check_all_deadlines(now);
            }
            let mut schedule = self.schedule.borrow_mut();
            let Some(next) = self.next_check.get() else { return schedule.note(cx) };
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return schedule.note(cx);
            }
        }
    }

    /// Tells those whose deadline has passed. To look at all of them, one beside the other in memory, takes less than to keep them in order: with a thousand
    /// sessions in lock-step every third packet would have moved one. The more there are, the longer is the pause until the next time.
    fn check_all_deadlines(&self, now: Instant) {
        let entries = self.entries.borrow();
        let mut next = None;
        for key in entries.values().filter(|key| !key.is_notified.get()) {
            match key.deadline.get() {
                Some(deadline) if deadline <= now => {
                    key.is_notified.set(true);
                    key.session.do_send(SessionMessage::DeadlinePassed);
                }
                Some(deadline) => next = Some(next.map_or(deadline, |next: Instant| next.min(deadline))),
                None => {}
            }
        }
        let pause = limits::CHECK_PAUSE_PER_SESSION * u32::try_from(entries.len()).unwrap_or(u32::MAX);
        self.next_check.set(next.map(|next| next.max(now + pause)));
    }

    /// Sees to it that somebody looks in time.
    fn schedule_check(&self, key: DefaultKey, deadline: Option<Instant>) {
        if let Some(key) = self.entries.borrow().get(key) {
            key.deadline.set(deadline);
            if key.is_notified.get() {
                // It is asked for anew when the session has heard of the one before.
                return;
            }
        }
        let is_late = |deadline: &Instant| self.next_check.get().is_none_or(|at| at > *deadline);
        if let Some(deadline) = deadline.filter(is_late) {
            self.next_check.set(Some(deadline));
            self.schedule.borrow_mut().wake();
        }
    }

    fn driver(&self, key: DefaultKey) -> Option<Rc<RefCell<Driver>>> {
        // What is told of a socket, or asked for, may still be on its way when its session is gone.
        self.entries.borrow().get(key).map(|key| Rc::clone(&key.driver))
    }

    /// Not by `try_send`: who calls this sees to it that there is one such message at most.
    fn send(&self, key: DefaultKey, message: SessionMessage) {
        if let Some(key) = self.entries.borrow().get(key) {
            key.session.do_send(message);
        }
    }
}

impl Schedule {
    fn add_again(&mut self, key: DefaultKey) {
        self.again.push(key);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// An earlier look wakes this task.
    fn note(&mut self, cx: &Context<'_>) {
        if self.waker.is_none() {
            self.waker = Some(cx.waker().clone());
        }
    }
}

impl Registration {
    /// Sees to what the session's driver can't do itself.
    pub(crate) fn follow_up(&self, driver: &mut Driver) {
        self.poll_loop.follow_up(self.key, driver);
    }

    /// The session has heard that the deadline has passed: its next one, which follows, is looked at again.
    pub(crate) fn on_deadline_heard(&self) {
        if let Some(key) = self.poll_loop.entries.borrow().get(self.key) {
            key.is_notified.set(false);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(key) = self.poll_loop.entries.borrow_mut().remove(self.key) else { return };
        let driver = key.driver.borrow();
        if self.has_socket
            && let (Some(set), Some(socket)) = (&self.poll_loop.set, driver.link.socket())
        {
            let _ = set.remove(socket);
        }
    }
}

/// A key, as the set of sockets knows it.
fn token(key: DefaultKey) -> u64 {
    key.data().as_ffi()
}

fn key(token: u64) -> DefaultKey {
    KeyData::from_ffi(token).into()
}

impl fmt::Debug for PollLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollLoop").finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
