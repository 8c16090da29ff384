//! The actors of a server: thin shells around the machines of [`transfer`](crate::transfer).
//!
//! ```text
//! root supervisor (daemon)
//!  ├─ Registry               permanent   lists, describes and cancels transfers
//!  ├─ ArbiterSupervisor      permanent   replaces arbiters that stop or hang
//!  │   └─ SessionSupervisor  permanent   one an arbiter
//!  │       └─ Session        temporary   one a transfer, replaced if it fails
//!  │           ├─ Reader     temporary   replaced if it fails
//!  │           └─ Writer     temporary   the upload ends if it fails
//!  └─ Listener               permanent   one a bound address
//! ```
//!
//! A packet of a transfer is not a message. Its socket wakes the arbiter's poll loop, which lets
//! the session's driver feed the machine and send the answer. Messages carry requests, slabs of
//! files, deadlines and orders.
//!
//! What the actors drive is in `engine`, and so are the actors Reader and Writer.

mod arbiter_supervisor;
mod arbiters;
mod listener;
mod registry;
pub(crate) mod session;
mod session_supervisor;

pub use self::arbiter_supervisor::ArbiterSupervisor;
pub use self::arbiters::Workers;
#[cfg(feature = "program")]
pub(crate) use self::arbiters::arbiter_runtime;
pub use self::listener::{Listener, Pause};
pub use self::registry::{Cancel, Describe, List, LiveTransfer, Registry, Snapshot};
pub use self::session_supervisor::{Ping, SessionSupervisor};
pub use crate::engine::admission::peer_table::PeerTable;
pub use crate::engine::config::Config;
pub use crate::engine::service::Service;
pub use crate::engine::transfers::event::RegistryLink;
pub use crate::engine::window_memory::WindowMemory;
