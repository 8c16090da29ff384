//! A request, as extensions see it.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::observe::TransferId;
use crate::wire::{Direction, Request, Text};

/// A request, as extensions see it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The number of the transfer that the request is for.
    pub transfer: TransferId,
    /// The client.
    pub peer: SocketAddr,
    /// The address that the request was sent to.
    pub local: SocketAddr,
    /// The request as received: direction, name, mode and options.
    pub request: Cow<'a, Request<'static>>,
}

impl Asked<'_> {
    /// The octets of the name, as received.
    #[must_use]
    pub fn name_bytes(&self) -> &[u8] {
        self.request.filename().as_bytes()
    }

    /// The name as text. Octets that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.name_bytes())
    }

    /// Whether the request is a read. Otherwise it is a write.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.request.direction == Direction::Read
    }

    /// The value of an option that the client asks for. The case of `name` doesn't matter.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&[u8]> {
        self.request.options.get(name).map(Text::as_bytes)
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> Asked<'static> {
        let Self { transfer, peer, local, request } = self;
        Asked { transfer, peer, local, request: Cow::Owned(request.into_owned()) }
    }
}
