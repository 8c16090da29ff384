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
/// driver, its lease and its machine, and nothing of the actor around them: neither a task, nor a mailbox, nor a timer. (With a thousand sessions none of
/// these is in the processor's cache when a packet comes.)
///
/// A panic in a driver is its session's: that one is told, and panics with the same words; no other session notices.
pub(crate) struct Switchboard {
    /// `None` where sockets can't be waited for together: each session has to look after its own.
    set: Option<SocketSet>,
    /// Links that share a socket, which somebody else receives from; `None` as long as there was none, for nobody else is to pay for the look.
    sharing: RefCell<Option<Arc<ReadyList>>>,
    lines: RefCell<Lines>,
    schedule: RefCell<Schedule>,
    /// When to look whose deadline has passed. A deadline that moves away leaves this where it is: a transfer that gets on costs nothing here.
    look_at: Cell<Option<Instant>>,
}

type Lines = SlotMap<DefaultKey, Line>;

struct Line {
    driver: Rc<RefCell<Driver>>,
    session: SessionAddr,
    /// The driver's deadline, as it was last left.
    deadline: Cell<Option<Instant>>,
    /// The session has been told that it has passed, and hasn't heard of it yet.
    is_told: Cell<bool>,
}

/// What the board's task has to do besides the sockets.
#[derive(Default)]
struct Schedule {
    /// Those who had more to take than fits a turn, each once.
    again: Vec<DefaultKey>,
    /// The board's task, which sleeps until the first of them.
    waker: Option<Waker>,
}

/// A session's line, given back when dropped.
pub(crate) struct Connection {
    switchboard: Rc<Switchboard>,
    line: DefaultKey,
    has_socket: bool,
    /// The board hears of what the link has.
    pub(crate) is_heard: bool,
}

/// What the board's task has at hand.
struct Desk {
    events: Vec<SocketEvent>,
    sharing: Vec<u64>,
    sleep: Pin<Box<Sleep>>,
}

impl Switchboard {
    /// A board for the sessions of this arbiter, which works until the arbiter ends. If it panics itself, which no session can make it do, it goes on
    /// after a pause; what it had in hand is then like a lost packet.
    pub(crate) fn start(service: &Arc<Service>) -> Rc<Self> {
        let switchboard = Rc::new(Self {
            set: SocketSet::new().ok(),
            sharing: RefCell::default(),
            lines: RefCell::default(),
            schedule: RefCell::default(),
            look_at: Cell::default(),
        });
        let (board, service) = (Rc::clone(&switchboard), Arc::clone(service));
        actix::spawn(async move {
            let events = Vec::with_capacity(limits::SOCKETS_PER_TURN);
            let asleep = Box::pin(sleep_until(Instant::now()));
            let mut desk = Desk { events, sharing: Vec::new(), sleep: asleep };
            while let Err(panic) = poll_fn(|cx| board.caught_poll(cx, &mut desk)).await {
                service.observe(&Fact::Crashed { actor: "switchboard", transfer: None, panic: &panic });
                sleep(limits::SWITCHBOARD_PAUSE).await;
            }
        });
        switchboard
    }

    /// From now on the driver is told of what comes, and the session of its errands.
    pub(crate) fn connect(self: &Rc<Self>, driver: &Rc<RefCell<Driver>>) -> Connection {
        let session = driver.borrow().session.clone();
        let line = self.lines.borrow_mut().insert(Line {
            driver: Rc::clone(driver),
            session,
            deadline: Cell::default(),
            is_told: Cell::default(),
        });
        let mut driver = driver.borrow_mut();
        let added =
            self.set.as_ref().zip(driver.link.socket()).map(|(set, socket)| set.add(socket, token(line)));
        let has_socket = added.is_some_and(|added| added.is_ok());
        let is_heard = has_socket || self.share(&mut driver, line);
        Connection { switchboard: Rc::clone(self), line, has_socket, is_heard }
    }

    /// Has the board hear of a link that shares a socket. `false` if it is no such link.
    fn share(&self, driver: &mut Driver, line: DefaultKey) -> bool {
        let mut sharing = self.sharing.borrow_mut();
        let list = sharing.clone().unwrap_or_default();
        let has_joined = driver.link.join(&list, token(line));
        if has_joined && sharing.replace(list).is_none() {
            // The board's task has not looked there yet.
            self.schedule.borrow_mut().wake();
        }
        has_joined
    }

    fn caught_poll(&self, cx: &mut Context<'_>, desk: &mut Desk) -> Poll<Result<(), String>> {
        match caught(|| self.poll(cx, desk)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }

    fn poll(&self, cx: &mut Context<'_>, desk: &mut Desk) -> Poll<()> {
        let again = std::mem::take(&mut self.schedule.borrow_mut().again);
        for line in again {
            if let Some(driver) = self.driver(line) {
                let mut driver = driver.borrow_mut();
                driver.is_queued = false;
                self.serve(line, &mut driver, Driver::turn);
            }
        }
        let more = match &self.set {
            Some(set) => match self.serve_ready(set, cx, desk) {
                Ok(more) => more,
                // The reactor is gone, and everything with it.
                Err(_) => return Poll::Ready(()),
            },
            None => false,
        };
        let more = self.serve_sharing(cx, desk) || more;
        self.look(cx, &mut desk.sleep);
        if more || !self.schedule.borrow().again.is_empty() {
            // Timers and messages have their turn first. (Woken at once, this task would have many before the runtime looks for those.)
            let _ = pin!(yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// Serves the sockets that have something, a turn's worth. `true` if there may be more.
    fn serve_ready(&self, set: &SocketSet, cx: &mut Context<'_>, desk: &mut Desk) -> io::Result<bool> {
        loop {
            let Poll::Ready(polled) = set.poll_events(cx, &mut desk.events) else { return Ok(false) };
            let more = polled?;
            desk.events.iter().for_each(|event| self.on_event(*event));
            if more {
                return Ok(true);
            }
        }
    }

    /// Serves the links without a socket of their own that have something, a turn's worth. `true` if there may be more.
    fn serve_sharing(&self, cx: &mut Context<'_>, desk: &mut Desk) -> bool {
        let Some(sharing) = self.sharing.borrow().clone() else { return false };
        let is_ready = sharing.poll_ready(cx, &mut desk.sharing).is_ready();
        if is_ready {
            desk.sharing.iter().for_each(|&token| self.on_event(SocketEvent { token, error: false }));
        }
        is_ready
    }

    fn on_event(&self, event: SocketEvent) {
        let line = line(event.token);
        let Some(driver) = self.driver(line) else { return };
        self.serve(line, &mut driver.borrow_mut(), |driver| {
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
    fn serve(&self, line: DefaultKey, driver: &mut Driver, step: impl FnOnce(&mut Driver)) {
        if let Err(panic) = caught(|| step(driver)) {
            driver.set_panicked(panic);
        }
        self.follow_up(line, driver);
    }

    /// Sees to what a driver can't do itself, after whatever it did.
    fn follow_up(&self, line: DefaultKey, driver: &mut Driver) {
        self.schedule_look(line, driver.deadline);
        if driver.backlog && !std::mem::replace(&mut driver.is_queued, true) {
            self.schedule.borrow_mut().add_again(line);
        }
        if driver.is_to_tell() {
            self.tell(line, SessionMessage::Attend);
        }
    }

    /// Looks whose deadline has passed, and sleeps until it may be another's.
    fn look(&self, cx: &mut Context<'_>, sleep: &mut Pin<Box<Sleep>>) {
        loop {
            let now = Instant::now();
            if self.look_at.get().is_some_and(|at| at <= now) {
                self.look_at_all(now);
            }
            let mut schedule = self.schedule.borrow_mut();
            let Some(next) = self.look_at.get() else { return schedule.note(cx) };
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
    fn look_at_all(&self, now: Instant) {
        let lines = self.lines.borrow();
        let mut next = None;
        for line in lines.values().filter(|line| !line.is_told.get()) {
            match line.deadline.get() {
                Some(deadline) if deadline <= now => {
                    line.is_told.set(true);
                    line.session.do_send(SessionMessage::DeadlinePassed);
                }
                Some(deadline) => next = Some(next.map_or(deadline, |next: Instant| next.min(deadline))),
                None => {}
            }
        }
        let pause = limits::LOOK_PAUSE_PER_SESSION * u32::try_from(lines.len()).unwrap_or(u32::MAX);
        self.look_at.set(next.map(|next| next.max(now + pause)));
    }

    /// Sees to it that somebody looks in time.
    fn schedule_look(&self, line: DefaultKey, deadline: Option<Instant>) {
        if let Some(line) = self.lines.borrow().get(line) {
            line.deadline.set(deadline);
            if line.is_told.get() {
                // It is asked for anew when the session has heard of the one before.
                return;
            }
        }
        let is_late = |deadline: &Instant| self.look_at.get().is_none_or(|at| at > *deadline);
        if let Some(deadline) = deadline.filter(is_late) {
            self.look_at.set(Some(deadline));
            self.schedule.borrow_mut().wake();
        }
    }

    fn driver(&self, line: DefaultKey) -> Option<Rc<RefCell<Driver>>> {
        // What is told of a socket, or asked for, may still be on its way when its session is gone.
        self.lines.borrow().get(line).map(|line| Rc::clone(&line.driver))
    }

    /// Not by `try_send`: who calls this sees to it that there is one such message at most.
    fn tell(&self, line: DefaultKey, message: SessionMessage) {
        if let Some(line) = self.lines.borrow().get(line) {
            line.session.do_send(message);
        }
    }
}

impl Schedule {
    fn add_again(&mut self, line: DefaultKey) {
        self.again.push(line);
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

impl Connection {
    /// Sees to what the session's driver can't do itself.
    pub(crate) fn follow_up(&self, driver: &mut Driver) {
        self.switchboard.follow_up(self.line, driver);
    }

    /// The session has heard that the deadline has passed: its next one, which follows, is looked at again.
    pub(crate) fn on_deadline_heard(&self) {
        if let Some(line) = self.switchboard.lines.borrow().get(self.line) {
            line.is_told.set(false);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(line) = self.switchboard.lines.borrow_mut().remove(self.line) else { return };
        let driver = line.driver.borrow();
        if self.has_socket
            && let (Some(set), Some(socket)) = (&self.switchboard.set, driver.link.socket())
        {
            let _ = set.remove(socket);
        }
    }
}

/// A line, as the set of sockets knows it.
fn token(line: DefaultKey) -> u64 {
    line.data().as_ffi()
}

fn line(token: u64) -> DefaultKey {
    KeyData::from_ffi(token).into()
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("line", &self.line).finish_non_exhaustive()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
