//! Asks extensions: those that are called, and those that are actors. The caller always gets an
//! answer, or the reason why there is none.

pub(crate) mod negotiating;
pub(crate) mod opcodes;
pub(crate) mod routing;

use crate::engine::service::Service;
use crate::engine::timed_call::timed;
use crate::extend::{Asking, Question, ask};
use crate::observe::{Fact, TransferId};
use crate::supervision::caught;

impl Service {
    /// Calls an extension. `None` if it panics. Panics, and calls that block the thread for long,
    /// are reported to the observers.
    pub(crate) fn call<T>(
        &self,
        extension: &'static str,
        transfer: Option<TransferId>,
        call: impl FnOnce() -> T,
    ) -> Option<T> {
        let (answer, slow) = timed(|| caught(call));
        if let Some(why) = slow {
            self.observe(&Fact::Misbehaved { extension, transfer, why: &why });
        }
        answer.inspect_err(|panic| self.observe(&Fact::Crashed { actor: extension, transfer, panic })).ok()
    }

    /// Asks an actor, and waits for its answer up to the actor's time limit. A missing answer is
    /// reported to the observers.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn ask<Q: Question>(
        &self,
        extension: &'static str,
        transfer: Option<TransferId>,
        asking: &Asking<Q>,
        question: Q,
    ) -> Result<Q::Result, String> {
        ask(&asking.actor, question, asking.within).await.map_err(|why| {
            self.observe(&Fact::Misbehaved { extension, transfer, why: &why });
            format!("{extension}: {why}")
        })
    }
}
