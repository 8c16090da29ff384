//! Puts a server together, starts it, serves, and ends it. What only the program needs is behind
//! the feature `program`.

mod builder;
mod current;
mod dump;
mod ending;
mod extensions;
mod handle;
mod lifecycle;
#[cfg(feature = "program")]
mod passed;
mod reconfigure;
mod reload;
mod root;
#[cfg(feature = "program")]
mod run;
mod server;
#[cfg(feature = "program")]
mod service_manager;
#[cfg(feature = "program")]
mod signals;
mod sockets;
mod start_error;
mod startup;
#[cfg(feature = "program")]
mod system;
#[cfg(feature = "program")]
mod watchdog;

pub use self::builder::{Builder, Stagecoach};
pub use self::handle::ServerHandle;
#[cfg(feature = "program")]
pub use self::passed::passed_sockets;
pub use self::reconfigure::{Applied, ApplyError};
#[cfg(feature = "program")]
pub(crate) use self::run::raise_open_files;
#[cfg(feature = "program")]
pub use self::run::{run, run_extended};
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use self::server::Capacity;
pub use self::server::Server;
pub use self::start_error::StartError;
pub use crate::actors::{Cancel, Describe, List, LiveTransfer, Registry, Snapshot};
pub use crate::net::BindError;

/// Why a server could not start, or ended without an order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The server can't start. The message says why, and how to fix that.
    #[error("{0}")]
    Start(#[from] StartError),
    /// A part of the server failed more often than its restart limit allows.
    #[error("gave up after repeated failures: {0}")]
    Escalated(String),
}
