//! Supervision: a panic ends only the actor that panicked. It is reported, and a supervisor decides
//! what follows.
//!
//! actix's own `Supervisor` restarts an actor that *stops*, but not one that panics. While a panic
//! unwinds, actix runs actors' `stopped`, and a second panic there aborts the process. Therefore
//! every actor of this crate runs inside a net that catches panics, and so should those that you
//! add. This module doesn't depend on TFTP. Its terms are OTP's:
//!
//! * A **supervisor** ([`Supervisor`]) starts children by their **specifications** ([`ChildSpec`]),
//!   watches them, and stops them. A child may itself be a supervisor, which makes a tree.
//! * A **permanent** child runs until its supervisor stops it. After a panic, or a stop without an
//!   order, it pauses, and is restarted at the same address, with its waiting messages. A
//!   **temporary** child is never restarted.
//! * **One for one**: the end of one child does not affect the others. Put children that need each
//!   other below a supervisor of their own with a limit of no restarts.
//! * The **restart intensity** ([`RestartLimit`]) is how often a child may be restarted within a
//!   time. It is counted for each child.
//! * **Shutdown** ([`ChildSpec::stop_within`]): a supervisor stops its children one after the
//!   other, in reverse order of their start, and terminates a child whose time is over.
//! * **Escalation**: if a permanent child exceeds its limit, or is killed with its arbiter, its
//!   supervisor stops the other children and ends with [`Exit::GaveUp`]. So does the supervisor
//!   above, up to the root. The owner of the root [gets the reason](Supervisor::ended) and decides;
//!   most programs exit and are started again.
//! * Each **exit** ([`Exit`]) of each child is reported exactly once ([`ChildReport`]).
//!
//! ```
//! use std::time::Duration;
//! use actix::prelude::*;
//! use stagecoach::supervision::{ChildSpec, Exit, Follows, RestartLimit, Supervisor};
//!
//! /// Divides 100 by each number, and counts the divisions.
//! struct Divider { divisions: u32 }
//!
//! impl Actor for Divider {
//!     type Context = Context<Self>;
//! }
//!
//! impl Supervised for Divider {
//!     // The struct is the same after a restart, so its state must be reset.
//!     fn restarting(&mut self, _: &mut Context<Self>) {
//!         self.divisions = 0;
//!     }
//! }
//!
//! #[derive(Message)]
//! #[rtype(u32)]
//! struct By(u32);
//!
//! impl Handler<By> for Divider {
//!     type Result = u32;
//!
//!     fn handle(&mut self, By(divisor): By, _: &mut Context<Self>) -> u32 {
//!         self.divisions += 1;
//!         100 / divisor
//!     }
//! }
//!
//! System::new().block_on(async {
//!     let root = Supervisor::start("root", |report| match report.follows {
//!         Follows::Restart { after } => eprintln!("the {} {}: again in {after:?}", report.child, report.exit),
//!         _ => eprintln!("the {} {}", report.child, report.exit),
//!     });
//!     let twice = RestartLimit::new(2, Duration::from_secs(10));
//!     let divider = root.start_child(
//!         ChildSpec::permanent("divider", |_| Divider { divisions: 0 })
//!             .limit(twice)
//!             .stop_within(Duration::from_secs(1)),
//!     );
//!
//!     assert!(divider.send(By(0)).await.is_err(), "it panicked");
//!     assert_eq!(divider.send(By(4)).await, Ok(25), "another life, at the same address");
//!
//!     for _ in 0..2 {
//!         divider.do_send(By(0));
//!     }
//!     let why = "the divider panicked: attempt to divide by zero".to_owned();
//!     assert_eq!(root.ended().await, Exit::GaveUp(why));
//! });
//! ```
//!
//! [`start_permanent`] and [`start_temporary`] provide the same nets without a supervisor.
//!
//! # What an actor must do
//!
//! * Clean up in the `Drop` of what the actor owns. After a panic, and at the end of its arbiter,
//!   nothing else of the actor runs: neither `stopping` nor `stopped`, nor any message.
//! * `restarting` must restore the state that the factory made: the struct is the same, and a panic
//!   may have left it in any state. [`start_permanent`] says what else a restart requires.
//! * All actors of an arbiter wait for one that blocks it. Give an actor that has to block [an
//!   arbiter of its own](ChildSpec::on_own_arbiter).
//! * Panics must unwind: do not set `panic = "abort"`.

mod caught;
mod child_spec;
mod exit;
mod lives;
mod net;
mod restart;
mod restart_pauses;
mod stopper;
mod supervisor;
mod tree;
mod unsupervised;

pub use self::caught::is_reported;
pub(crate) use self::caught::{caught, contained};
pub use self::child_spec::ChildSpec;
pub use self::exit::{ChildExited, ChildReport, Exit, Follows};
pub use self::restart::RestartLimit;
pub(crate) use self::restart_pauses::{name_of, pauses_for_long};
pub use self::stopper::Stopper;
pub use self::supervisor::Supervisor;
pub use self::unsupervised::{Permanent, start_permanent, start_temporary};

#[cfg(test)]
mod tests;
