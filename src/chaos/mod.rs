//! Faults on demand, for tests. With the Cargo feature `chaos` panics, stops and delays happen in
//! any actor and at any seam, by name and by count. The feature is never on by default; without it
//! only empty functions of types without a size remain.
//!
//! A **point** is a place where a fault can happen: `session.handle` is in every message handler of
//! a session, `store.open` before a store opens a file. Every actor has the points `handle`,
//! `started`, `future` (in a spawned future), `scheduled` (in a scheduled message) and `drop`.
//! Permanent actors have `restarting` too. The **subject** of a point is the file name of the
//! request, for a session, its reader, its writer, and the seams that they use.

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

#[cfg(all(test, feature = "chaos"))]
mod tests;
