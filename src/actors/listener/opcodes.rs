//! Datagrams whose opcodes are extensions'.

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::Listener;
use crate::extend::{Datagram, OpcodeWay, Received as Question};
use crate::limits;
use crate::net::Received;
use crate::observe::Fact;
use crate::supervision::caught;
use crate::wire::Direction;

/// What an actor answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    peer: SocketAddr,
    to: SocketAddr,
    /// Octets of what was to be answered.
    asked: usize,
    answer: Bytes,
}

impl Listener {
    /// Has the extension that the datagram is for answer it. `false` if there is none.
    pub(super) fn take_opcode(&mut self, received: &Received, octets: &[u8], ctx: &Context<Self>) -> bool {
        let [high, low, ..] = *octets else { return false };
        let service = Arc::clone(&self.service);
        let Some(step) = service.opcodes.get(&u16::from_be_bytes([high, low])) else { return false };
        let (peer, to) = (received.from, received.to);
        let dropped = |why| service.observe(&Fact::Dropped { peer, why });
        if octets.len() > limits::REQUEST_OCTETS_MAX {
            dropped("it is longer than any request that is read");
        } else if !service.access.allows(peer.ip(), Direction::Read) {
            dropped("it is not for clients at this address");
        } else {
            let datagram = Datagram::new(peer, to, octets);
            match &step.0 {
                OpcodeWay::Here(opcode) => match caught(|| opcode.answer(&datagram)) {
                    Ok(Some(answer)) => self.answer(&Answered { peer, to, asked: octets.len(), answer }),
                    Ok(None) => {}
                    Err(panic) => {
                        service.observe(&Fact::Crashed { actor: "opcode", transfer: None, panic: &panic });
                    }
                },
                OpcodeWay::Asks { actor, within } => {
                    let Ok(place) = Arc::clone(&self.opcodes_asked).try_acquire_owned() else {
                        dropped("too many of its kind wait for an answer");
                        return true;
                    };
                    let (asking, within) = (actor.send(Question(datagram.into_owned())), *within);
                    let (listener, asked) = (ctx.address().recipient(), octets.len());
                    let service = Arc::clone(&service);
                    actix::spawn(async move {
                        let why = match timeout(within, asking).await {
                            Ok(Ok(Some(answer))) => {
                                // A listener without room for it leaves it to the client to repeat.
                                let _ = listener.try_send(Answered { peer, to, asked, answer });
                                return drop(place);
                            }
                            Ok(Ok(None)) => return drop(place),
                            Ok(Err(_)) => "it panicked, or has stopped".to_owned(),
                            Err(_) => format!("it gave no answer within {within:?}"),
                        };
                        service.observe(&Fact::Misbehaved { extension: "opcode", transfer: None, why: &why });
                    });
                }
            }
        }
        true
    }

    fn answer(&mut self, Answered { peer, to, asked, answer }: &Answered) {
        if answer.len() > asked * limits::UNPROVEN_OCTETS_RATIO {
            let why = "its answer is so long that forged datagrams could flood somebody with it";
            self.service.observe(&Fact::Misbehaved { extension: "opcode", transfer: None, why });
        } else if self.may_refuse(*peer, Instant::now()) {
            // One that can't be sent is one that was lost on the way.
            let _ = self.send_refusal(*peer, *to, answer);
        }
    }
}

impl Handler<Answered> for Listener {
    type Result = ();

    fn handle(&mut self, answered: Answered, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.answer(&answered);
    }
}
