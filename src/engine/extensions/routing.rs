//! How routes choose the file of a request.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::config::Config;
use crate::engine::files::{SourceHandle, StoreCaller};
use crate::engine::service::Service;
use crate::engine::transfers::{Assignment, Destination, Routed};
use crate::error::{Failure, Fault};
use crate::extend::{Answerer, Ask, Asked, Otherwise, Routing, Served};
use crate::store::{Name, Store};
use crate::wire::Direction;

impl Service {
    /// The destination of a request, and its file if the request reads and the store can open the
    /// file without waiting. An error says why the transfer is refused.
    pub(crate) fn find(
        self: &Arc<Self>,
        assignment: &Assignment,
        local: SocketAddr,
    ) -> Result<(Routed, Option<Arc<SourceHandle>>), Fault> {
        let routed = self.route(&assignment.config, &assignment.asked(local), 0)?;
        let opened = match &routed {
            Routed::To(destination) => self.open_cached(assignment, destination)?,
            Routed::Ask(_) => None,
        };
        Ok((routed, opened))
    }

    /// Opens the file of a read, if its store can do that without waiting.
    pub(crate) fn open_cached(
        self: &Arc<Self>,
        assignment: &Assignment,
        destination: &Destination,
    ) -> Result<Option<Arc<SourceHandle>>, Fault> {
        if assignment.request.direction != Direction::Read {
            return Ok(None);
        }
        let seam = self.chaos.seam("store", assignment.request.filename());
        let caller = StoreCaller::new(self, &destination.store, assignment.id, seam);
        caller.call(|store| {
            caller.seam.at("open_cached");
            let opened = store.open_cached(&destination.name);
            // The listener reads the size, outside of this net.
            opened.map(|opened| opened.map(SourceHandle::examined)).transpose()
        })
    }

    /// Asks the routes in turn from step `from` on, until one answers or is an actor, which answers
    /// later. A request that all routes pass on leads to the server's own store.
    pub(crate) fn route(&self, config: &Config, asked: &Asked<'_>, from: usize) -> Result<Routed, Fault> {
        for (index, step) in config.routes.iter().enumerate().skip(from) {
            let routing = self.call("route", Some(asked.transfer), || match &step.answerer {
                _ if !step.concerns(asked) => Some(Routing::Pass),
                Answerer::Called(route) => Some(route.route(asked)),
                Answerer::Actor(_) => None,
            });
            let routing = match routing {
                Some(Some(routing)) => routing,
                Some(None) => return Ok(Routed::Ask(index)),
                None => return Err(Fault::new(Failure::Internal, "a route panicked")),
            };
            if let Some(settled) = settle(routing, asked) {
                return settled.map(Routed::To);
            }
        }
        lookup(Served::from_store(Arc::clone(&config.store)), asked).map(Routed::To)
    }

    /// Asks the routes as [`route`](Self::route) does, and waits for those that are actors. Fails
    /// if an actor doesn't answer whose answer is required.
    pub(crate) async fn ask_routes(
        self: Arc<Self>,
        config: Arc<Config>,
        asked: Asked<'static>,
        mut from: usize,
    ) -> Result<Destination, Fault> {
        loop {
            let index = match self.route(&config, &asked, from)? {
                Routed::To(destination) => return Ok(destination),
                Routed::Ask(index) => index,
            };
            from = index + 1;
            let Answerer::Actor(asking) = &config.routes[index].answerer else { continue };
            let answer = self.ask("route", Some(asked.transfer), asking, Ask(asked.clone())).await;
            let routing = match (answer, asking.otherwise) {
                (Ok(routing), _) => routing,
                (Err(_), Otherwise::Pass) => continue,
                (Err(why), Otherwise::Refuse) => return Err(Fault::new(Failure::Internal, why)),
            };
            if let Some(settled) = settle(routing, &asked) {
                return settled;
            }
        }
    }
}

/// The final answer; `None` if the next route must be asked.
fn settle(routing: Routing, asked: &Asked<'_>) -> Option<Result<Destination, Fault>> {
    match routing {
        Routing::Serve(served) => Some(lookup(served, asked)),
        Routing::Refuse(fault) => Some(Err(fault)),
        Routing::Pass => None,
    }
}

fn lookup(served: Served, asked: &Asked<'_>) -> Result<Destination, Fault> {
    let Served { store, name, label } = served;
    let name = name.map_or_else(|| Name::from_request(asked.name_bytes()), Ok)?;
    Ok(Destination { store, name, label })
}
