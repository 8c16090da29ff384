//! Faults on demand, for tests. With the Cargo feature `chaos` panics, stops and delays happen in
//! any actor and at any seam, by name and by count. The feature is never on by default; without it
//! only empty functions of types without a size remain.
//!
//! A **point** is a place where a fault can happen: `session.handle` is in every message handler of
//! a session, `store.open` in the pool's thread before a store opens a file. Every actor has the
//! points `handle`, `started`, `future` (in a future that it spawned), `scheduled` (in a message
//! that was scheduled for it) and `drop`. Permanent actors have `restarting` too. The **subject**
//! of a point is the file name of the request, for a session, its reader and its writer, and for
//! the seams that they use.

#[cfg(not(feature = "chaos"))]
mod off;
#[cfg(feature = "chaos")]
mod part;
#[cfg(feature = "chaos")]
mod plan;
#[cfg(feature = "chaos")]
mod state;
#[cfg(feature = "chaos")]
mod syntax;

#[cfg(not(feature = "chaos"))]
pub(crate) use self::off::{Chaos, Part, Seam};
#[cfg(feature = "chaos")]
pub(crate) use self::part::{Part, Seam};
#[cfg(feature = "chaos")]
pub use self::plan::{Fault, Plan, PlanError, Storm};
#[cfg(feature = "chaos")]
pub use self::state::Chaos;

/// Raised restart limits of permanent actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restarts {
    pub(crate) max: usize,
    /// `None`: the usual period.
    pub(crate) within: Option<std::time::Duration>,
}

#[cfg(all(test, feature = "chaos"))]
mod tests;
