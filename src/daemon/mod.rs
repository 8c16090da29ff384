//! Puts a server together, starts it, serves, and ends it. What only the program needs is behind
//! the feature `program`.

mod builder;
mod dump;
mod ending;
mod extensions;
mod handle;
mod lifecycle;
#[cfg(feature = "program")]
mod passed;
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
#[cfg(feature = "program")]
pub(crate) use self::run::raise_open_files;
#[cfg(feature = "program")]
pub use self::run::{run, run_extended};
pub use self::server::{Capacity, Server};
pub use self::start_error::StartError;

/// Why a server could not start, or ended otherwise than it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It can't start: one sentence says why, and what would be right.
    #[error("{0}")]
    Start(#[from] StartError),
    /// A part of it failed more often than its supervisor puts up with.
    #[error("gave up after repeated failures: {0}")]
    Escalated(String),
}
