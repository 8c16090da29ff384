//! The sockets of many transfers, polled together.

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

/// A set of sockets that are polled together.
///
/// A runtime has a state and a waker for each registered socket. With a thousand sockets, none of
/// that is in the processor's cache when a packet arrives. A set only has a token for each socket.
///
/// While many sockets are ready, the runtime is not notified either, which would cost the senders:
/// the set is polled until no socket is ready.
#[derive(Debug)]
pub struct SocketSet {
    epoll: Rc<Epoll>,
    /// The registration with the runtime; `None` while the set is polled.
    registered: RefCell<Option<AsyncFd<Rc<Epoll>>>>,
    /// Delay before the next attempt after a refused registration.
    pause: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl SocketSet {
    /// An empty set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Unsupported` if the kernel has no such sets, its error, or that there is no runtime.
    pub fn new() -> io::Result<Self> {
        let epoll = Rc::new(Epoll::new()?);
        let registered = RefCell::new(Some(registered(Rc::clone(&epoll))?));
        Ok(Self { epoll, registered, pause: RefCell::default() })
    }

    /// Adds a socket. It leaves the set when it is closed or [removed](Self::remove).
    ///
    /// # Errors
    /// `AlreadyExists` for a member, or the kernel's error.
    pub fn add(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        self.epoll.add(socket, token)
    }

    /// Removes a socket. Events that were reported before may still be pending.
    ///
    /// # Errors
    /// `NotFound` if the socket is not a member.
    pub fn remove(&self, socket: &UdpSocket) -> io::Result<()> {
        self.epoll.remove(socket)
    }

    /// Ready when a socket has received something since it was last reported. The content of
    /// `events` is replaced with these sockets. Each is reported once, however much it has
    /// received: its owner receives until there is no more, or comes back by itself. `true` if more
    /// sockets may be ready, now or soon: then call again, because the task is not woken.
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
        // If the kernel has no room for the registration now, the set is polled after a pause.
        let Some(waiting) = &*registered else { return Poll::Pending };
        let mut readiness = ready!(waiting.poll_read_ready(cx))?;
        let more = self.take_ready(events)?;
        if events.len() >= BUSY_SOCKETS_MIN {
            *registered = None;
            return Poll::Ready(Ok(true));
        }
        if !more {
            // What arrived since is a new edge, which the reactor hasn't seen yet.
            readiness.clear_ready();
        }
        Poll::Ready(Ok(more))
    }

    /// Takes the events of the kernel without waiting. `true` if there may be more.
    fn take_ready(&self, events: &mut Vec<SocketEvent>) -> io::Result<bool> {
        match self.epoll.take_ready(events) {
            // As "no events", this would delay the present ones until another arrives.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            taken => taken.map(|()| events.len() >= SOCKETS_PER_TURN),
        }
    }

    /// Registers with the runtime, unless that was refused a moment ago. If it is refused now, the
    /// task is woken after a pause.
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

    /// Registers with the runtime; events that are pending already are reported too.
    fn register(&self) -> Option<AsyncFd<Rc<Epoll>>> {
        registered(Rc::clone(&self.epoll)).ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
