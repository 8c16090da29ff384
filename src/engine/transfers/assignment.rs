//! A request that was admitted, and the file that it leads to.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::config::Config;
use crate::error::Failure;
use crate::extend::Asked;
use crate::observe::{Label, Report, TransferId};
use crate::store::{Name, Store};
use crate::transfer::{Outcome, Tally};
use crate::wire::{Direction, Request, decimal};

/// An admitted request: what a session serves.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) id: TransferId,
    pub(crate) peer: SocketAddr,
    pub(crate) request: Request<'static>,
    pub(crate) received_at: Instant,
    /// The configuration when the request arrived.
    pub(crate) config: Arc<Config>,
    /// The request was sent to many hosts: a host that can't serve it stays silent (RFC 1123
    /// §4.2.3.5).
    pub(crate) to_broadcast: bool,
}

/// The file that answers a request.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) name: Name,
    pub(crate) label: Option<Label>,
}

/// The routing result, as far as it is known without waiting.
#[derive(Debug)]
pub(crate) enum Routed {
    To(Destination),
    /// The route of this step is an actor, which answers later.
    Ask(usize),
}

impl Assignment {
    /// The request as extensions see it.
    pub(crate) fn asked(&self, local: SocketAddr) -> Asked<'_> {
        let request = Cow::Borrowed(&self.request);
        Asked { transfer: self.id, peer: self.peer, local, request }
    }

    /// The size that the client announced for an upload (RFC 2349).
    pub(crate) fn announced(&self) -> Option<u64> {
        let Request { direction, options, .. } = &self.request;
        let tsize = options.get("tsize").filter(|_| *direction == Direction::Write)?;
        decimal(tsize.as_bytes())
    }

    /// The outcome if the request fails before it was answered. The client is sent an ERROR only
    /// for [`Outcome::Failed`].
    pub(crate) fn refusal(&self, failure: Failure) -> Outcome {
        if self.config.on_outage.is_silent(self.request.direction, failure) {
            Outcome::Outage(failure)
        } else {
            Outcome::Failed(failure)
        }
    }

    /// A report with the fields that the request determines.
    pub(crate) fn report(&self, local: SocketAddr, outcome: Outcome) -> Report {
        Report {
            id: self.id,
            peer: self.peer,
            local,
            direction: self.request.direction,
            name: self.request.filename().to_string(),
            mode: self.request.mode.to_string(),
            path: None,
            size: None,
            asked: self.request.options.to_string(),
            options: String::new(),
            announced: self.announced(),
            duration: self.received_at.elapsed(),
            tally: Tally::default(),
            outcome,
            detail: None,
            limit: None,
            label: None,
        }
    }
}
