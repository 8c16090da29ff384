//! Waiting for a socket without allocating for each wait.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket's registration with the runtime of the thread it was made on.
///
/// To wait for "readable" is to sleep through an event that is an error alone. tokio takes such an event for the end of writing, a state that a
/// registration never leaves: so the socket is registered anew after it, which only those have to pay for whose peers, or strangers, are gone.
#[derive(Debug)]
pub(super) struct Readiness {
    socket: Arc<UdpSocket>,
    /// `None` if it could not be made anew.
    registered: Option<AsyncFd<Arc<UdpSocket>>>,
}

impl Readiness {
    /// Registers the socket. Must be called inside a tokio runtime, and once at a time for each runtime.
    pub(super) fn new(socket: Arc<UdpSocket>) -> io::Result<Self> {
        let registered = Some(register(&socket)?);
        Ok(Self { socket, registered })
    }

    pub(super) fn socket(&self) -> &Arc<UdpSocket> {
        &self.socket
    }

    /// Ready once for each burst of events since the last time; with `true` if there is something in the error queue.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(registered) = &self.registered else {
            return Poll::Ready(Err(io::Error::other("the socket is not registered any more")));
        };
        if registered.poll_write_ready(cx)?.is_ready() {
            // The old one must be gone before.
            self.registered = None;
            self.registered = Some(register(&self.socket)?);
            return Poll::Ready(Ok(true));
        }
        // Before anything is read: what arrives from here on is a new edge, and wakes again.
        ready!(registered.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(false))
    }
}

fn register(socket: &Arc<UdpSocket>) -> io::Result<AsyncFd<Arc<UdpSocket>>> {
    registered(Arc::clone(socket))
}

/// A descriptor's registration with the runtime of this thread.
pub(super) fn registered<D: AsRawFd>(descriptor: D) -> io::Result<AsyncFd<D>> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(io::Error::other("a socket can only be waited for inside a tokio runtime"));
    }
    #[cfg(test)]
    if REFUSED.get() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    #[expect(
        deprecated,
        reason = "its successor is unsafe: it wants a descriptor that stays open and the same, which an Arc<UdpSocket> and a set of our own are"
    )]
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

#[cfg(test)]
thread_local! {
    static REFUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on registrations fail on this thread, or don't.
#[cfg(test)]
pub(crate) fn refuse_registrations(are_refused: bool) {
    REFUSED.set(are_refused);
}
