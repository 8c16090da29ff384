//! Answers to datagrams whose opcodes belong to extensions.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::config::Config;
use crate::engine::service::Service;
use crate::extend::{Answerer, Datagram, Received};
use crate::limits;
use crate::wire::Direction;

/// The answer of an extension; `None` inside if there is none.
pub(crate) enum Answer {
    Now(Option<Bytes>),
    /// An actor answers later. It is asked when the future is polled first.
    Later(Pin<Box<dyn Future<Output = Option<Bytes>>>>),
}

impl Service {
    /// Has the extension of this opcode answer a datagram. `None` if no extension has the opcode;
    /// an error says why the datagram gets no answer.
    pub(crate) fn ask_opcode(
        self: &Arc<Self>,
        config: &Config,
        datagram: &Datagram<'_>,
    ) -> Option<Result<Answer, &'static str>> {
        let [high, low, ..] = *datagram.octets else { return None };
        let step = config.opcodes.get(&u16::from_be_bytes([high, low]))?;
        if datagram.octets.len() > limits::REQUEST_OCTETS_MAX {
            return Some(Err("it is longer than any request that is read"));
        }
        if !config.access.allows(datagram.peer.ip(), Direction::Read) {
            return Some(Err("it is not for clients at this address"));
        }
        let asked = datagram.octets.len();
        Some(Ok(match &step.answerer {
            Answerer::Called(opcode) => {
                let answer = self.call("opcode", None, || opcode.answer(datagram)).flatten();
                Answer::Now(self.fitting(answer, asked))
            }
            Answerer::Actor(asking) => {
                let (service, asking) = (Arc::clone(self), asking.clone());
                let question = Received(datagram.clone().into_owned());
                Answer::Later(Box::pin(async move {
                    let answer = service.ask("opcode", None, &asking, question).await.ok().flatten();
                    service.fitting(answer, asked)
                }))
            }
        }))
    }

    /// The answer, unless it is so long that forged datagrams could be amplified with it.
    fn fitting(&self, answer: Option<Bytes>, asked: usize) -> Option<Bytes> {
        let answer = answer?;
        let fits = answer.len() <= asked * limits::UNPROVEN_OCTETS_RATIO;
        if !fits {
            let why = "its answer is so long that forged datagrams could flood somebody with it";
            self.misbehaved("opcode", None, why);
        }
        fits.then_some(answer)
    }
}
