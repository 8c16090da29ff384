//! What extensions say of a request: where it leads, and what of its options is granted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use super::blocking::StoreCaller;
use super::lease::Opened;
use super::service::Service;
use super::session::Assignment;
use crate::error::{Failure, Fault};
use crate::extend::{
    Ask, Asked, Found, Grant, Negotiate, NegotiatorWay, Otherwise, RouteWay, Routing, Served, name_of,
};
use crate::observe::{Fact, Label};
use crate::store::{Name, Store};
use crate::supervision::caught;
use crate::wire::Direction;

/// The file that answers a request.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) store: Arc<dyn Store>,
    pub(super) name: Name,
    pub(super) label: Option<Label>,
}

/// What the routes say without waiting.
#[derive(Debug)]
pub(super) enum Way {
    To(Destination),
    /// The actor of this step has to be asked first.
    Ask(usize),
}

impl Service {
    /// Where a request leads, and its file if that is to be read and can be had without waiting.
    ///
    /// # Errors
    /// Why there is to be no transfer.
    pub(super) fn find(
        self: &Arc<Self>,
        assignment: &Assignment,
        local: SocketAddr,
    ) -> Result<(Way, Option<Opened>), Fault> {
        let way = self.route(&assignment.asked(local), 0)?;
        let opened = match &way {
            Way::To(destination) => self.open_cached(assignment, destination)?,
            Way::Ask(_) => None,
        };
        Ok((way, opened))
    }

    /// Opens the file that is to be read, if its store can do that without waiting.
    ///
    /// # Errors
    /// Why it can't be had.
    pub(super) fn open_cached(
        self: &Arc<Self>,
        assignment: &Assignment,
        destination: &Destination,
    ) -> Result<Option<Opened>, Fault> {
        if assignment.request.direction != Direction::Read {
            return Ok(None);
        }
        let seam = self.chaos().seam_of("store", assignment.request.filename());
        let caller = StoreCaller::new(self, &destination.store, assignment.id, seam);
        caller.call(|store| {
            caller.seam.at("open_cached");
            store.open_cached(&destination.name).map(|opened| opened.map(Opened::new)).transpose()
        })
    }

    /// Asks the routes in turn, beginning with step `from`, until one answers, or has to be waited for. What all of them pass on is in the server's own store.
    ///
    /// # Errors
    /// Why there is to be no transfer.
    pub(super) fn route(&self, asked: &Asked<'_>, from: usize) -> Result<Way, Fault> {
        for (index, step) in self.routes.iter().enumerate().skip(from) {
            let RouteWay::Here(route) = &step.0 else { return Ok(Way::Ask(index)) };
            let routing = self.call("route", asked, || route.route(asked));
            let panicked = || Routing::Refuse(Fault::new(Failure::Internal, "a route panicked"));
            if let Some(settled) = settle(routing.unwrap_or_else(panicked), asked) {
                return settled.map(Way::To);
            }
        }
        lookup(Served::from_store(Arc::clone(&self.store)), asked).map(Way::To)
    }

    /// The same, and waits for the actors among them.
    ///
    /// # Errors
    /// As [`route`](Self::route); and if an actor doesn't answer, and nobody else is to.
    pub(super) async fn ask_routes(
        self: Arc<Self>,
        asked: Asked<'static>,
        mut from: usize,
    ) -> Result<Destination, Fault> {
        loop {
            let index = match self.route(&asked, from)? {
                Way::To(destination) => return Ok(destination),
                Way::Ask(index) => index,
            };
            from = index + 1;
            let RouteWay::Asks { actor, within, otherwise } = &self.routes[index].0 else { continue };
            let answer = self.ask("route", &asked, actor, Ask(asked.clone()), *within).await;
            let routing = match (answer, otherwise) {
                (Ok(routing), _) => routing,
                (Err(_), Otherwise::Pass) => continue,
                (Err(why), Otherwise::Refuse) => return Err(Fault::new(Failure::Internal, why)),
            };
            if let Some(settled) = settle(routing, &asked) {
                return settled;
            }
        }
    }

    /// Whether there is a negotiator that has to be waited for.
    pub(super) fn waits_for_negotiators(&self) -> bool {
        self.negotiators.iter().any(|step| matches!(step.0, NegotiatorWay::Asks { .. }))
    }

    /// What all negotiators that are called answer.
    pub(super) fn call_negotiators(&self, asked: &Asked<'_>, file: &Found) -> Vec<Grant> {
        let mut granted = Vec::new();
        for step in &self.negotiators {
            if let NegotiatorWay::Here(negotiator) = &step.0 {
                let call = || negotiator.negotiate(asked, file);
                granted.extend(self.call("negotiator", asked, call).unwrap_or_default());
            }
        }
        granted
    }

    /// What all negotiators answer, those that have to be waited for too.
    ///
    /// # Errors
    /// If one doesn't answer whose answer is needed.
    pub(super) async fn ask_negotiators(
        self: Arc<Self>,
        asked: Asked<'static>,
        file: Found,
    ) -> Result<Vec<Grant>, Fault> {
        let mut granted = Vec::new();
        for step in &self.negotiators {
            match &step.0 {
                NegotiatorWay::Here(negotiator) => {
                    let call = || negotiator.negotiate(&asked, &file);
                    granted.extend(self.call("negotiator", &asked, call).unwrap_or_default());
                }
                NegotiatorWay::Asks { actor, within, otherwise } => {
                    let question = Negotiate { asked: asked.clone(), file: file.clone() };
                    match self.ask("negotiator", &asked, actor, question, *within).await {
                        Ok(grants) => granted.extend(grants),
                        Err(_) if *otherwise == Otherwise::Pass => {}
                        Err(why) => return Err(Fault::new(Failure::Internal, why)),
                    }
                }
            }
        }
        Ok(granted)
    }

    /// Calls an extension. `None` if it panics, which observers are told.
    fn call<T>(&self, actor: &'static str, asked: &Asked<'_>, call: impl FnOnce() -> T) -> Option<T> {
        caught(call)
            .inspect_err(|panic| {
                self.observe(&Fact::Crashed { actor, transfer: Some(asked.transfer), panic });
            })
            .ok()
    }

    /// Asks an actor, and waits so long for its answer. Observers are told if there is none.
    ///
    /// # Errors
    /// Why not.
    async fn ask<M>(
        &self,
        extension: &'static str,
        asked: &Asked<'_>,
        actor: &Recipient<M>,
        question: M,
        within: Duration,
    ) -> Result<M::Result, String>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let why = match tokio::time::timeout(within, actor.send(question)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) => "it panicked, or has stopped".to_owned(),
            Err(_) => format!("it gave no answer within {within:?}"),
        };
        let transfer = Some(asked.transfer);
        self.observe(&Fact::Misbehaved { extension, transfer, why: &why });
        Err(format!("{extension}: {why}"))
    }
}

/// `None` if the next route is to be asked.
fn settle(routing: Routing, asked: &Asked<'_>) -> Option<Result<Destination, Fault>> {
    match routing {
        Routing::Serve(served) => Some(lookup(served, asked)),
        Routing::Refuse(fault) => Some(Err(fault)),
        Routing::Pass => None,
    }
}

fn lookup(served: Served, asked: &Asked<'_>) -> Result<Destination, Fault> {
    let name = name_of(&served, asked)?;
    let Served { store, label, .. } = served;
    Ok(Destination { store, name, label })
}
