//! Datagrams whose opcodes belong to extensions.

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use tokio::time::Instant;

use crate::actors::listener::Listener;
use crate::engine::extensions::Answer;
use crate::error::Limit;
use crate::extend::Datagram;
use crate::net::Received;

/// The answer of an extension that is an actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    peer: SocketAddr,
    to: SocketAddr,
    answer: Bytes,
}

impl Listener {
    /// Has the extension of this opcode answer a datagram. `false` if no extension has the opcode.
    pub(super) fn take_opcode(&mut self, received: &Received, octets: &[u8], ctx: &Context<Self>) -> bool {
        let (peer, to) = (received.from, received.to);
        match self.service.ask_opcode(&self.config, &Datagram::new(peer, to, octets)) {
            None => return false,
            Some(Ok(Answer::Now(None))) => {}
            Some(Ok(Answer::Now(Some(answer)))) => self.answer(&Answered { peer, to, answer }),
            Some(Ok(Answer::Later(answer))) => {
                let Ok(place) = Arc::clone(&self.opcodes_asked).try_acquire_owned() else {
                    self.beyond(Limit::OpcodesAsked, peer);
                    return true;
                };
                let listener = ctx.address().recipient();
                actix::spawn(async move {
                    if let Some(answer) = answer.await {
                        // If the mailbox of the listener is full, the client repeats its datagram.
                        let _ = listener.try_send(Answered { peer, to, answer });
                    }
                    drop(place);
                });
            }
            Some(Err(why)) => self.dropped(peer, why),
        }
        true
    }

    fn answer(&mut self, Answered { peer, to, answer }: &Answered) {
        if self.may_refuse(*peer, Instant::now()) {
            // An answer that can't be sent counts as lost on the way.
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
