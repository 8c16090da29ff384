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

mod arbiter_supervisor;
mod arbiters;
mod listener;
mod registry;
pub(crate) mod session;
mod session_supervisor;
#[cfg(test)]
mod sim;

pub use self::arbiter_supervisor::ArbiterSupervisor;
pub use self::arbiters::Workers;
#[cfg(feature = "program")]
pub(crate) use self::arbiters::arbiter_runtime;
pub use self::listener::{Listener, Pause};
pub use self::registry::{Cancel, Describe, List, LiveTransfer, Registry, Snapshot};
pub use self::session_supervisor::{Ping, SessionSupervisor};
pub use crate::engine::admission::peer_table::PeerTable;
pub use crate::engine::service::Service;
pub use crate::engine::transfers::event::RegistryLink;
pub use crate::engine::window_memory::WindowMemory;
