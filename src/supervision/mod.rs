//! Supervision: an actor that panics ends nothing but itself, and somebody hears of it.
//!
//! actix's own `Supervisor` restarts an actor that *stops*, never one that panics, and a panic's unwinding runs actors' `stopped` in
//! the middle of it: a second panic there aborts the process. So every actor of this crate runs its context's future inside a net of ours, in one of two ways, named as in OTP:
//!
//! * **temporary** ([`start_temporary`]): it is not started again. Whatever ends it, its parent gets a [`ChildExited`].
//! * **permanent** ([`start_permanent`]): after a panic it starts again, at the same address and with the messages that wait
//!   for it, after a pause that doubles; past its [`RestartLimit`] its parent hears of the failure and decides.
//!
//! The net depends on unwinding: `panic = "abort"` must not be set.

mod child_spec;
mod exit;
mod lives;
mod net;
mod permanent;
mod report;
mod restart;
mod stopper;
mod supervisor;
mod temporary;
mod tree;

pub use self::child_spec::ChildSpec;
pub(crate) use self::exit::panic_text;
pub use self::exit::{ChildExited, Exit};
pub use self::permanent::{Permanent, start_permanent};
pub use self::report::{ChildReport, Follows};
pub use self::restart::RestartLimit;
pub use self::stopper::Stopper;
pub use self::supervisor::Supervisor;
pub use self::temporary::start_temporary;

#[cfg(test)]
mod tests;
