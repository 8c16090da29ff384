//! The actors: thin shells around the machines of [`transfer`](crate::transfer), one concern each.
//!
//! ```text
//! daemon (owns the sockets and the table of live peers)
//!  ├─ Registry               permanent   what is live, what was
//!  ├─ ArbiterSupervisor      permanent   replaces arbiters that stop or hang
//!  │   └─ SessionSupervisor  permanent   one an arbiter
//!  │       └─ Session        temporary   one a request, replaced if it fails
//!  │           ├─ Reader     temporary   replaced if it fails
//!  │           └─ Writer     temporary   the upload ends if it fails
//!  └─ Listener               permanent   one a bound address
//! ```
//!
//! A packet of a transfer is no message: the session's socket wakes the session, its machine answers, the session sends. Messages
//! carry requests, slabs of files, deadlines and facts.

mod admission;
mod arbiter_supervisor;
mod assignment;
mod blocking;
mod error_budget;
mod extensions;
mod heartbeat;
mod held_source;
mod history;
#[cfg(feature = "testkit")]
pub(crate) mod kit;
mod lease;
mod listener;
mod live_peers;
mod messages;
mod negotiating;
mod opcodes;
mod prefixes;
mod progress;
mod reader;
mod registry;
mod roster;
mod routing;
mod service;
mod session;
mod session_supervisor;
mod shown;
#[cfg(test)]
mod sim;
mod switchboard;
#[cfg(test)]
mod test_support;
mod timed_call;
mod unproven;
mod window_budget;
mod workers;
mod writer;

pub use self::arbiter_supervisor::ArbiterSupervisor;
pub use self::history::History;
pub use self::listener::{Listener, Pause};
pub use self::live_peers::LivePeers;
pub use self::registry::{Cancel, Describe, List, LiveTransfer, Registry, Snapshot};
pub use self::service::Service;
pub use self::session_supervisor::{Ping, SessionSupervisor};
pub use self::window_budget::WindowBudget;
pub use self::workers::Workers;
#[cfg(feature = "program")]
pub(crate) use self::workers::arbiter_runtime;
