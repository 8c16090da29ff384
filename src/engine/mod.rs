//! What the actors drive: the state of transfers, the loop that waits for their sockets, and the
//! files that they read and write.
//!
//! | module | contents |
//! |---|---|
//! | `admission` | decides what becomes of a request; the table of peers |
//! | `transfers` | what a transfer needs to outlive its session; the tables of transfers |
//! | `driver` | feeds datagrams to a transfer's machine, and carries out its actions |
//! | `poll_loop` | waits for the sockets and deadlines of all sessions of an arbiter |
//! | `files` | the actors that read and write files, and calls to stores that may wait |
//! | `extensions` | asks routes, negotiators and opcodes |
//! | `service` | what all actors of a server share |
//! | `config` | what a server does with requests: it may change while the server runs |
//! | `messages` | the messages of a session |
//!
//! Nothing here knows the actors above. Messages for a session go to a
//! [`SessionAddr`](messages::SessionAddr).

pub(crate) mod admission;
pub(crate) mod config;
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
