//! Opcodes that TFTP doesn't have.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use actix::Message;
use bytes::Bytes;

use super::step::{Otherwise, Question, Step, sealed};

/// Answers datagrams to the listening port with an opcode that TFTP doesn't use. TFTP's own are 1
/// to 5 (RFC 1350 §5) and 6 (RFC 2347).
///
/// The listener calls it between two requests. A call of more than 500 ms is reported to observers.
/// Code that needs to block is an actor that handles [`Received`]. At most 64 datagrams wait for
/// answers of actors; the server drops further ones.
///
/// ```
/// use bytes::Bytes;
/// use stagecoach::Stagecoach;
/// use stagecoach::extend::{Datagram, Opcode};
///
/// /// Echoes datagrams with opcode 0x7069, to show that the server is running.
/// #[derive(Debug)]
/// struct Ping;
///
/// impl Opcode for Ping {
///     fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
///         Some(Bytes::copy_from_slice(&datagram.octets))
///     }
/// }
///
/// let builder = Stagecoach::builder().opcode(0x7069, Ping);
/// ```
pub trait Opcode: Send + Sync + 'static {
    /// The answer; `None` for silence. The server drops an answer of more than three times the
    /// received octets, since the sender's address may be forged. One network gets at most 4096
    /// answers and ERRORs a second.
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes>;
}

/// A received datagram.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// The sender.
    pub peer: SocketAddr,
    /// The address that the datagram was sent to.
    pub local: SocketAddr,
    /// The whole datagram; the first two octets are the opcode.
    pub octets: Cow<'a, [u8]>,
}

impl<'a> Datagram<'a> {
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, octets: &'a [u8]) -> Self {
        Self { peer, local, octets: Cow::Borrowed(octets) }
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> Datagram<'static> {
        Datagram { octets: Cow::Owned(self.octets.into_owned()), ..self }
    }
}

/// Asks an actor for the answer to a datagram, as [`Opcode::answer`].
#[derive(Debug, Message)]
#[rtype(result = "Option<Bytes>")]
pub struct Received(pub Datagram<'static>);

/// An opcode that is called, or an actor that answers.
pub type OpcodeStep = Step<Received>;

impl sealed::Sealed for Received {}

impl Question for Received {
    type Called = dyn Opcode;
    const OTHERWISE: Otherwise = Otherwise::Pass;
}

impl<F> Opcode for F
where
    F: Fn(&Datagram<'_>) -> Option<Bytes> + Send + Sync + 'static,
{
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        self(datagram)
    }
}

impl<O: Opcode> From<O> for OpcodeStep {
    fn from(opcode: O) -> Self {
        Self::new(opcode)
    }
}

impl OpcodeStep {
    /// An implementation that is called.
    #[must_use]
    pub fn new(opcode: impl Opcode) -> Self {
        Self::calling(Arc::new(opcode))
    }

    /// A closure that is called.
    #[must_use]
    pub fn from_fn(opcode: impl Fn(&Datagram<'_>) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self::new(opcode)
    }
}
