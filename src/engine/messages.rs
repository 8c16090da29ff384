//! The messages of a session, and how others reach one without knowing the actor.

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

/// What a session is told.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum SessionMessage {
    /// The client sent its request again.
    Repeated(Repeated),
    /// There is no room any more for a transfer whose peer has not answered, because of this
    /// limit; or the server is about to end.
    GiveUp(Option<Limit>),
    /// The client began a new transfer from the same port: this one has nothing more to say to it.
    Superseded,
    /// The transfer ends, and the peer is sent an ERROR that says why.
    End(Failure),
    /// The driver deferred work to the session.
    Attend,
    /// The deadline of the machine has passed. The poll loop schedules this message.
    DeadlinePassed,
    /// The reader's answer.
    Read(Read),
    /// The writer got on, or failed: the state of the upload says how far it is.
    Written,
}

/// What a reader answers its session.
#[derive(Debug)]
pub(crate) enum Read {
    /// The file is open.
    Opened(Arc<SourceHandle>),
    /// Octets of it.
    Fetched(Slab),
    /// It can't be opened, or read any further.
    Failed(Fault),
}

/// A request that came again. The session may find that the client had its answer before it sent
/// this, which makes the request a new one. A request that no session handles goes back to its
/// listener when this is dropped.
#[derive(Debug)]
pub(crate) struct Repeated(pub(crate) Option<Box<Returned>>);

/// A request on its way back.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) listener: Recipient<Again>,
    pub(crate) again: Again,
}

/// A request that goes back to its listener, to be judged again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Again {
    pub(crate) received: Received,
    pub(crate) request: Request<'static>,
}

/// Reaches a session.
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

    /// Whether the session lives.
    pub(crate) fn connected(&self) -> bool {
        self.0.messages.connected()
    }

    /// Where the actors that the session starts report their ends.
    pub(crate) fn exits(&self) -> Recipient<ChildExited> {
        self.0.exits.clone()
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        if let Some(returned) = self.0.take() {
            let Returned { listener, again } = *returned;
            // A listener without room for it leaves it to the client to repeat.
            let _ = listener.try_send(again);
        }
    }
}
