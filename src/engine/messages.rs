//! The messages of a session, and the address that lets others send them without depending on the
//! actor.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, Message, Recipient};

use crate::engine::files::source_handle::SourceHandle;
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
    /// The upload has advanced or failed. The state of the [`Upload`](super::files::upload::Upload)
    /// tells how far.
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

/// A repeated request. The session may find that the client was answered before it sent this
/// request, which makes the request a new one. When this is dropped with the request in it, the
/// request goes back to its listener.
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

/// The address of a session.
#[derive(Debug, Clone)]
pub(crate) struct SessionAddr(Arc<Recipients>);

#[derive(Debug)]
struct Recipients {
    messages: Recipient<SessionMessage>,
    exits: Recipient<ChildExited>,
}

impl SessionAddr {
    pub(crate) fn new<A>(addr: Addr<A>) -> Self
    where
        A: Actor + Handler<SessionMessage> + Handler<ChildExited>,
        A::Context: ToEnvelope<A, SessionMessage> + ToEnvelope<A, ChildExited>,
    {
        Self(Arc::new(Recipients { messages: addr.clone().recipient(), exits: addr.recipient() }))
    }

    /// Sends a message if the mailbox has room for it.
    ///
    /// # Errors
    /// The message, if there is no room, or no session.
    pub(crate) fn try_send(&self, message: SessionMessage) -> Result<(), SendError<SessionMessage>> {
        self.0.messages.try_send(message)
    }

    /// Sends a message whether or not the mailbox has room for it. The caller bounds their number.
    pub(crate) fn do_send(&self, message: SessionMessage) {
        self.0.messages.do_send(message);
    }

    pub(crate) fn connected(&self) -> bool {
        self.0.messages.connected()
    }

    /// The recipient for the exits of the actors that the session starts.
    pub(crate) fn exits(&self) -> Recipient<ChildExited> {
        self.0.exits.clone()
    }
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
