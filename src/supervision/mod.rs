//! Supervision: an actor that panics ends nothing but itself, its parent is informed, and the
//! parent decides what follows.
//!
//! actix's own `Supervisor` restarts an actor that *stops*, never one that panics. The unwinding of
//! a panic runs the actor's `stopped`, and a second panic there aborts the process. So every actor
//! of this crate runs inside a net, and so should the actors that you add. This module knows
//! nothing of TFTP. It uses OTP's terms:
//!
//! * A **supervisor** ([`Supervisor`]) starts children, watches them, and stops them. A child may
//!   be a supervisor: that makes a tree.
//! * A **child specification** ([`ChildSpec`]) says how: what makes the actor, on which arbiter,
//!   and the following.
//! * A **permanent** child lives until its supervisor orders it to stop. After a panic, or a stop
//!   that nobody ordered, it starts again at the same address, with the messages that wait for it,
//!   after a pause that doubles and has some jitter.
//! * A **temporary** child is never started again: its exit is reported, and that is all.
//! * **One for one**: the end of one child doesn't affect the others. (OTP's other strategies are
//!   not here. Children that can't live without each other belong below a supervisor of their own,
//!   with limits of no restart: it gives up with the first.)
//! * The **restart intensity** ([`RestartLimit`]) is how often a child may start again within how
//!   long a time. It is counted for each child.
//! * **Shutdown** ([`ChildSpec::stop_within`]): a supervisor that stops orders its children to
//!   stop, the last one first, and one after the other. Each has that time to finish its work; then
//!   it is terminated.
//! * **Escalation**: a permanent child that passes its limit, or is killed with its arbiter, can't
//!   be kept alive. Its supervisor stops the other children and ends with [`Exit::GaveUp`]; so does
//!   the supervisor above, up to the root. The owner of the root [is informed](Supervisor::ended)
//!   and decides; a program mostly exits and is started anew.
//! * Each **exit** ([`Exit`]) of each child is reported exactly once ([`ChildReport`]), with its
//!   consequence.
//!
//! ```
//! use std::time::Duration;
//! use actix::prelude::*;
//! use stagecoach::supervision::{ChildSpec, Exit, Follows, RestartLimit, Supervisor};
//!
//! /// Divides 100 by what it is sent, and remembers how often.
//! struct Divider { divisions: u32 }
//!
//! impl Actor for Divider {
//!     type Context = Context<Self>;
//! }
//!
//! impl Supervised for Divider {
//!     // Another life begins in the same struct: it must forget what the last one left.
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
//!         Follows::End | Follows::GiveUp => eprintln!("the {} {}", report.child, report.exit),
//!     });
//!     let twice = RestartLimit { restarts_max: 2, ..RestartLimit::default() };
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
//! [`start_permanent`] and [`start_temporary`] are the same nets without a supervisor, for a parent
//! that handles exits itself.
//!
//! # What an actor must do
//!
//! * Clean up in the `Drop` of what the actor owns. After a panic, and at the end of its arbiter, no
//!   other code of it runs: neither `stopping` nor `stopped`, nor a message handler.
//! * `restarting` restores the state that the factory made. The struct is the same, and a panic may
//!   have left it in any state.
//! * A permanent actor must not call [`cancel_future`](actix::AsyncContext::cancel_future) (see
//!   [`start_permanent`]).
//! * An actor that blocks its arbiter is not noticed here, and every actor there waits with it. An
//!   actor that has to block gets [an arbiter of its own](ChildSpec::on_own_arbiter).
//! * The net depends on unwinding: `panic = "abort"` must not be set.

mod apart;
mod caught;
mod child_spec;
mod ends;
mod exit;
mod lives;
mod mail;
mod net;
mod permanent;
mod report;
mod restart;
mod restart_pauses;
mod stopper;
mod supervisor;
mod temporary;
mod tree;

pub use self::caught::is_told;
pub(crate) use self::caught::{caught, contained};
pub use self::child_spec::ChildSpec;
pub use self::exit::{ChildExited, Exit};
pub use self::permanent::{Permanent, start_permanent};
pub use self::report::{ChildReport, Follows};
pub use self::restart::RestartLimit;
pub(crate) use self::restart_pauses::Pauses;
pub use self::stopper::Stopper;
pub use self::supervisor::Supervisor;
pub use self::temporary::start_temporary;

#[cfg(test)]
mod tests;
