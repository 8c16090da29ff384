//! The actor that knows what is live, and what was.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult, Recipient, Supervised};

use super::roster::Live;
use super::service::Service;
use super::session::End;
use super::workers::Workers;
use crate::chaos::Part;
use crate::error::Failure;
use crate::limits;
use crate::observe::{Report, TransferId};

/// Knows every live transfer and the last ones that ended. It hears of them; it never stands between a packet and its answer.
///
/// What it knows can be lost: after a crash, and whenever it is asked, it compares with what the arbiters have.
#[derive(Debug)]
pub struct Registry {
    workers: Arc<Workers>,
    live: BTreeMap<TransferId, Entry>,
    history: VecDeque<Report>,
    chaos: Part,
}

#[derive(Debug)]
struct Entry {
    transfer: LiveTransfer,
    /// `None` between two sessions of a transfer.
    session: Option<Recipient<End>>,
}

/// A transfer that is under way.
#[derive(Debug, Clone)]
pub struct LiveTransfer {
    /// What its request told; the outcome and what belongs to an end mean nothing yet.
    pub report: Report,
    /// Octets that have arrived, as of the last message from the session.
    pub octets: u64,
}

/// A session has begun, the transfer's first or another.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Started {
    pub(super) report: Report,
    pub(super) session: Recipient<End>,
}

/// How far a transfer is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Progressed {
    pub(super) id: TransferId,
    pub(super) octets: u64,
}

/// A transfer is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Finished(pub(super) Report);

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
        let chaos = service.chaos().part("registry", "");
        Self { workers, live: BTreeMap::new(), history: VecDeque::new(), chaos }
    }

    /// Sees to it that it knows exactly the transfers that are live: news may have been lost, here by a panic or on the way by want of room.
    fn reconcile(&mut self) {
        let mut known = std::mem::take(&mut self.live);
        for Live { report, octets, session } in self.workers.live() {
            let heard = known.remove(&report.id).map_or(0, |entry| entry.transfer.octets);
            let transfer = LiveTransfer { octets: octets.unwrap_or(heard), report };
            self.live.insert(transfer.report.id, Entry { transfer, session });
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.set_mailbox_capacity(limits::MAILBOX_BUSY);
        self.reconcile();
    }
}

impl Supervised for Registry {
    /// What is live is looked up again; what was is lost.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
        self.live.clear();
        self.history.clear();
    }
}

impl Handler<Started> for Registry {
    type Result = ();

    fn handle(&mut self, Started { report, session }: Started, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        let (id, transfer) = (report.id, LiveTransfer { report, octets: 0 });
        self.live.insert(id, Entry { transfer, session: Some(session) });
    }
}

impl Handler<Progressed> for Registry {
    type Result = ();

    fn handle(&mut self, Progressed { id, octets }: Progressed, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        if let Some(entry) = self.live.get_mut(&id) {
            entry.transfer.octets = octets;
        }
    }
}

impl Handler<Finished> for Registry {
    type Result = ();

    fn handle(&mut self, Finished(report): Finished, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.live.remove(&report.id);
        if self.history.len() == limits::HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(report);
    }
}

impl Handler<List> for Registry {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, ctx: &mut Self::Context) -> Self::Result {
        self.chaos.at("handle", ctx);
        self.reconcile();
        let live = self.live.values().map(|entry| entry.transfer.clone()).collect();
        MessageResult(Snapshot { live, history: self.history.iter().cloned().collect() })
    }
}

impl Handler<Describe> for Registry {
    type Result = Option<LiveTransfer>;

    fn handle(&mut self, Describe(id): Describe, ctx: &mut Self::Context) -> Self::Result {
        self.chaos.at("handle", ctx);
        self.reconcile();
        self.live.get(&id).map(|entry| entry.transfer.clone())
    }
}

impl Handler<Cancel> for Registry {
    type Result = bool;

    fn handle(&mut self, Cancel(id): Cancel, ctx: &mut Self::Context) -> bool {
        self.chaos.at("handle", ctx);
        self.reconcile();
        let session = self.live.get(&id).and_then(|entry| entry.session.as_ref());
        session.is_some_and(|session| session.try_send(End(Failure::Cancelled)).is_ok())
    }
}
