//! Who answers a datagram with an opcode that TFTP doesn't have.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use actix::Message;
use bytes::Bytes;

use super::closure::Closure;
use super::step::{Otherwise, Question, Step, sealed};

/// Answers datagrams that arrive at the well-known port with an opcode that isn't TFTP's: those are 1 to 5 (RFC 1350 §5) and 6 (RFC 2347).
///
/// It is called by the listener between two requests: whoever has to wait for something is an actor
/// that takes [`Received`]. A call of more than 500 ms
/// ([`EXTENSION_CALL_WITHIN`](crate::limits::EXTENSION_CALL_WITHIN)) is reported to observers. Of
/// datagrams for actors 64 ([`OPCODES_ASKED_MAX`](crate::limits::OPCODES_ASKED_MAX)) wait for an
/// answer at once; the others are dropped.
///
/// ```
/// use bytes::Bytes;
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Datagram, Opcode, OpcodeStep};
///
/// /// Says whether there is a server, to whoever sends opcode 0x7069.
/// #[derive(Debug)]
/// struct Ping;
///
/// impl Opcode for Ping {
///     fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
///         Some(Bytes::copy_from_slice(&datagram.octets))
///     }
/// }
///
/// let builder = Stagecoach::builder().opcode(0x7069, OpcodeStep::new(Ping));
/// ```
pub trait Opcode: fmt::Debug + Send + Sync + 'static {
    /// The answer; `None` for silence. An answer of more than three times
    /// ([`UNPROVEN_OCTETS_RATIO`](crate::limits::UNPROVEN_OCTETS_RATIO)) the octets that arrived is
    /// not sent, for the sender's address may be forged; and there are 4096
    /// ([`ERRORS_PER_PREFIX_MAX`](crate::limits::ERRORS_PER_PREFIX_MAX)) in a second to one
    /// network, ERRORs included.
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

/// Asks the owner of an opcode.
pub type OpcodeStep = Step<Received>;

impl sealed::Sealed for Received {}

impl Question for Received {
    type Called = dyn Opcode;
    const OTHERWISE: Otherwise = Otherwise::Pass;
}

impl<F> Opcode for Closure<F>
where
    F: Fn(&Datagram<'_>) -> Option<Bytes> + Send + Sync + 'static,
{
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        (self.0)(datagram)
    }
}

impl OpcodeStep {
    /// One that is called.
    #[must_use]
    pub fn new(opcode: impl Opcode) -> Self {
        Self::calling(Arc::new(opcode))
    }

    /// A closure that is called.
    #[must_use]
    pub fn from_fn(opcode: impl Fn(&Datagram<'_>) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self::new(Closure(opcode))
    }
}
