//! The sockets of many transfers, waited for together.

use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use super::readiness::registered;
use super::sys::Epoll;
use crate::limits::SOCKETS_PER_TURN;

/// Sockets that are waited for together.
///
/// A runtime keeps for each socket that it waits for a state and a task to wake. With a thousand of them none of that is in the processor's cache when
/// a packet comes; here there is nothing but the number that the socket was added with.
#[derive(Debug)]
pub struct SocketSet(AsyncFd<Epoll>);

/// A socket that has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketEvent {
    /// The number that it was added with.
    pub token: u64,
    /// There may be something in its error queue.
    pub error: bool,
    /// It was [added beside](SocketSet::add_beside) another.
    pub strangers: bool,
}

impl SocketSet {
    /// An empty set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Unsupported` where the kernel has no such sets; else what it says, or that there is no runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self(registered(Epoll::new()?)?))
    }

    /// Adds a socket. It leaves the set when it is closed, or [removed](Self::remove).
    ///
    /// # Errors
    /// `AlreadyExists` if it is a member, or what the kernel says.
    pub fn add(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        self.0.get_ref().add(socket, token)
    }

    /// Adds the socket that hears the strangers of one that was added with the same number.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_beside(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        self.0.get_ref().add_beside(socket, token)
    }

    /// Takes a socket out. What has been told of it may still be on its way.
    ///
    /// # Errors
    /// `NotFound` if it is no member.
    pub fn remove(&self, socket: &UdpSocket) -> io::Result<()> {
        self.0.get_ref().remove(socket)
    }

    /// Ready when any of them has something that it had not when it was told of last: these are then in `events`, whose content is lost.
    /// Each is told of once for all that has come: its owner receives until there is no more, or comes back by itself. `true` if there may be more of them:
    /// then call again, for nobody is woken.
    ///
    /// # Errors
    /// When the runtime's reactor is gone.
    pub fn poll_events(&self, cx: &mut Context<'_>, events: &mut Vec<SocketEvent>) -> Poll<io::Result<bool>> {
        events.clear();
        let mut readiness = ready!(self.0.poll_read_ready(cx))?;
        let more = match readiness.get_inner().take_ready(events) {
            // (Taken for "nothing", it would leave what is there until something else comes.)
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            taken => taken.map(|()| events.len() >= SOCKETS_PER_TURN)?,
        };
        if !more {
            // (What came since is a new edge, which the reactor hasn't heard of yet.)
            readiness.clear_ready();
        }
        Poll::Ready(Ok(more))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
