//! Packets as the log shows them.

use std::fmt;

use crate::wire::{Direction, Packet, Request};

/// A packet as the log shows it.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Packet::decode(self.0) {
            Ok(Packet::Request(request)) => Requested(&request).fmt(f),
            Ok(Packet::Data { block, payload }) => write!(f, "DATA {block} ({} octets)", payload.len()),
            Ok(Packet::Ack { block }) => write!(f, "ACK {block}"),
            Ok(Packet::Error { code, message }) => write!(f, "ERROR {code} \"{message}\""),
            Ok(Packet::Oack(options)) => write!(f, "OACK {options}"),
            Err(error) => write!(f, "{} octets: {error}", self.0.len()),
        }
    }
}

/// A request, with all that it asks for.
pub(crate) struct Requested<'a>(pub(crate) &'a Request<'a>);

impl fmt::Display for Requested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Request { direction, mode, options, .. }) = self;
        let opcode = match direction {
            Direction::Read => "RRQ",
            Direction::Write => "WRQ",
        };
        write!(f, "{opcode} {} {mode}", self.0.filename())?;
        if options.is_empty() { Ok(()) } else { write!(f, " {options}") }
    }
}
