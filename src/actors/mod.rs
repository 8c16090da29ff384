//! The actors of a server: thin shells around the machines of [`transfer`](crate::transfer). What
//! they drive is in `engine`, and so are the actors Reader and Writer.

mod arbiters;
mod listener;
mod registry;
pub(crate) mod session;
mod session_supervisor;

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::Actor;
use actix::fut::ActorFuture;

#[cfg(feature = "program")]
pub(crate) use self::arbiters::arbiter_runtime;
pub use self::arbiters::{ArbiterSupervisor, Workers};
pub use self::listener::{Listener, Pause};
pub use self::registry::{Cancel, Describe, List, Registry, Snapshot};
pub use self::session_supervisor::{Ping, SessionSupervisor};
pub use crate::engine::admission::PeerTable;
pub use crate::engine::config::Config;
pub use crate::engine::service::Service;
pub use crate::engine::transfers::LiveTransfer;
pub use crate::engine::window_memory::WindowMemory;

/// A future that polls its actor.
struct PollFn<F>(F);

impl<A, F> ActorFuture<A> for PollFn<F>
where
    A: Actor,
    F: FnMut(&mut A, &mut A::Context, &mut TaskContext<'_>) -> Poll<()> + Unpin,
{
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut A::Context,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        (self.0)(actor, ctx, task)
    }
}
