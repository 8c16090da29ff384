//! Waiting for a socket without allocating for each wait.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio_util::sync::ReusableBoxFuture;

type Registered = Arc<AsyncFd<Arc<UdpSocket>>>;

/// A socket's registration with the runtime of the thread it was made on.
///
/// `AsyncFd::poll_read_ready` sleeps through an event that is an error alone, and readiness to write would wake for
/// every packet that has left; so the wait is for "readable or error", whose future is kept and used again.
#[derive(Debug)]
pub(super) struct Readiness {
    registered: Registered,
    event: ReusableBoxFuture<'static, io::Result<Ready>>,
    /// An event said that there is something in the error queue: without one it isn't asked, which saves a system call a packet.
    pub(super) errors: bool,
}

impl Readiness {
    /// Registers the socket. Must be called inside a tokio runtime, and once at a time for each runtime.
    pub(super) fn new(socket: Arc<UdpSocket>) -> io::Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(io::Error::other("a socket can only be waited for inside a tokio runtime"));
        }
        let interest = Interest::READABLE | Interest::ERROR;
        #[expect(
            deprecated,
            reason = "its successor is unsafe: it wants a descriptor that stays open and the same, which an Arc<UdpSocket> is"
        )]
        let registered = Arc::new(AsyncFd::with_interest(socket, interest)?);
        let event = ReusableBoxFuture::new(next_event(Arc::clone(&registered)));
        Ok(Self { registered, event, errors: false })
    }

    pub(super) fn socket(&self) -> &Arc<UdpSocket> {
        self.registered.get_ref()
    }

    /// Ready once for each burst of events since the last time.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = std::task::ready!(self.event.poll(cx));
        self.event.set(next_event(Arc::clone(&self.registered)));
        self.errors |= ready?.is_error();
        Poll::Ready(Ok(()))
    }
}

async fn next_event(registered: Registered) -> io::Result<Ready> {
    let mut guard = registered.ready(Interest::READABLE | Interest::ERROR).await?;
    let ready = guard.ready();
    // Before anything is read: what arrives from here on is a new edge, and wakes again.
    guard.clear_ready();
    Ok(ready)
}
