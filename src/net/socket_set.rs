//! The sockets of many transfers, polled together.

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep};

use super::readiness::registered;
use super::sys;
use crate::limits::{BUSY_SOCKETS_MIN, SOCKET_ADDED_AGAIN_AFTER, SOCKETS_PER_TURN};

/// A set of sockets that are polled together. It has only a token for each socket, where a runtime
/// has a state and a waker, which are in no cache when a packet of one among a thousand arrives.
///
/// While many sockets are ready, the runtime is not notified either, which would cost the senders:
/// the set is polled until no socket is ready.
#[derive(Debug)]
pub struct SocketSet {
    epoll: Rc<OwnedFd>,
    /// The registration with the runtime; `None` while the set is polled.
    registered: RefCell<Option<AsyncFd<Rc<OwnedFd>>>>,
    /// Delay before the next attempt after a refused registration.
    pause: RefCell<Option<Pin<Box<Sleep>>>>,
}

impl SocketSet {
    /// An empty set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Unsupported` if the kernel has no such sets, its error, or that there is no runtime.
    pub fn new() -> io::Result<Self> {
        let epoll = Rc::new(sys::new_epoll()?);
        let registered = RefCell::new(Some(registered(Rc::clone(&epoll))?));
        Ok(Self { epoll, registered, pause: RefCell::default() })
    }

    /// Adds a socket. It leaves the set when it is closed or [removed](Self::remove).
    ///
    /// # Errors
    /// `AlreadyExists` for a member, or the kernel's error.
    pub fn add(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        sys::add_to_epoll(&self.epoll, socket, token)
    }

    /// Removes a socket. Events that were reported before may still be pending.
    ///
    /// # Errors
    /// `NotFound` if the socket is not a member.
    pub fn remove(&self, socket: &UdpSocket) -> io::Result<()> {
        sys::remove_from_epoll(&self.epoll, socket)
    }

    /// Ready when sockets have received something since they were last reported, which replace the
    /// content of `events`. The owner of each receives until there is no more, or comes back by
    /// itself. `true` if more may be ready, now or soon: then call again, as the task is not woken.
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
        sys::take_ready(&self.epoll, events)?;
        Ok(events.len() >= SOCKETS_PER_TURN)
    }

    /// Registers with the runtime, which reports pending events too. If that is refused, now or a
    /// moment ago, the task is woken after a pause.
    fn register_again(&self, cx: &mut Context<'_>) -> Option<AsyncFd<Rc<OwnedFd>>> {
        let mut pause = self.pause.borrow_mut();
        loop {
            if pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_pending()) {
                return None;
            }
            let registered = registered(Rc::clone(&self.epoll)).ok();
            *pause = registered.is_none().then(|| Box::pin(sleep(SOCKET_ADDED_AGAIN_AFTER)));
            if registered.is_some() {
                return registered;
            }
        }
    }
}

/// A socket with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketEvent {
    /// The token that the socket was added with.
    pub token: u64,
    /// Whether there may be something in the error queue.
    pub error: bool,
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
