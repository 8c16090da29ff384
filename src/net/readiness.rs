//! Waiting for a socket without an allocation for each wait.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket's registration with the runtime of the thread that made it.
///
/// An event with only an error doesn't make a socket readable. tokio treats such an event as the
/// end of writing, a state that a registration never leaves. So the socket is registered again
/// after it, which only costs transfers whose peers, or strangers, are gone.
#[derive(Debug)]
pub(super) struct Readiness {
    socket: Arc<UdpSocket>,
    /// `None` if registering again failed.
    registered: Option<AsyncFd<Arc<UdpSocket>>>,
}

impl Readiness {
    /// Registers the socket. Must be called inside a tokio runtime, once at a time for each.
    pub(super) fn new(socket: Arc<UdpSocket>) -> io::Result<Self> {
        let registered = Some(registered(Arc::clone(&socket))?);
        Ok(Self { socket, registered })
    }

    pub(super) fn socket(&self) -> &Arc<UdpSocket> {
        &self.socket
    }

    /// Ready once for each burst of events; `true` if the error queue may have entries.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(waiting) = &self.registered else {
            return Poll::Ready(Err(io::Error::other("the socket is not registered any more")));
        };
        if waiting.poll_write_ready(cx)?.is_ready() {
            // Dropped first: a socket has one registration at most.
            self.registered = None;
            self.registered = Some(registered(Arc::clone(&self.socket))?);
            return Poll::Ready(Ok(true));
        }
        // Cleared before any read: what arrives from here on is a new edge and wakes again.
        ready!(waiting.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(false))
    }
}

/// Registers a descriptor with the runtime of this thread.
pub(super) fn registered<D: AsRawFd>(descriptor: D) -> io::Result<AsyncFd<D>> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(io::Error::other("a socket can only be waited for inside a tokio runtime"));
    }
    #[cfg(test)]
    if super::test_support::are_registrations_refused() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    #[expect(
        deprecated,
        reason = "its successor is unsafe: the descriptor must stay open and unchanged, which Arc<UdpSocket> and Epoll guarantee"
    )]
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
