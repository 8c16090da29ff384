//! A request, as extensions see it.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::observe::TransferId;
use crate::wire::{Direction, Request, Text};

/// A request, as extensions see it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// Number of the transfer that it is to become.
    pub transfer: TransferId,
    /// Who asks.
    pub peer: SocketAddr,
    /// The address that it was sent to.
    pub local: SocketAddr,
    /// What was asked: direction, name, mode and options, as they came.
    pub request: Cow<'a, Request<'static>>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(
        transfer: TransferId,
        peer: SocketAddr,
        local: SocketAddr,
        request: &'a Request<'static>,
    ) -> Self {
        Self { transfer, peer, local, request: Cow::Borrowed(request) }
    }

    /// The name's octets, as they came.
    #[must_use]
    pub fn name_bytes(&self) -> &[u8] {
        self.request.filename().as_bytes()
    }

    /// The name as text; what isn't UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.name_bytes())
    }

    /// Whether the client reads: the other thing that it may want is to write.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.request.direction == Direction::Read
    }

    /// The value of an option that the client asks for, in any spelling of its name.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&[u8]> {
        self.request.options.get(name).map(Text::as_bytes)
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Asked<'static> {
        let Self { transfer, peer, local, request } = self;
        Asked { transfer, peer, local, request: Cow::Owned(request.into_owned()) }
    }
}
