//! Events of sockets.

/// A socket with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketEvent {
    /// The token that the socket was added with.
    pub token: u64,
    /// Whether there may be something in the error queue.
    pub error: bool,
}
