//! Waiting for a socket without allocating for each wait.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket's registration with the runtime of the thread it was made on.
///
/// To wait for "readable" is to sleep through an event that is an error alone. tokio takes such an event for the end of writing, and tells of that
/// once: a state that is never left.
#[derive(Debug)]
pub(super) struct Readiness {
    registered: AsyncFd<Arc<UdpSocket>>,
    /// There was an error alone: whether there are more is not told any more, and has to be looked for. Nearly all sockets are
    /// spared the system call.
    pub(super) errors: bool,
}

impl Readiness {
    /// Registers the socket. Must be called inside a tokio runtime, and once at a time for each runtime.
    pub(super) fn new(socket: Arc<UdpSocket>) -> io::Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(io::Error::other("a socket can only be waited for inside a tokio runtime"));
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe: it wants a descriptor that stays open and the same, which an Arc<UdpSocket> is"
        )]
        let registered = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { registered, errors: false })
    }

    pub(super) fn socket(&self) -> &Arc<UdpSocket> {
        self.registered.get_ref()
    }

    /// Ready once for each burst of datagrams since the last time, and for the first error.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.errors && self.registered.poll_write_ready(cx)?.is_ready() {
            self.errors = true;
            return Poll::Ready(Ok(()));
        }
        // Before anything is read: what arrives from here on is a new edge, and wakes again.
        ready!(self.registered.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}
