//! Children with an arbiter of their own.

use std::time::Duration;

use actix::{Actor, Context};
use actix_rt::{Arbiter, ArbiterHandle};

use super::Exit;
use super::lives::{Lives, Witness};

/// Starts an actor on a new arbiter, which ends when the actor has ended for good.
pub(super) fn start_apart<A: Actor<Context = Context<A>>>(lives: Lives<A>, witness: impl Witness) {
    match Arbiter::try_new() {
        Ok(arbiter) => {
            let arbiter = arbiter.handle();
            lives.start(&arbiter, Apart { witness, arbiter: arbiter.clone() });
        }
        Err(error) => witness.ended(Exit::Panicked(format!("there is no thread for it: {error}"))),
    }
}

/// Reports the last exit, then ends the arbiter.
struct Apart<W> {
    witness: W,
    arbiter: ArbiterHandle,
}

impl<W: Witness> Witness for Apart<W> {
    fn restarts(&mut self, exit: Exit, after: Duration) {
        self.witness.restarts(exit, after);
    }

    fn ended(self, exit: Exit) {
        self.witness.ended(exit);
        // This has no effect if the arbiter has already ended.
        self.arbiter.stop();
    }
}
