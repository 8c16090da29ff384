//! What goes into a machine and what comes out.

use std::fmt;

use bytes::Bytes;

use super::{Moment, Transmit};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::wire::{ErrorCode, Text};

/// Something that happened to a transfer.
#[derive(Debug)]
pub enum Input<'a> {
    /// The transfer begins: send the first packet.
    Start,
    /// A datagram came from the peer (never a stranger's, see [`Tid`](super::Tid)).
    Datagram {
        /// The whole of it.
        octets: &'a [u8],
        /// Whether further datagrams have come already: the machine may look at them before it sends (RFC 7440: of several ACKs the newest
        /// counts). Whoever says so must go on feeding until it says `false`.
        more: bool,
    },
    /// The deadline that was armed has passed.
    Deadline,
    /// The octets that [`Action::Want`] asked for.
    Slab {
        /// They, from the offset asked for; none only if the file ends there.
        bytes: Bytes,
        /// Whether the file ends right after them.
        end: bool,
    },
    /// The writer has taken care of one [`Action::Store`].
    Stored,
    /// The writer has done [`Action::Publish`] or [`Action::PublishPartial`].
    Published,
    /// The client sent the same request again.
    Repeated,
    /// Too many peers have not answered yet: if this one hasn't either, it gets nothing more by itself, but an answer to each [`Repeated`](Self::Repeated) within its bound.
    Restrained,
    /// There is no room for a peer that hasn't answered yet. One that has is not concerned; nobody is told anything.
    GivenUp,
    /// The client has begun anew from the same port: nothing more is to be said to it by this transfer.
    Superseded,
    /// Whoever drove the machine is gone, perhaps in the middle of an input or of a drain, and someone else goes on. An input stands once the
    /// [`Action::Store`] and [`Action::Publish`] that followed it were carried out, else it is as if it had been lost. Whatever was
    /// wanted must be asked for anew, and what the peer may be waiting for is sent again at once.
    Resumed,
    /// The network says that nobody listens at the peer's address any more.
    PeerGone,
    /// This end can't go on; the peer gets an ERROR with the fault's code and
    /// [text](Fault::text_for_peer).
    Failed(&'a Fault),
}

/// Something to be done, in the order in which they come.
#[derive(Debug)]
pub enum Action<'a> {
    /// Give these octets to the writer; they follow those given before. Answered by [`Input::Stored`].
    Store(Bytes),
    /// Everything was given to the writer: make the file appear. Answered by [`Input::Published`].
    Publish,
    /// Everything that came was given to the writer, and nothing more will come: keep that apart
    /// from whole files ([`OnAbort::Keep`]). Answered by [`Input::Published`].
    PublishPartial,
    /// Send to the peer.
    Transmit(Transmit<'a>),
    /// Fetch octets of the file. One is under way at most. Answered by [`Input::Slab`].
    Want {
        /// Where they start.
        offset: u64,
        /// How many; fewer may be given, none only at the end.
        octets: usize,
    },
    /// Feed [`Input::Deadline`] at this moment; never, if `None`. Replaces what was armed before.
    Arm(Option<Moment>),
    /// The outcome is known. Comes once.
    Finished(Outcome),
    /// Nothing will be sent or expected any more.
    Close,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything arrived, and the receiver said so or is this end.
    Complete,
    /// Everything was sent, but the ACK of the last block never came: some clients send none.
    Unconfirmed,
    /// The client ended it when it had seen our options: it only wanted to know the size (RFC 2347). No failure.
    Declined {
        /// The ERROR's code.
        code: ErrorCode,
        /// The ERROR's text, escaped.
        message: String,
    },
    /// The peer sent an ERROR.
    PeerAborted {
        /// Its code.
        code: ErrorCode,
        /// Its text, escaped.
        message: String,
    },
    /// The peer never answered at all: a firewall on the way, or a request that nobody sent.
    Unanswered,
    /// The peer stopped answering.
    TimedOut,
    /// The network says that the peer is gone.
    PeerGone,
    /// The peer began anew from the same port.
    Superseded,
    /// This end gave up and told the peer why.
    Failed(Failure),
    /// The store couldn't say whether the file is there, and the peer was told nothing, so that it
    /// asks again. (No machine ends so: nothing has been sent then.)
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

    /// Whether the file got to where it should, or nobody wanted it to.
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
            Self::Superseded => f.write_str("the peer began anew from the same port"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Outage(failure) => write!(f, "{failure}; the client was told nothing"),
        }
    }
}

/// An ERROR that came, without quotes, which the log would have to escape.
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

/// What the first packet of a machine is, and so whether the peer has proved that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A sender starts with DATA 1, a receiver with ACK 0, to a peer that has not answered yet.
    Silent,
    /// This OACK is sent first, to a peer that has not answered yet.
    Oack(Vec<u8>),
    /// The peer has answered before (this end is the client).
    Answered,
}

/// What becomes of an upload whose sender stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnAbort {
    /// Nothing is left of it.
    #[default]
    Discard,
    /// What came is kept, under a name that shows that it isn't whole
    /// ([`Sink::publish_partial`](crate::store::Sink::publish_partial)).
    Keep,
}

/// What a transfer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Octets of the file that the receiver has for certain. In netascii, as they are on the wire.
    pub octets: u64,
    /// DATA packets sent or accepted, each block once.
    pub blocks: u64,
    /// Packets sent again.
    pub repeats: u64,
    /// Datagrams of the peer that told nothing new: duplicates, ACKs of no block in flight, and what isn't part of a transfer.
    pub ignored: u64,
}

/// One end of a transfer.
pub trait Machine {
    /// Takes one input. The actions that follow must be drained before the next.
    fn handle(&mut self, now: Moment, input: Input<'_>) -> Drain<'_, Self>
    where
        Self: Sized,
    {
        self.take(now, input);
        Drain(self)
    }

    /// Takes one input. Call [`handle`](Self::handle) rather than this.
    fn take(&mut self, now: Moment, input: Input<'_>);

    /// The next thing to do, until `None`.
    fn next_action(&mut self) -> Option<Action<'_>>;

    /// What was done so far.
    fn tally(&self) -> Tally;

    /// Whether the peer has answered at least once, and so is where it says it is.
    fn is_proven(&self) -> bool;
}

/// The actions that follow an input. To be drained with [`next`](Self::next) until `None`.
#[derive(Debug)]
#[must_use = "a machine's actions must be carried out before its next input"]
pub struct Drain<'m, M: Machine>(&'m mut M);

impl<M: Machine> Drain<'_, M> {
    /// The next thing to do; the one before counts as done. An action may borrow from the machine, so it has to be done before the next is asked for.
    #[expect(clippy::should_implement_trait, reason = "an iterator's items can't borrow from it")]
    pub fn next(&mut self) -> Option<Action<'_>> {
        self.0.next_action()
    }

    /// As [`Machine::is_proven`]: known before anything is sent.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.0.is_proven()
    }
}

/// The part of every machine that ends it and tells the time. What no packet touches comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Ending {
    outcome: Option<Outcome>,
    /// The moment that should be armed, and the one that is.
    deadline: Option<Moment>,
    armed: Option<Moment>,
    /// The outcome is known, and wasn't told yet.
    finished: bool,
    close: bool,
    over: bool,
}

impl Ending {
    /// Whether the machine takes no more input.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Goes on for another machine, whose deadline may still be armed.
    pub(super) fn succeed(&mut self, other: &Self) {
        self.armed = other.armed;
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    pub(super) fn arm(&mut self, deadline: Option<Moment>) {
        self.deadline = deadline;
    }

    /// The outcome is known; the machine goes on (a receiver dallies).
    pub(super) fn finish(&mut self, outcome: Outcome) {
        (self.outcome, self.finished) = (Some(outcome), true);
    }

    /// Nothing more will happen.
    pub(super) fn close(&mut self) {
        (self.deadline, self.close, self.over) = (None, true, true);
    }

    pub(super) fn next_action(&mut self) -> Option<Action<'static>> {
        if self.armed != self.deadline {
            self.armed = self.deadline;
            return Some(Action::Arm(self.armed));
        }
        if std::mem::take(&mut self.finished) {
            return self.outcome.take().map(Action::Finished);
        }
        std::mem::take(&mut self.close).then_some(Action::Close)
    }
}

/// The outcome that a peer's ERROR means. Of its text the beginning is kept, which a line of the log has room for.
pub(super) fn aborted(code: ErrorCode, message: &Text<'_>, declined: bool) -> Outcome {
    let octets = message.as_bytes();
    let message = Text::until_nul(&octets[..octets.len().min(limits::PEER_TEXT_OCTETS_MAX)]).to_string();
    if declined { Outcome::Declined { code, message } } else { Outcome::PeerAborted { code, message } }
}
