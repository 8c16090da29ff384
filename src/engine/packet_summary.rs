//! Packets as the log shows them.

use std::fmt;

use crate::wire::{Direction, Packet, Request};

pub(crate) struct PacketSummary<'a>(pub(crate) &'a [u8]);

impl fmt::Display for PacketSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Packet::decode(self.0) {
            Ok(Packet::Request(request)) => RequestSummary(&request).fmt(f),
            Ok(Packet::Data { block, payload }) => write!(f, "DATA {block} ({} octets)", payload.len()),
            Ok(Packet::Ack { block }) => write!(f, "ACK {block}"),
            Ok(Packet::Error { code, message }) => write!(f, "ERROR {code} \"{message}\""),
            Ok(Packet::Oack(options)) => write!(f, "OACK {options}"),
            Err(error) => write!(f, "{} octets: {error}", self.0.len()),
        }
    }
}

/// A request, with all that it asks for.
pub(crate) struct RequestSummary<'a>(pub(crate) &'a Request<'a>);

impl fmt::Display for RequestSummary<'_> {
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
