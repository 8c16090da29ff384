//! The sockets of many transfers, waited for together.

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep};

use super::readiness::registered;
use super::socket_event::SocketEvent;
use super::sys::Epoll;
use crate::limits::{BUSY_SOCKETS_MIN, SOCKET_ADDED_AGAIN_AFTER, SOCKETS_PER_TURN};

/// Sockets that are waited for together.
///
/// A runtime keeps for each socket that it waits for a state and a task to wake. With a thousand of them none of that is in the processor's cache when
/// a packet comes; here there is nothing but the number that the socket was added with.
///
/// While many have something the runtime isn't told of it either, which costs whoever sends: the set is asked again and again until it has nothing.
#[derive(Debug)]
pub struct SocketSet {
    epoll: Rc<Epoll>,
    /// What the runtime is told by; none while the set is asked.
    registered: RefCell<Option<AsyncFd<Rc<Epoll>>>>,
    /// Until the runtime is asked again that refused.
    pause: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl SocketSet {
    /// An empty set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Unsupported` where the kernel has no such sets; else what it says, or that there is no runtime.
    pub fn new() -> io::Result<Self> {
        let epoll = Rc::new(Epoll::new()?);
        let registered = RefCell::new(Some(registered(Rc::clone(&epoll))?));
        Ok(Self { epoll, registered, pause: RefCell::default() })
    }

    /// Adds a socket. It leaves the set when it is closed, or [removed](Self::remove).
    ///
    /// # Errors
    /// `AlreadyExists` if it is a member, or what the kernel says.
    pub fn add(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        self.epoll.add(socket, token)
    }

    /// Takes a socket out. What has been told of it may still be on its way.
    ///
    /// # Errors
    /// `NotFound` if it is no member.
    pub fn remove(&self, socket: &UdpSocket) -> io::Result<()> {
        self.epoll.remove(socket)
    }

    /// Ready when any of them has something that it had not when it was told of last: these are then in `events`, whose content is lost.
    /// Each is told of once for all that has come: its owner receives until there is no more, or comes back by itself. `true` if there may be more of them, now or
    /// soon: then call again, for nobody is woken.
    ///
    /// # Errors
    /// When the runtime's reactor is gone.
    pub fn poll_events(&self, cx: &mut Context<'_>, events: &mut Vec<SocketEvent>) -> Poll<io::Result<bool>> {
        events.clear();
        let mut registered = self.registered.borrow_mut();
        if registered.is_none() {
            if self.take_ready(events)? || !events.is_empty() {
                return Poll::Ready(Ok(true));
            }
            *registered = self.register_again(cx);
        }
        // (If the kernel has no room for the registration just now, the set is asked again after a
        // pause.)
        let Some(waiting) = &*registered else { return Poll::Pending };
        let mut readiness = ready!(waiting.poll_read_ready(cx))?;
        let more = self.take_ready(events)?;
        if events.len() >= BUSY_SOCKETS_MIN {
            *registered = None;
            return Poll::Ready(Ok(true));
        }
        if !more {
            // (What came since is a new edge, which the reactor hasn't heard of yet.)
            readiness.clear_ready();
        }
        Poll::Ready(Ok(more))
    }

    /// What the kernel says at once. `true` if there may be more.
    fn take_ready(&self, events: &mut Vec<SocketEvent>) -> io::Result<bool> {
        match self.epoll.take_ready(events) {
            // (Taken for "nothing", it would leave what is there until something else comes.)
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            taken => taken.map(|()| events.len() >= SOCKETS_PER_TURN),
        }
    }

    /// Has the runtime told of what comes, unless it refused a moment ago. If it refuses now,
    /// whoever waits is woken after a pause.
    fn register_again(&self, cx: &mut Context<'_>) -> Option<AsyncFd<Rc<Epoll>>> {
        let mut pause = self.pause.borrow_mut();
        loop {
            if pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_pending()) {
                return None;
            }
            *pause = match self.register() {
                None => Some(Box::pin(sleep(SOCKET_ADDED_AGAIN_AFTER))),
                registered => {
                    *pause = None;
                    return registered;
                }
            };
        }
    }

    /// Has the runtime told of what comes, and of what is there already.
    fn register(&self) -> Option<AsyncFd<Rc<Epoll>>> {
        registered(Rc::clone(&self.epoll)).ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
