//! The state of a transfer that outlives its sessions.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::admission::PeerState;
use crate::engine::files::{SourceHandle, Upload};
use crate::engine::lock;
use crate::engine::transfers::{Assignment, Destination, Routed};
use crate::engine::window_memory::Share;
use crate::error::{Failure, Limit};
use crate::net::{Link, SharedLink, UdpLink};
use crate::observe::{Label, Report};
use crate::store::Source;
use crate::transfer::{Action, Input, Machine, Moment, Outcome, Receiver, Sender, Tally};
use crate::wire::Direction;

/// A transfer, independent of the session that drives it. The session locks the state while it
/// handles one input, and nothing else contends for the lock.
///
/// The fields that every packet touches come first, together with those of [`TransferState`]: with
/// a thousand transfers none of them is in the processor's cache, and each line of 64 octets costs
/// a wait.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SharedTransfer {
    /// The number of the session that may send, counted from 1.
    life: AtomicU32,
    /// No session is needed any more.
    over: AtomicBool,
    /// The outcome is known and was reported.
    reported: AtomicBool,
    /// Something was sent to the peer.
    replied: AtomicBool,
    state: Mutex<TransferState>,
    pub(crate) assignment: Assignment,
    /// If two sessions got an answer from the routes, the first one counts.
    pub(crate) destination: OnceLock<Destination>,
    /// The routing step to continue from, while there is no destination.
    pub(crate) ask_from: usize,
    /// The TID; in single-port mode the well-known port.
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) local: SocketAddr,
    pub(crate) peer_state: Arc<PeerState>,
    pub(crate) upload: Arc<Upload>,
    pub(crate) progress: Progress,
}

/// The state that a session hands on to the session that replaces it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct TransferState {
    /// Present once the file is open. After a panic the machine may be in the middle of an input:
    /// [`Input::Resumed`] repairs it.
    pub(crate) machine: Option<TransferMachine>,
    pub(crate) summary: Summary,
    pub(crate) window: Option<Share>,
    pub(crate) strangers_answered: u32,
    /// The file that is read. A reader that replaces another one continues with the same open file.
    pub(crate) source: Option<Arc<SourceHandle>>,
    pub(crate) readers_replaced: u32,
}

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
            life: AtomicU32::default(),
            over: AtomicBool::default(),
            reported: AtomicBool::default(),
            replied: AtomicBool::default(),
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

    pub(crate) fn link(&self) -> Box<dyn Link> {
        let (socket, peer) = (Arc::clone(&self.socket), self.assignment.peer);
        match &self.peer_state.inbox {
            Some(inbox) => Box::new(SharedLink::new(socket, Arc::clone(inbox), peer, self.local)),
            None => Box::new(UdpLink::new(socket, self.local)),
        }
    }

    /// Numbers a new session. Older sessions can't send from now on.
    pub(crate) fn next_life(&self) -> u32 {
        self.life.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(crate) fn may_send(&self, life: u32) -> bool {
        self.life.load(Ordering::Acquire) == life
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The transfer is over. An upload that is not published by now never will be.
    pub(crate) fn set_over(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.upload.close(Failure::Cancelled.into());
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.reported.load(Ordering::Acquire)
    }

    pub(crate) fn set_replied(&self) {
        // The cache line is written once, not for each packet.
        if !self.replied.load(Ordering::Relaxed) {
            self.replied.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_replied(&self) -> bool {
        self.replied.load(Ordering::Relaxed)
    }

    /// The outcome if the transfer fails now.
    pub(crate) fn failed(&self, failure: Failure) -> Outcome {
        if self.has_replied() { Outcome::Failed(failure) } else { self.assignment.refusal(failure) }
    }

    /// Locks the state. A panic leaves it consistent, except for the machine, which
    /// [`Input::Resumed`] repairs.
    pub(crate) fn lock(&self) -> MutexGuard<'_, TransferState> {
        lock(&self.state)
    }

    /// Locks the state unless a session that hangs holds the lock.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, TransferState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn label(&self) -> Option<Label> {
        self.destination.get()?.label.clone()
    }

    /// The transfer as it is now.
    pub(crate) fn under_way(&self) -> LiveTransfer {
        let [octets, blocks, repeats, ignored, size_and_one, round_trip_ns, windowsize] =
            self.progress.values();
        let report = Report {
            label: self.label(),
            size: size_and_one.checked_sub(1),
            tally: Tally { octets, blocks, repeats, ignored },
            ..self.assignment.report(self.local, Outcome::Complete)
        };
        let round_trip = (round_trip_ns > 0).then(|| Duration::from_nanos(round_trip_ns));
        LiveTransfer {
            report,
            round_trip,
            windowsize: u16::try_from(windowsize).ok().filter(|size| *size > 0),
        }
    }

    /// The report of a transfer that is over; `None` from the second call on.
    pub(crate) fn report(&self, state: &mut TransferState, outcome: Outcome) -> Option<Report> {
        if self.reported.swap(true, Ordering::AcqRel) {
            return None;
        }
        let Summary { path, size, options, detail, limit, .. } = std::mem::take(&mut state.summary);
        let report = self.assignment.report(self.local, outcome);
        let mut report = Report { label: self.label(), path, size, options, detail, limit, ..report };
        if report.outcome.is_success() {
            // A packet that couldn't be sent was repeated.
            (report.detail, report.limit) = (None, None);
        } else if report.direction == Direction::Write && self.upload.kept().is_none() {
            // There is no file that the path and the size could describe.
            (report.path, report.size) = (None, None);
        }
        let machine = state.machine.as_ref();
        report.tally = machine.map(Machine::tally).unwrap_or_default();
        if report.detail.is_none() && !machine.is_some_and(Machine::is_proven) {
            report.detail = hint(&report.outcome, self.peer_state.inbox.is_some()).map(Into::into);
        }
        Some(report)
    }
}

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
    /// Closes the upload: a job in the thread pool may still be working on it.
    fn drop(&mut self) {
        self.upload.close(Failure::Cancelled.into());
    }
}

impl TransferState {
    pub(crate) fn set_opened(&mut self, source: Arc<SourceHandle>) {
        self.summary.size = source.size();
        self.summary.path = Some(source.path().to_owned());
        self.source = Some(source);
    }
}

impl TransferMachine {
    /// The slabs that the machine knows to be stored.
    pub(crate) fn stored(&self) -> u64 {
        match self {
            Self::Sending(_) => 0,
            Self::Receiving(receiver) => receiver.stored(),
        }
    }

    pub(crate) fn windowsize(&self) -> u16 {
        let terms = match self {
            Self::Sending(sender) => sender.terms(),
            Self::Receiving(receiver) => receiver.terms(),
        };
        terms.windowsize
    }

    fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Sending(sender) => sender.round_trip(),
            Self::Receiving(receiver) => receiver.round_trip(),
        }
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

/// A live transfer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LiveTransfer {
    /// The report so far. The tally is as of 250 ms ago at most if the transfer is active; the
    /// outcome and the final fields mean nothing yet.
    pub report: Report,
    /// The smoothed round trip to the client; `None` before the first measurement.
    pub round_trip: Option<Duration>,
    /// The blocks of a window; `None` until the file is open and the options are agreed on.
    pub windowsize: Option<u16>,
}

/// The progress of a transfer, as its session published it last: at most once in
/// [`PROGRESS_EVERY`](crate::limits::PROGRESS_EVERY). It takes one cache line, and other threads
/// read it without a lock, value by value: they may stem from two publications.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Progress([AtomicU64; 7]);

impl Progress {
    pub(crate) fn publish(&self, machine: &TransferMachine, size: Option<u64>) {
        let Tally { octets, blocks, repeats, ignored } = machine.tally();
        let size_and_one = size.map_or(0, |size| size.saturating_add(1));
        let round_trip_ns =
            machine.round_trip().map_or(0, |time| time.as_nanos().try_into().unwrap_or(u64::MAX));
        let windowsize = machine.windowsize().into();
        let values = [octets, blocks, repeats, ignored, size_and_one, round_trip_ns, windowsize];
        for (place, value) in self.0.iter().zip(values) {
            place.store(value, Ordering::Relaxed);
        }
    }

    fn values(&self) -> [u64; 7] {
        self.0.each_ref().map(|value| value.load(Ordering::Relaxed))
    }
}
