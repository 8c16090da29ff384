//! The actor that tracks the live transfers, and the last that ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Supervised};

use crate::chaos::Part;
use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::engine::service::{Service, TransferEvent};
use crate::engine::transfers::{LiveTransfer, SharedTransfer};
use crate::error::Failure;
use crate::limits;
use crate::observe::{Report, TransferId};

/// Lists the live transfers and the last that ended, describes a transfer, and cancels one. The
/// supervisors of sessions report each transfer that begins, and whatever ends a transfer reports
/// its end. The lists survive a panic.
#[derive(Debug)]
pub struct Registry {
    service: Arc<Service>,
    live: BTreeMap<TransferId, Live>,
    /// The last that ended, the oldest first.
    history: VecDeque<Report>,
    chaos: Part,
}

#[derive(Debug)]
struct Live {
    shared: Weak<SharedTransfer>,
    session: SessionAddr,
}

/// Lists all transfers. Answered by a [`Snapshot`].
#[derive(Debug, Message)]
#[rtype(result = "Snapshot")]
pub struct List;

/// The live transfers and the last that ended, the oldest first.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The live transfers.
    pub live: Vec<LiveTransfer>,
    /// The last that ended, 256 at most.
    pub history: Vec<Report>,
}

/// Describes one live transfer. Answered by the transfer, or `None`.
#[derive(Debug, Message)]
#[rtype(result = "Option<LiveTransfer>")]
pub struct Describe(pub TransferId);

/// Ends a live transfer: its peer gets ERROR 0. Answered by whether there was one.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Cancel(pub TransferId);

impl Registry {
    /// The registry of a server's transfers.
    #[must_use]
    pub(crate) fn new(service: &Arc<Service>) -> Self {
        let chaos = service.chaos.part("registry", "");
        Self { service: Arc::clone(service), live: BTreeMap::new(), history: VecDeque::new(), chaos }
    }

    fn record(&mut self, event: TransferEvent) {
        match event {
            TransferEvent::Began { shared, session } => {
                // The session of a transfer that is over still answers repeated packets.
                if let Some(begun) = shared.upgrade().filter(|shared| !shared.is_reported()) {
                    self.live.insert(begun.assignment.id, Live { shared, session });
                }
            }
            TransferEvent::Ended(report) => {
                self.live.remove(&report.id);
                if self.history.len() >= limits::HISTORY_MAX {
                    self.history.pop_front();
                }
                self.history.push_back(*report);
            }
        }
    }
}

impl Live {
    fn describe(&self) -> Option<LiveTransfer> {
        let shared = self.shared.upgrade().filter(|shared| !shared.is_reported())?;
        Some(shared.under_way())
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.set_mailbox_capacity(limits::MAILBOX_BUSY);
        self.service.set_registry(ctx.address().recipient());
    }
}

impl Supervised for Registry {
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
    }
}

impl Handler<TransferEvent> for Registry {
    type Result = ();

    fn handle(&mut self, event: TransferEvent, ctx: &mut Self::Context) {
        // This precedes any planned fault, because the event is not repeated.
        self.record(event);
        self.chaos.at("handle", ctx);
    }
}

impl Handler<List> for Registry {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, ctx: &mut Self::Context) -> Self::Result {
        self.chaos.at("handle", ctx);
        let (live, history) =
            (self.live.values().filter_map(Live::describe).collect(), self.history.iter().cloned().collect());
        MessageResult(Snapshot { live, history })
    }
}

impl Handler<Describe> for Registry {
    type Result = Option<LiveTransfer>;

    fn handle(&mut self, Describe(id): Describe, ctx: &mut Self::Context) -> Self::Result {
        self.chaos.at("handle", ctx);
        self.live.get(&id)?.describe()
    }
}

impl Handler<Cancel> for Registry {
    type Result = bool;

    fn handle(&mut self, Cancel(id): Cancel, ctx: &mut Self::Context) -> bool {
        self.chaos.at("handle", ctx);
        let session = self.live.get(&id).map(|live| &live.session);
        session.is_some_and(|it| it.messages.try_send(SessionMessage::End(Failure::Cancelled)).is_ok())
    }
}
