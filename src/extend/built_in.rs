//! Built-in negotiators: they apply the server's settings for options.

use actix::{Actor, Context, Handler, MessageResult, Supervised};

use super::{Asked, Found, Grant, Negotiate, Negotiator};
use crate::limits;
use crate::net::Mtu;
use crate::policy::RefusedOption;
use crate::wire::decimal;

/// Leaves the option out for the clients that the rule is about.
impl Negotiator for RefusedOption {
    fn negotiate(&self, asked: &Asked<'_>, _: &Found) -> Vec<Grant> {
        let concerned = asked.option(&self.name).filter(|_| self.concerns(asked.peer.ip()));
        concerned.map(|_| Grant::leave_out(&self.name)).into_iter().collect()
    }
}

/// Limits blocks to what fits into one packet. [`Mtu::OfInterface`] asks the operating system,
/// which may block, so the server lets an actor ask.
impl Negotiator for Mtu {
    fn negotiate(&self, asked: &Asked<'_>, _: &Found) -> Vec<Grant> {
        let sizes = ["blksize", "blksize2"].map(|name| Some((name, decimal(asked.option(name)?)?)));
        let mut sizes = sizes.into_iter().flatten().peekable();
        // Looking up an interface costs more than a comparison.
        let most = sizes.peek().and_then(|_| self.blksize_max(asked.local));
        let Some(most) = most else { return Vec::new() };
        let too_large = sizes.filter(|(_, octets)| *octets > most.into());
        let lowered = |name| match most {
            ..limits::BLKSIZE_MIN => Grant::leave_out(name),
            most => Grant::new(name, most.to_string()),
        };
        too_large.map(|(name, _)| lowered(name)).collect()
    }
}

/// Answers for [`Mtu::OfInterface`], on a thread of its own.
#[derive(Debug)]
pub(crate) struct InterfaceMtu;

impl Actor for InterfaceMtu {
    type Context = Context<Self>;
}

impl Supervised for InterfaceMtu {}

impl Handler<Negotiate> for InterfaceMtu {
    type Result = MessageResult<Negotiate>;

    fn handle(&mut self, Negotiate { asked, file }: Negotiate, _: &mut Self::Context) -> Self::Result {
        MessageResult(Mtu::OfInterface.negotiate(&asked, &file))
    }
}

#[cfg(test)]
mod tests;
