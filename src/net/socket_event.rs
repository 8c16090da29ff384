//! What the kernel says of a socket that is waited for.

/// A socket that has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketEvent {
    /// The number that it was added with.
    pub token: u64,
    /// There may be something in its error queue.
    pub error: bool,
}
