//! The actor that knows what is live, and what was.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult, Supervised};

use crate::actors::arbiters::Workers;
use crate::chaos::Part;
use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::engine::service::Service;
use crate::engine::transfers::history::History;
use crate::engine::transfers::session_table::LiveSession;
use crate::error::Failure;
use crate::limits;
use crate::observe::{Report, TransferId};

/// Tells every live transfer and the last ones that ended, when it is asked. It never stands between a packet and its answer.
///
/// What it tells it looks up: who is live in the session tables of the arbiters, who was in the [`History`]. Nobody has to send it a message for
/// each transfer, and it has nothing to lose but how far those were that are at work in the moment of the question.
#[derive(Debug)]
pub struct Registry {
    workers: Arc<Workers>,
    history: Arc<History>,
    chaos: Part,
}

/// A transfer that is under way.
#[derive(Debug, Clone)]
pub struct LiveTransfer {
    /// What its request told; the outcome and what belongs to an end mean nothing yet.
    pub report: Report,
    /// Octets that have arrived, as the session published them last: at most
    /// [`limits::PROGRESS_EVERY`] ago, or when it was last active.
    pub octets: u64,
}

/// Everything the registry knows. Answered by a [`Snapshot`].
#[derive(Debug, Message)]
#[rtype(result = "Snapshot")]
pub struct List;

/// What is live, and what was: the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Transfers under way.
    pub live: Vec<LiveTransfer>,
    /// The last that ended, [`limits::HISTORY_MAX`] at most.
    pub history: Vec<Report>,
}

/// One live transfer. Answered by it, or `None`.
#[derive(Debug, Message)]
#[rtype(result = "Option<LiveTransfer>")]
pub struct Describe(pub TransferId);

/// Ends a live transfer: its peer gets ERROR 0. Answered by whether there was one.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Cancel(pub TransferId);

impl Registry {
    /// A registry of what the arbiters of `workers` do.
    #[must_use]
    pub fn new(service: &Service, workers: Arc<Workers>) -> Self {
        let (history, chaos) = (Arc::clone(&service.history), service.chaos().part("registry", ""));
        Self { workers, history, chaos }
    }

    /// The transfers that are live, the oldest first.
    fn live(&self) -> Vec<(LiveTransfer, Option<SessionAddr>)> {
        let mut found = self.workers.live();
        found.sort_by_key(|live| live.report.id);
        let live = found.into_iter();
        live.map(|LiveSession { report, session }| {
            let octets = report.tally.octets;
            (LiveTransfer { report, octets }, session)
        })
        .collect()
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.set_mailbox_capacity(limits::MAILBOX_BUSY);
    }
}

impl Supervised for Registry {
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
    }
}

impl Handler<List> for Registry {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, ctx: &mut Self::Context) -> Self::Result {
        self.chaos.at("handle", ctx);
        let live = self.live().into_iter().map(|(transfer, _)| transfer).collect();
        MessageResult(Snapshot { live, history: self.history.all() })
    }
}

impl Handler<Describe> for Registry {
    type Result = Option<LiveTransfer>;

    fn handle(&mut self, Describe(id): Describe, ctx: &mut Self::Context) -> Self::Result {
        self.chaos.at("handle", ctx);
        self.live().into_iter().map(|(transfer, _)| transfer).find(|transfer| transfer.report.id == id)
    }
}

impl Handler<Cancel> for Registry {
    type Result = bool;

    fn handle(&mut self, Cancel(id): Cancel, ctx: &mut Self::Context) -> bool {
        self.chaos.at("handle", ctx);
        let found = self.live().into_iter().find(|(transfer, _)| transfer.report.id == id);
        found
            .and_then(|(_, session)| session)
            .is_some_and(|session| session.try_send(SessionMessage::End(Failure::Cancelled)).is_ok())
    }
}
