//! Who answers a datagram with an opcode that TFTP doesn't have.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use bytes::Bytes;

use crate::limits;

/// Answers datagrams that arrive at the well-known port with an opcode that isn't TFTP's.
///
/// It is called by the listener between two requests: whoever has to wait for something is an actor that takes [`Received`].
pub trait Opcode: fmt::Debug + Send + Sync + 'static {
    /// The answer; `None` for silence. An answer of more than [`limits::UNPROVEN_OCTETS_RATIO`] times the octets that arrived is not sent, for the sender's address may be forged;
    /// and there are only so many in a second to one network.
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes>;
}

/// A datagram.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address that it was sent to.
    pub local: SocketAddr,
    /// All of it: the opcode is the first two octets.
    pub octets: Cow<'a, [u8]>,
}

impl<'a> Datagram<'a> {
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, octets: &'a [u8]) -> Self {
        Self { peer, local, octets: Cow::Borrowed(octets) }
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Datagram<'static> {
        Datagram { octets: Cow::Owned(self.octets.into_owned()), ..self }
    }
}

/// Asks an actor for the answer to a datagram, as [`Opcode::answer`].
#[derive(Debug, Message)]
#[rtype(result = "Option<Bytes>")]
pub struct Received(pub Datagram<'static>);

/// Who answers an opcode.
#[derive(Debug, Clone)]
pub struct OpcodeStep(pub(crate) Step);

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Called at once.
    Here(Arc<dyn Opcode>),
    /// An actor that is asked, and may take so long to answer: later there is none.
    Asks { actor: Recipient<Received>, within: Duration },
}

impl OpcodeStep {
    /// One that is called.
    #[must_use]
    pub fn new(opcode: impl Opcode) -> Self {
        Self(Step::Here(Arc::new(opcode)))
    }

    /// An actor that is asked. It has [`limits::EXTENSION_WITHIN`] to answer; else there is silence.
    #[must_use]
    pub fn asking(actor: Recipient<Received>) -> Self {
        Self(Step::Asks { actor, within: limits::EXTENSION_WITHIN })
    }

    /// The actor may take so long to answer. No difference to one that is called.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        if let Step::Asks { within, .. } = &mut self.0 {
            *within = time;
        }
        self
    }
}
