//! What a transfer needs to outlive its session: state by the session and, beside it, by the supervisor.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use tokio::time::Instant;

use crate::engine::admission::peer_table::PeerState;
use crate::engine::files::opened::Opened;
use crate::engine::files::source_handle::SourceHandle;
use crate::engine::files::upload::Upload;
use crate::engine::transfers::assignment::Assignment;
use crate::engine::transfers::destination::{Destination, Routed};
use crate::engine::transfers::progress::Progress;
use crate::engine::window_memory::Share;
use crate::error::{Failure, Limit};
use crate::net::{Link, SharedLink, UdpLink};
use crate::observe::{Label, Report, TransferId};
use crate::transfer::{Action, Input, Machine, Moment, Outcome, Receiver, Sender, Tally};
use crate::wire::Direction;

/// A transfer, whoever drives it. It can be taken to another thread.
///
/// No payload is copied for its sake, and no message sent: a session locks what it drives while it handles one input, and nobody else wants it then.
///
/// What each packet touches comes first, together with what it touches of [`TransferState`]: with a thousand transfers none of it is in the processor's cache when
/// it is wanted, and every line of 64 octets is waited for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SharedTransfer {
    /// Number of the session that may send.
    life: AtomicU32,
    /// Nothing is left to be done.
    over: AtomicBool,
    /// The outcome is known, and was told.
    reported: AtomicBool,
    /// Something was sent to the peer.
    replied: AtomicBool,
    state: Mutex<TransferState>,
    pub(crate) assignment: Assignment,
    /// The file, once that is known.
    destination: OnceLock<Destination>,
    /// The route that has to be waited for, if it isn't.
    ask_from: usize,
    /// The TID; in single-port mode the well-known port.
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) local: SocketAddr,
    pub(crate) peer_state: Arc<PeerState>,
    /// The file that is written.
    pub(crate) upload: Arc<Upload>,
    pub(crate) progress: Progress,
}

/// What sessions of one transfer hand on to each other.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct TransferState {
    /// Once the file is open. After a panic it may be in the middle of an input: [`Input::Resumed`] puts it right.
    pub(crate) machine: Option<TransferMachine>,
    pub(crate) summary: Summary,
    /// Memory that the window may take.
    pub(crate) window: Option<Share>,
    pub(crate) strangers_answered: u32,
    /// The file that is read: a reader that is replaced goes on with the very same.
    pub(crate) source: Option<Arc<SourceHandle>>,
    pub(crate) readers_replaced: u32,
}

/// What the report will say.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Summary {
    pub(crate) progress_at: Option<Instant>,
    pub(crate) path: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) options: String,
    pub(crate) detail: Option<Box<str>>,
    pub(crate) limit: Option<Limit>,
}

/// Either direction of a transfer.
#[derive(Debug)]
pub(crate) enum TransferMachine {
    Sending(Box<Sender>),
    Receiving(Box<Receiver>),
}

impl SharedTransfer {
    pub(crate) fn new(
        assignment: Assignment,
        routed: Routed,
        socket: Arc<UdpSocket>,
        local: SocketAddr,
        peer_state: Arc<PeerState>,
    ) -> Self {
        let (destination, ask_from) = match routed {
            Routed::To(destination) => (OnceLock::from(destination), 0),
            Routed::Ask(step) => (OnceLock::new(), step),
        };
        Self {
            life: AtomicU32::new(0),
            over: AtomicBool::new(false),
            reported: AtomicBool::new(false),
            replied: AtomicBool::new(false),
            state: Mutex::default(),
            assignment,
            destination,
            ask_from,
            socket,
            local,
            peer_state,
            upload: Arc::default(),
            progress: Progress::default(),
        }
    }

    pub(crate) fn id(&self) -> TransferId {
        self.assignment.id
    }

    /// The file, if it is known by now.
    pub(crate) fn destination(&self) -> Option<&Destination> {
        self.destination.get()
    }

    /// Where to go on asking as long as it isn't.
    pub(crate) fn ask_from(&self) -> usize {
        self.ask_from
    }

    /// It is known. (Of two answers, the first counts.)
    pub(crate) fn set_destination(&self, destination: Destination) {
        let _ = self.destination.set(destination);
    }

    /// A link to the peer, from the transfer's port.
    pub(crate) fn link(&self) -> Box<dyn Link> {
        let socket = Arc::clone(&self.socket);
        match self.peer_state.inbox() {
            Some(inbox) => {
                Box::new(SharedLink::new(socket, Arc::clone(inbox), self.assignment.peer, self.local))
            }
            None => Box::new(UdpLink::from_bound(socket, self.local)),
        }
    }

    /// Begins a new life; from now on no older one can send.
    pub(crate) fn next_life(&self) -> u32 {
        self.life.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether `life` is the one that may send.
    pub(crate) fn is_life(&self, life: u32) -> bool {
        self.life.load(Ordering::Acquire) == life
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Nothing is left to be done. Of an upload that isn't there by now, nothing will be.
    pub(crate) fn set_over(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.upload.close(Failure::Cancelled.into());
    }

    /// Whether the outcome is known.
    pub(crate) fn is_reported(&self) -> bool {
        self.reported.load(Ordering::Acquire)
    }

    /// Something is sent to the peer now.
    pub(crate) fn set_replied(&self) {
        // (The line is written to once, not for each packet.)
        if !self.replied.load(Ordering::Relaxed) {
            self.replied.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the request has had an answer.
    pub(crate) fn has_replied(&self) -> bool {
        self.replied.load(Ordering::Relaxed)
    }

    /// What sessions hand on. A panic leaves it whole, but for the machine, which knows where it was.
    pub(crate) fn lock(&self) -> MutexGuard<'_, TransferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for those who must not wait for a session that hangs.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, TransferState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn label(&self) -> Option<Label> {
        self.destination()?.label.clone()
    }

    /// The report of a transfer that is under way: what its outcome and its end add means nothing
    /// yet.
    pub(crate) fn under_way(&self) -> Report {
        let report = self.assignment.report(self.local, Outcome::Complete);
        let (tally, size) = (self.progress.tally(), self.progress.size());
        Report { label: self.label(), size, tally, ..report }
    }

    /// The report of a transfer that is over; once.
    pub(crate) fn report(&self, state: &mut TransferState, outcome: Outcome) -> Option<Report> {
        if self.reported.swap(true, Ordering::AcqRel) {
            return None;
        }
        let mut report = self.assignment.report(self.local, outcome);
        let summary = &mut state.summary;
        report.label = self.label();
        report.path = summary.path.take();
        report.size = summary.size;
        report.options = std::mem::take(&mut summary.options);
        // A packet that couldn't be sent is no news if the transfer came through all the same.
        report.detail = summary.detail.take().filter(|_| !report.outcome.is_success());
        report.limit = summary.limit.take().filter(|_| !report.outcome.is_success());
        let is_upload = self.assignment.request.direction == Direction::Write;
        if is_upload && !report.outcome.is_success() && self.upload.kept().is_none() {
            // Nothing is there that a path and a size could be of.
            (report.path, report.size) = (None, None);
        }
        report.tally = state.machine.as_ref().map(Machine::tally).unwrap_or_default();
        let is_polled = state.machine.as_ref().is_some_and(Machine::is_proven);
        if report.detail.is_none() && !is_polled {
            report.detail = hint(&report.outcome, self.peer_state.inbox().is_some()).map(Into::into);
        }
        Some(report)
    }
}

/// What an operator may try where a client that asked was never heard of again.
fn hint(outcome: &Outcome, is_single_port: bool) -> Option<&'static str> {
    match outcome {
        Outcome::Unanswered if is_single_port => Some("no packet came back: a firewall or a forged request"),
        Outcome::Unanswered => Some("no packet came back: a firewall or a client that needs --single-port"),
        Outcome::PeerGone if !is_single_port => {
            Some("a client behind NAT or a firewall may need --single-port")
        }
        _ => None,
    }
}

impl Drop for SharedTransfer {
    /// Nobody wants the transfer any more, and a job in the pool may not know it yet.
    fn drop(&mut self) {
        self.upload.close(Failure::Cancelled.into());
    }
}

impl TransferState {
    /// The file is open.
    pub(crate) fn set_opened(&mut self, opened: Opened) {
        self.summary.size = opened.size;
        self.summary.path = Some(opened.path);
        self.source = Some(opened.source);
    }
}

impl TransferMachine {
    /// Slabs whose storing the machine knows of.
    pub(crate) fn stored(&self) -> u64 {
        match self {
            Self::Sending(_) => 0,
            Self::Receiving(receiver) => receiver.stored(),
        }
    }

    /// Whether each block waits for the answer to the one before it.
    pub(crate) fn is_lock_step(&self) -> bool {
        let terms = match self {
            Self::Sending(sender) => sender.terms(),
            Self::Receiving(receiver) => receiver.terms(),
        };
        terms.windowsize == 1
    }
}

impl Machine for TransferMachine {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        match self {
            Self::Sending(sender) => sender.take(now, input),
            Self::Receiving(receiver) => receiver.take(now, input),
        }
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        match self {
            Self::Sending(sender) => sender.next_action(),
            Self::Receiving(receiver) => receiver.next_action(),
        }
    }

    fn tally(&self) -> Tally {
        match self {
            Self::Sending(sender) => sender.tally(),
            Self::Receiving(receiver) => receiver.tally(),
        }
    }

    fn is_proven(&self) -> bool {
        match self {
            Self::Sending(sender) => sender.is_proven(),
            Self::Receiving(receiver) => receiver.is_proven(),
        }
    }
}
