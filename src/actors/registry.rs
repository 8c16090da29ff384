//! The actor that knows what is live, and what was.

use std::collections::{BTreeMap, VecDeque};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient, Supervised};

use super::session::End;
use super::session_supervisor::{Announce, SessionSupervisor};
use crate::error::Failure;
use crate::limits;
use crate::observe::{Report, TransferId};

/// Knows every live transfer and the last ones that ended. It hears of them; it never stands between a packet and its answer.
///
/// What it knows can be lost: after a crash, and from time to time, it asks the sessions to announce themselves anew.
#[derive(Debug, Default)]
pub struct Registry {
    live: BTreeMap<TransferId, Entry>,
    history: VecDeque<Report>,
    supervisors: Vec<actix::Addr<SessionSupervisor>>,
}

#[derive(Debug)]
struct Entry {
    transfer: LiveTransfer,
    session: Recipient<End>,
}

/// A transfer that is under way.
#[derive(Debug, Clone)]
pub struct LiveTransfer {
    /// What its request told; the outcome and what belongs to an end mean nothing yet.
    pub report: Report,
    /// Octets that have arrived, as of the last message from the session.
    pub octets: u64,
}

/// A session has begun. Sent again when the registry asks.
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

/// These are the supervisors whose sessions can be asked to announce themselves.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Supervisors(pub(crate) Vec<actix::Addr<SessionSupervisor>>);

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
    /// Forgets transfers whose session is gone without a word.
    fn purge(&mut self) {
        self.live.retain(|_, entry| entry.session.connected());
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX_BUSY);
        for supervisor in &self.supervisors {
            // One that has no room is busy with sessions that will report anyway.
            let _ = supervisor.try_send(Announce(ctx.address()));
        }
    }
}

impl Supervised for Registry {
    /// All but the supervisors is asked for again.
    fn restarting(&mut self, _: &mut Self::Context) {
        *self = Self { supervisors: std::mem::take(&mut self.supervisors), ..Self::default() };
    }
}

impl Handler<Supervisors> for Registry {
    type Result = ();

    fn handle(&mut self, Supervisors(supervisors): Supervisors, _: &mut Self::Context) {
        self.supervisors = supervisors;
    }
}

impl Handler<Started> for Registry {
    type Result = ();

    fn handle(&mut self, Started { report, session }: Started, _: &mut Self::Context) {
        let (id, transfer) = (report.id, LiveTransfer { report, octets: 0 });
        self.live.insert(id, Entry { transfer, session });
    }
}

impl Handler<Progressed> for Registry {
    type Result = ();

    fn handle(&mut self, Progressed { id, octets }: Progressed, _: &mut Self::Context) {
        if let Some(entry) = self.live.get_mut(&id) {
            entry.transfer.octets = octets;
        }
    }
}

impl Handler<Finished> for Registry {
    type Result = ();

    fn handle(&mut self, Finished(report): Finished, _: &mut Self::Context) {
        self.live.remove(&report.id);
        if self.history.len() == limits::HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(report);
    }
}

impl Handler<List> for Registry {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, _: &mut Self::Context) -> Self::Result {
        self.purge();
        let live = self.live.values().map(|entry| entry.transfer.clone()).collect();
        MessageResult(Snapshot { live, history: self.history.iter().cloned().collect() })
    }
}

impl Handler<Describe> for Registry {
    type Result = Option<LiveTransfer>;

    fn handle(&mut self, Describe(id): Describe, _: &mut Self::Context) -> Self::Result {
        self.purge();
        self.live.get(&id).map(|entry| entry.transfer.clone())
    }
}

impl Handler<Cancel> for Registry {
    type Result = bool;

    fn handle(&mut self, Cancel(id): Cancel, _: &mut Self::Context) -> bool {
        self.live.get(&id).is_some_and(|entry| entry.session.try_send(End(Failure::Cancelled)).is_ok())
    }
}
