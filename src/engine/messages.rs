//! The messages of a session, and its address.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};

use crate::engine::files::SourceHandle;
use crate::error::{Failure, Fault, Limit};
use crate::net::Received;
use crate::store::Slab;
use crate::supervision::ChildExited;
use crate::wire::Request;

/// A message to a session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum SessionMessage {
    /// The client repeated its request.
    Repeated(Repeated),
    /// Give up if the peer has not answered: the transfer gives way because of this limit, or the
    /// server is about to end.
    GiveUp(Option<Limit>),
    /// The client began a new transfer from the same port. The peer is sent nothing more.
    Superseded,
    /// End the transfer, with an ERROR that names the failure.
    End(Failure),
    /// The driver deferred work to the session.
    Attend,
    /// The deadline of the machine has passed. Sent by the poll loop.
    DeadlinePassed,
    /// An answer of the reader.
    Read(Read),
    /// The [`Upload`](super::files::Upload) has advanced or failed.
    Written,
}

/// An answer of a reader to its session.
#[derive(Debug)]
pub(crate) enum Read {
    /// The file is open.
    Opened(Arc<SourceHandle>),
    Fetched(Slab),
    /// The file can't be opened or read any further.
    Failed(Fault),
}

/// A repeated request, or a new one, if the client was answered before it sent the request. When
/// this is dropped with the request in it, the request goes back to its listener.
#[derive(Debug)]
pub(crate) struct Repeated(pub(crate) Option<Box<Returned>>);

/// A request, and the listener that it goes back to.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) listener: Recipient<Again>,
    pub(crate) again: Again,
}

/// A request that its listener must classify again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Again {
    pub(crate) received: Received,
    pub(crate) request: Request<'static>,
}

/// The address of a session, through which others send messages without depending on the actor.
pub(crate) type SessionAddr = Arc<SessionRecipients>;

#[derive(Debug)]
pub(crate) struct SessionRecipients {
    pub(crate) messages: Recipient<SessionMessage>,
    /// For the exits of the actors that the session starts.
    pub(crate) exits: Recipient<ChildExited>,
}

pub(crate) fn session_addr<A>(addr: Addr<A>) -> SessionAddr
where
    A: Actor + Handler<SessionMessage> + Handler<ChildExited>,
    A::Context: ToEnvelope<A, SessionMessage> + ToEnvelope<A, ChildExited>,
{
    Arc::new(SessionRecipients { messages: addr.clone().recipient(), exits: addr.recipient() })
}

impl Drop for Repeated {
    fn drop(&mut self) {
        if let Some(returned) = self.0.take() {
            let Returned { listener, again } = *returned;
            // If the mailbox of the listener is full, the client repeats its request.
            let _ = listener.try_send(again);
        }
    }
}
