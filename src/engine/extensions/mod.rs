//! Asks extensions: those that are called, and those that are actors. The caller always gets an
//! answer, or the reason why there is none.

mod opcodes;
mod routing;

use std::sync::Arc;

pub(crate) use self::opcodes::Answer;
use crate::engine::config::Config;
use crate::engine::service::Service;
use crate::error::{Failure, Fault};
use crate::extend::{
    Answerer, Asked, Asking, Found, Grant, Negotiate, Negotiator, NegotiatorStep, Otherwise, Question, ask,
};
use crate::observe::TransferId;

impl Service {
    /// Asks an actor, and waits for its answer up to the actor's time limit. A missing answer is
    /// reported to the observers, and the error says why it is missing.
    async fn ask<Q: Question>(
        &self,
        extension: &'static str,
        transfer: Option<TransferId>,
        asking: &Asking<Q>,
        question: Q,
    ) -> Result<Q::Result, String> {
        ask(&asking.actor, question, asking.within).await.map_err(|why| {
            self.misbehaved(extension, transfer, &why);
            format!("{extension}: {why}")
        })
    }
}

impl Config {
    /// Whether a negotiator for this request is an actor, which answers later.
    pub(crate) fn waits_for_negotiators(&self, asked: &Asked<'_>) -> bool {
        self.concerned(asked).any(|step| matches!(step.answerer, Answerer::Actor(_)))
    }

    fn concerned(&self, asked: &Asked<'_>) -> impl Iterator<Item = &NegotiatorStep> {
        self.negotiators.iter().filter(|step| step.concerns(asked))
    }
}

/// Asks negotiators about the options of a request.
impl Service {
    /// The answers of the negotiators that are called directly.
    pub(crate) fn call_negotiators(&self, config: &Config, asked: &Asked<'_>, file: &Found) -> Vec<Grant> {
        let called = config.concerned(asked).filter_map(|step| match &step.answerer {
            Answerer::Called(negotiator) => Some(negotiator),
            Answerer::Actor(_) => None,
        });
        called.flat_map(|negotiator| self.call_negotiator(&**negotiator, asked, file)).collect()
    }

    /// The answers of all negotiators, including actors. Fails if a negotiator doesn't answer whose
    /// answer is required.
    pub(crate) async fn ask_negotiators(
        self: Arc<Self>,
        config: Arc<Config>,
        asked: Asked<'static>,
        file: Found,
    ) -> Result<Vec<Grant>, Fault> {
        let mut granted = Vec::new();
        for step in config.concerned(&asked) {
            match &step.answerer {
                Answerer::Called(negotiator) => {
                    granted.extend(self.call_negotiator(&**negotiator, &asked, &file));
                }
                Answerer::Actor(asking) => {
                    let question = Negotiate { asked: asked.clone(), file: file.clone() };
                    match self.ask("negotiator", Some(asked.transfer), asking, question).await {
                        Ok(grants) => granted.extend(grants),
                        Err(_) if asking.otherwise == Otherwise::Pass => {}
                        Err(why) => return Err(Fault::new(Failure::Internal, why)),
                    }
                }
            }
        }
        Ok(granted)
    }

    fn call_negotiator(&self, negotiator: &dyn Negotiator, asked: &Asked<'_>, file: &Found) -> Vec<Grant> {
        let call = || negotiator.negotiate(asked, file);
        self.call("negotiator", Some(asked.transfer), call).unwrap_or_default()
    }
}
