//! Faults on demand, for tests: with the Cargo feature `chaos`, panics, stops and delays happen in any actor and at any seam, by name and
//! by count.
//!
//! Without the feature, which is never on by default, nothing of this remains but empty functions of types without a size.
//!
//! A **point** is where a fault can happen: `session.handle` is in every message handler of a session, `store.open` in the pool's
//! thread before a store opens a file. Every actor has the points `handle`, `started`, `future` (in what it spawned), `scheduled` (in
//! what it has itself told later) and `drop`; the permanent ones have `restarting` too. A point's **subject** is the file name of the
//! request, for a session, its reader and its writer, and for the seams that they use.

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

/// How often a permanent actor may be started again, where that is to be more often than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restarts {
    pub(crate) max: usize,
    /// `None`: as usual.
    pub(crate) within: Option<std::time::Duration>,
}

#[cfg(all(test, feature = "chaos"))]
mod tests;
