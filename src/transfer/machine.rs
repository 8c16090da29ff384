//! Inputs and actions of the machines.

use std::fmt;

use bytes::Bytes;

use super::{Moment, Transmit};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::wire::{ErrorCode, Text};

/// An event of a transfer.
#[derive(Debug)]
pub enum Input<'a> {
    /// The transfer begins: send the first packet.
    Start,
    /// A datagram from the peer (never from a stranger, see [`Tid`](super::Tid)).
    Datagram {
        /// The whole datagram.
        octets: &'a [u8],
        /// Whether another datagram follows at once: the machine may take that one before it sends
        /// (RFC 7440: of several ACKs the newest counts).
        more: bool,
    },
    /// The armed deadline has passed.
    Deadline,
    /// The octets for [`Action::Want`].
    Slab {
        /// Empty only at the end of the file.
        bytes: Bytes,
        /// Whether the file ends after these octets.
        end: bool,
    },
    /// The writer has finished one [`Action::Store`].
    Stored,
    /// The writer has finished [`Action::Publish`] or [`Action::PublishPartial`].
    Published,
    /// The client sent the same request again.
    Repeated,
    /// Too many peers have not answered yet. If this peer is one of them, only
    /// [`Repeated`](Self::Repeated) causes a repeat.
    Restrained,
    /// There is no room for unproven peers: silently ends the transfer of such a peer.
    GivenUp,
    /// The client started a new transfer from the same port. This transfer must send nothing more.
    Superseded,
    /// The driver is gone, possibly in the middle of an input or a drain, and another one
    /// continues. An input counts as lost until the [`Action::Store`] and [`Action::Publish`] after
    /// it were carried out. A pending [`Action::Want`] is requested again, and packets that the
    /// peer may be waiting for are repeated at once.
    Resumed,
    /// The network reported that the peer's port is closed.
    PeerGone,
    /// This end can't continue; the peer gets an ERROR with the [text](Fault::text_for_peer).
    Failed(&'a Fault),
}

/// What the driver has to do, in this order.
#[derive(Debug)]
pub enum Action<'a> {
    /// Pass these octets to the writer, in order. Answered by [`Input::Stored`].
    Store(Bytes),
    /// The writer has all octets: publish the file. Answered by [`Input::Published`].
    Publish,
    /// The writer has all octets that will come: keep them apart from complete files
    /// ([`OnAbort::Keep`]). Answered by [`Input::Published`].
    PublishPartial,
    /// Send to the peer.
    Transmit(Transmit<'a>),
    /// Read octets of the file. At most one read is pending. Answered by [`Input::Slab`].
    Want {
        /// The offset of the first octet.
        offset: u64,
        /// The number of octets. Fewer may be given, none only at the end of the file.
        octets: usize,
    },
    /// Feed [`Input::Deadline`] at this moment; never, if `None`. Replaces the armed deadline.
    Arm(Option<Moment>),
    /// The outcome. Comes once.
    Finished(Outcome),
    /// Nothing more will be sent or expected.
    Close,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Everything arrived, and the receiver confirmed it or is this end.
    Complete,
    /// Everything was sent, but the last block was not acknowledged: some clients never do that.
    Unconfirmed,
    /// The client only wanted the size, and ended the transfer (RFC 2347). Not a failure.
    Declined {
        /// The code of the ERROR.
        code: ErrorCode,
        /// The text of the ERROR, escaped.
        message: String,
    },
    /// The peer sent an ERROR.
    PeerAborted {
        /// The code of the ERROR.
        code: ErrorCode,
        /// The text of the ERROR, escaped.
        message: String,
    },
    /// The peer never answered: a firewall on the path, or a forged request.
    Unanswered,
    /// The peer stopped answering.
    TimedOut,
    /// The network reported that the peer's port is closed.
    PeerGone,
    /// The peer started again from the same port.
    Superseded,
    /// This end gave up and sent the peer an ERROR.
    Failed(Failure),
    /// The store couldn't tell whether the file exists, and the peer got no answer, so that it asks
    /// again. (No machine ends this way.)
    Outage(Failure),
}

impl Outcome {
    /// One word for logs and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unconfirmed => "unconfirmed",
            Self::Declined { .. } => "declined",
            Self::PeerAborted { .. } => "peer-aborted",
            Self::Unanswered => "unanswered",
            Self::TimedOut => "timed-out",
            Self::PeerGone => "peer-gone",
            Self::Superseded => "superseded",
            Self::Failed(_) => "failed",
            Self::Outage(_) => "outage",
        }
    }

    /// Whether the file was transferred, or the client only wanted its size.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Complete | Self::Unconfirmed | Self::Declined { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Unconfirmed => f.write_str("all sent but the last ACK never came"),
            Self::Declined { code, message } => {
                write!(f, "the client only probed: {}", PeerError(*code, message))
            }
            Self::PeerAborted { code, message } => write!(f, "the peer sent {}", PeerError(*code, message)),
            Self::Unanswered => f.write_str("the peer never answered"),
            Self::TimedOut => f.write_str("the peer stopped answering"),
            Self::PeerGone => f.write_str("the peer's port is closed"),
            Self::Superseded => f.write_str("the peer started again from the same port"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Outage(failure) => write!(f, "{failure}; the client got no answer"),
        }
    }
}

/// A received ERROR, without quotes, which the log would have to escape.
pub(crate) struct PeerError<'a>(pub(crate) ErrorCode, pub(crate) &'a str);

impl fmt::Display for PeerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code, message) = self;
        match message.is_empty() {
            true => write!(f, "ERROR {code} without a text"),
            false => write!(f, "ERROR {code}: {message}"),
        }
    }
}

/// The first packet of a machine, and whether the peer has answered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A sender starts with DATA 1, a receiver with ACK 0; the peer has not answered yet.
    Silent,
    /// This OACK is sent first; the peer has not answered yet.
    Oack(Vec<u8>),
    /// The peer has answered before (this end is the client).
    Answered,
}

/// What happens to an upload whose sender stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnAbort {
    /// Nothing is kept.
    #[default]
    Discard,
    /// The received octets are kept under a name that marks them as incomplete
    /// ([`Sink::publish_partial`](crate::store::Sink::publish_partial)).
    Keep,
}

/// Counters of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Octets of the file that the receiver is known to have. For netascii, octets on the wire.
    pub octets: u64,
    /// DATA packets sent or accepted, each block once.
    pub blocks: u64,
    /// Packets sent again.
    pub repeats: u64,
    /// Datagrams of the peer without effect, such as duplicates.
    pub ignored: u64,
}

/// One end of a transfer.
pub trait Machine {
    /// Takes one input. The resulting actions must be drained before the next input.
    fn handle(&mut self, now: Moment, input: Input<'_>) -> Drain<'_, Self>
    where
        Self: Sized,
    {
        self.take(now, input);
        Drain(self)
    }

    /// Takes one input; call [`handle`](Self::handle) instead.
    fn take(&mut self, now: Moment, input: Input<'_>);

    /// The next action, until `None`.
    fn next_action(&mut self) -> Option<Action<'_>>;

    /// The counters so far.
    fn tally(&self) -> Tally;

    /// Whether the peer has answered at least once, so its address is not forged.
    fn is_proven(&self) -> bool;
}

/// The actions that follow an input. Call [`next`](Self::next) until `None`.
#[derive(Debug)]
#[must_use = "a machine's actions must be carried out before its next input"]
pub struct Drain<'m, M: Machine>(&'m mut M);

impl<M: Machine> Drain<'_, M> {
    /// The next action; the one before, which may borrow from the machine, counts as done.
    #[allow(clippy::should_implement_trait, reason = "an iterator's items can't borrow from it")]
    pub fn next(&mut self) -> Option<Action<'_>> {
        self.0.next_action()
    }

    /// As [`Machine::is_proven`]; known before anything is sent.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.0.is_proven()
    }
}

/// The outcome and the deadline of every machine. Fields that packets don't touch come first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Ending {
    /// The outcome that was not returned yet. A machine may go on with one (a receiver dallies).
    pub(super) outcome: Option<Outcome>,
    pub(super) deadline: Option<Moment>,
    /// The deadline that the driver knows.
    pub(super) armed: Option<Moment>,
    close: bool,
    /// The machine takes no more input.
    pub(super) is_over: bool,
}

impl Ending {
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    pub(super) fn close(&mut self) {
        (self.deadline, self.close, self.is_over) = (None, true, true);
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.close();
    }

    pub(super) fn next_action(&mut self) -> Option<Action<'static>> {
        if self.armed != self.deadline {
            self.armed = self.deadline;
            return Some(Action::Arm(self.armed));
        }
        if self.outcome.is_some() {
            return self.outcome.take().map(Action::Finished);
        }
        std::mem::take(&mut self.close).then_some(Action::Close)
    }
}

/// The outcome for a peer's ERROR, with as much of its text as a log line can hold.
pub(super) fn aborted(code: ErrorCode, message: &Text<'_>, declined: bool) -> Outcome {
    let octets = message.as_bytes();
    let message = Text::until_nul(&octets[..octets.len().min(limits::PEER_TEXT_OCTETS_MAX)]).to_string();
    if declined { Outcome::Declined { code, message } } else { Outcome::PeerAborted { code, message } }
}
