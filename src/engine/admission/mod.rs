//! Decides what becomes of a request.

mod peer_state;
mod peer_table;
mod prefixes;

use std::net::SocketAddr;
use std::sync::Arc;

use actix::Recipient;
use tokio::time::Instant;

pub(crate) use self::peer_state::PeerState;
pub use self::peer_table::PeerTable;
pub(crate) use self::peer_table::{Claim, Permit};
pub(crate) use self::prefixes::ErrorRateLimiter;
use crate::engine::config::Config;
use crate::engine::files::SourceHandle;
use crate::engine::messages::Again;
use crate::engine::service::Service;
use crate::engine::transfers::{Assignment, Routed};
use crate::error::{Failure, Fault, Limit};
use crate::net::Received;
use crate::observe::Report;
use crate::policy::OverLimit;
use crate::store::Name;
use crate::transfer::Outcome;
use crate::wire::Request;

pub(crate) enum Verdict {
    Serve(Box<Admitted>),
    /// The file can't be served. The transfer is over before a session was needed.
    Fail(Box<Failed>),
    /// There is no transfer. One ERROR answers the request.
    Refuse(Fault),
    /// The request is not answered, because of a limit.
    Ignore(Limit),
    /// The request was received before. Its session was notified.
    Repeat,
}

#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) assignment: Assignment,
    pub(crate) routed: Routed,
    /// The address that the request was sent to: answers are sent from there.
    pub(crate) local: SocketAddr,
    /// The file, if it could be opened without waiting.
    pub(crate) opened: Option<Arc<SourceHandle>>,
    pub(crate) permit: Permit,
}

/// A request whose file can't be served.
pub(crate) struct Failed {
    pub(crate) assignment: Assignment,
    pub(crate) local: SocketAddr,
    pub(crate) fault: Fault,
    /// The client is sent an ERROR if this is [`Outcome::Failed`].
    pub(crate) outcome: Outcome,
    pub(crate) permit: Permit,
}

impl Service {
    /// Decides what becomes of a request. The checks are ordered by their cost. A request that its
    /// session finds to be no repeat is sent to the recipient that `again` returns.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peers: &Arc<PeerTable>,
        received: &Received,
        request: &Request<'_>,
        again: impl FnOnce() -> Recipient<Again>,
    ) -> Verdict {
        let config = self.config();
        if let Err(fault) = config.check(received, request) {
            return Verdict::Refuse(fault);
        }
        let permit = match peers.claim(received, request, again, || self.next_transfer()) {
            Claim::New(permit) => permit,
            Claim::Repeat => return Verdict::Repeat,
            Claim::Flood(limit) => return Verdict::Ignore(limit),
            // Without an answer the client repeats its request, and there may be room by then. An
            // ERROR would make the client give up.
            Claim::Full(limit) if config.over_limit == OverLimit::Silence => return Verdict::Ignore(limit),
            Claim::Full(limit) => {
                return Verdict::Refuse(Fault::limited(Failure::Busy, limit, limit.meaning()));
            }
        };
        let assignment = Assignment {
            id: permit.id,
            peer: received.from,
            request: request.clone().into_owned(),
            received_at: Instant::now(),
            config,
            to_broadcast: received.to_broadcast,
        };
        let local = received.to;
        match self.find(&assignment, local) {
            Ok((routed, opened)) => {
                Verdict::Serve(Box::new(Admitted { assignment, routed, local, opened, permit }))
            }
            Err(fault) => {
                let outcome = assignment.refusal(fault.failure);
                Verdict::Fail(Box::new(Failed { assignment, local, fault, outcome, permit }))
            }
        }
    }
}

impl Config {
    /// The checks that apply to every request. A name that no file can have is refused here, unless
    /// routes may interpret it.
    fn check(&self, received: &Received, request: &Request<'_>) -> Result<(), Fault> {
        self.access.check(received.from.ip(), request.direction).map_err(|decides| {
            let rule = decides.map_or_else(|| "no --allow rule matches".to_owned(), ToString::to_string);
            Fault::new(Failure::Forbidden, format_args!("not for clients at this address ({rule})"))
        })?;
        self.rules.admit(request)?;
        if self.routes.is_empty() {
            Name::from_request(request.filename().as_bytes())?;
        }
        Ok(())
    }
}

impl Failed {
    /// Whether one ERROR answers the request. If many hosts were asked (RFC 1123 §4.2.3.5), another
    /// host may have the file.
    pub(crate) fn is_answered(&self) -> bool {
        !self.assignment.to_broadcast && matches!(self.outcome, Outcome::Failed(_))
    }

    /// The report of the transfer that never began, whose answer was sent from `local`.
    pub(crate) fn into_report(self, local: SocketAddr) -> Report {
        let Self { assignment, fault, outcome, .. } = self;
        let report = assignment.report(local, outcome);
        Report { limit: fault.limit(), detail: fault.detail, ..report }
    }
}
