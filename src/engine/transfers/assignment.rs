//! A request that was admitted, as everything that serves it sees it.

use std::net::SocketAddr;

use tokio::time::Instant;

use crate::extend::Asked;
use crate::observe::{Report, TransferId};
use crate::transfer::{Outcome, Tally};
use crate::wire::{Direction, Request, decimal};

/// What a session is to do.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) id: TransferId,
    pub(crate) peer: SocketAddr,
    pub(crate) request: Request<'static>,
    pub(crate) received_at: Instant,
    /// Many hosts were asked: whoever can't serve the request says nothing (RFC 1123 §4.2.3.5).
    pub(crate) to_broadcast: bool,
}

impl Assignment {
    /// What extensions see of it.
    pub(crate) fn asked(&self, local: SocketAddr) -> Asked<'_> {
        Asked::new(self.id, self.peer, local, &self.request)
    }

    /// Octets that the file of an upload is said to have (RFC 2349).
    fn announced(&self) -> Option<u64> {
        let Request { direction, options, .. } = &self.request;
        let tsize = options.get("tsize").filter(|_| *direction == Direction::Write)?;
        decimal(tsize.as_bytes())
    }

    /// A report that has what the request itself tells.
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
