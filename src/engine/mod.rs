//! What the actors drive: the state of transfers, the loop that waits for their sockets, and the
//! files that they read and write.
//!
//! | module | what lives there |
//! |---|---|
//! | `admission` | what becomes of a request, and the table of the peers that are served |
//! | `transfers` | a transfer as it outlives its session, and the tables of transfers |
//! | `driver` | feeds datagrams to a transfer's machine, and does what the machine says |
//! | `poll_loop` | waits for the sockets and deadlines of all sessions of a thread |
//! | `files` | the actors that read and write files, and calls to stores that may wait |
//! | `extensions` | how routes, negotiators and opcodes are asked |
//! | `service` | what all actors of a server share |
//! | `messages` | what a session is told |
//!
//! Nothing here knows the actors above it: what they need to be told goes to a
//! [`SessionAddr`](messages::SessionAddr).

pub(crate) mod admission;
pub(crate) mod driver;
pub(crate) mod extensions;
pub(crate) mod files;
pub(crate) mod heartbeat;
pub(crate) mod messages;
pub(crate) mod packet_summary;
pub(crate) mod poll_loop;
pub(crate) mod service;
#[cfg(test)]
pub(crate) mod test_support;
mod timed_call;
pub(crate) mod transfers;
pub(crate) mod window_memory;
