//! What is answered to datagrams whose opcodes are extensions'.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::service::Service;
use crate::extend::{Answerer, Datagram, Received};
use crate::limits;
use crate::observe::Fact;
use crate::wire::Direction;

/// An answer, or that there will be one, if not `None`.
pub(crate) enum Answer {
    Now(Option<Bytes>),
    /// An actor has to be waited for, who isn't asked before.
    Later(Pin<Box<dyn Future<Output = Option<Bytes>>>>),
}

impl Service {
    /// Has the extension that a datagram is for answer it. `None` if it is for none.
    ///
    /// # Errors
    /// Why it gets no answer.
    pub(crate) fn ask_opcode(
        self: &Arc<Self>,
        datagram: &Datagram<'_>,
    ) -> Option<Result<Answer, &'static str>> {
        let [high, low, ..] = *datagram.octets else { return None };
        let step = self.opcodes.get(&u16::from_be_bytes([high, low]))?;
        if datagram.octets.len() > limits::REQUEST_OCTETS_MAX {
            return Some(Err("it is longer than any request that is read"));
        }
        if !self.access.allows(datagram.peer.ip(), Direction::Read) {
            return Some(Err("it is not for clients at this address"));
        }
        let asked = datagram.octets.len();
        Some(Ok(match &step.answerer {
            Answerer::Called(opcode) => {
                let answer = self.call("opcode", None, || opcode.answer(datagram)).flatten();
                Answer::Now(self.fitting(answer, asked))
            }
            Answerer::Actor(asking) => {
                let (service, asking, question) =
                    (Arc::clone(self), asking.clone(), Received(datagram.clone().into_owned()));
                Answer::Later(Box::pin(async move {
                    let answer = service.ask("opcode", None, &asking, question).await.ok().flatten();
                    service.fitting(answer, asked)
                }))
            }
        }))
    }

    /// The answer, unless whoever forges an address could flood somebody with it.
    fn fitting(&self, answer: Option<Bytes>, asked: usize) -> Option<Bytes> {
        let answer = answer?;
        let fits = answer.len() <= asked * limits::UNPROVEN_OCTETS_RATIO;
        if !fits {
            let why = "its answer is so long that forged datagrams could flood somebody with it";
            self.observe(&Fact::Misbehaved { extension: "opcode", transfer: None, why });
        }
        fits.then_some(answer)
    }
}
