//! The client: a request, then the machines of the server in the other direction.

use super::machine::{Ending, aborted};
use super::negotiation::accept;
use super::tid::fault_packet;
use super::timing::Timing;
use super::{
    Action, Input, Machine, Moment, OnAbort, Opening, Outcome, Receiver, Sender, Tally, Terms, Timeouts,
    Transmit,
};
use crate::error::Fault;
use crate::limits;
use crate::wire::{Direction, Mode, Packet, Request};

/// A transfer from its client's side: sends the request until it is answered, then receives or
/// sends the file.
///
/// [`Input::PeerGone`] before the first answer ends nothing, because a device that is starting
/// doesn't listen yet. The request is repeated until its time is up, and the outcome is then
/// [`Outcome::PeerGone`] instead of [`Outcome::Unanswered`].
#[derive(Debug)]
pub struct Client(Stage);

#[derive(Debug)]
enum Stage {
    Requesting(Box<Requesting>),
    Receiving(Box<Receiver>),
    Sending(Box<Sender>),
}

#[derive(Debug)]
struct Requesting {
    request: Request<'static>,
    /// The request, or the ERROR that refuses the server's options.
    control: Vec<u8>,
    timeouts: Timeouts,
    timing: Timing,
    last_sent_at: Moment,
    transmit: bool,
    /// The network reported that the server's port is closed.
    is_refused: bool,
    ending: Ending,
    tally: Tally,
}

impl Client {
    /// A client for `request`.
    #[must_use]
    pub fn new(request: Request<'static>, timeouts: Timeouts) -> Self {
        let requesting = Requesting {
            control: Packet::Request(request.clone()).to_bytes(),
            request,
            timeouts,
            timing: Timing::new(timeouts, None),
            last_sent_at: Moment::default(),
            transmit: false,
            is_refused: false,
            ending: Ending::default(),
            tally: Tally::default(),
        };
        Self(Stage::Requesting(Box::new(requesting)))
    }

    /// The agreed terms; `None` before the server has answered.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match &self.0 {
            Stage::Requesting(_) => None,
            Stage::Receiving(receiver) => Some(receiver.terms()),
            Stage::Sending(sender) => Some(sender.terms()),
        }
    }
}

impl Requesting {
    /// Handles the server's answer. Returns the machine for the rest of the transfer, if valid.
    fn answered(&mut self, now: Moment, octets: &[u8]) -> Option<Stage> {
        let plain = Terms { netascii: self.request.mode == Mode::Netascii, ..Terms::default() };
        match (Packet::decode(octets), self.request.direction) {
            (Ok(Packet::Data { block: 1, .. }), Direction::Read) => {
                let receiver = Receiver::begun(now, plain, self.timeouts);
                return Some(self.receiving(now, receiver, Input::Datagram { octets, more: false }));
            }
            (Ok(Packet::Ack { block: 0 }), Direction::Write) => return Some(self.begin(now, plain)),
            // An OACK that can't be accepted is answered with ERROR 8 (RFC 2347).
            (Ok(Packet::Oack(options)), _) => match accept(&self.request, &options) {
                Ok(terms) => return Some(self.begin(now, terms)),
                Err(failure) => self.fail(&failure.into()),
            },
            (Ok(Packet::Error { code, message }), _) => self.ending.end(aborted(code, &message, false)),
            _ => self.tally.ignored += 1,
        }
        None
    }

    fn begin(&self, now: Moment, terms: Terms) -> Stage {
        if self.request.direction == Direction::Read {
            let receiver = Receiver::new(terms, Opening::Answered, self.timeouts, OnAbort::Discard);
            return self.receiving(now, receiver, Input::Start);
        }
        let mut sender = Sender::new(terms, Opening::Answered, self.timeouts);
        sender.ending.armed = self.ending.armed;
        sender.take(now, Input::Start);
        Stage::Sending(Box::new(sender))
    }

    fn receiving(&self, now: Moment, mut receiver: Receiver, first: Input<'_>) -> Stage {
        receiver.ending.armed = self.ending.armed;
        receiver.take(now, first);
        Stage::Receiving(Box::new(receiver))
    }

    fn send(&mut self, now: Moment) {
        self.last_sent_at = now;
        self.transmit = true;
        self.arm();
    }

    fn arm(&mut self) {
        let mut repeat = self.timing.repeat_at(self.last_sent_at);
        if self.is_refused {
            repeat = repeat.min(self.last_sent_at + limits::CLIENT_REFUSED_REPEAT_MAX);
        }
        self.ending.deadline = Some(repeat.min(self.timing.give_up_request_at()));
    }

    fn on_deadline(&mut self, now: Moment) {
        if now >= self.timing.give_up_request_at() {
            self.ending.end(if self.is_refused { Outcome::PeerGone } else { Outcome::Unanswered });
        } else {
            self.tally.repeats += 1;
            self.timing.repeated(now);
            self.send(now);
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.control = fault_packet(fault);
        self.transmit = true;
        self.ending.end(Outcome::Failed(fault.failure));
    }

    fn take(&mut self, now: Moment, input: &Input<'_>) {
        match input {
            Input::Start => {
                self.timing.restart(now);
                self.timing.sent(now);
                self.send(now);
            }
            Input::Deadline if self.ending.is_due(now) => self.on_deadline(now),
            // A device that is starting doesn't listen yet; the request is repeated as if lost.
            Input::PeerGone => {
                self.is_refused = true;
                self.arm();
            }
            Input::Failed(fault) => self.fail(fault),
            _ => {}
        }
    }
}

impl Machine for Client {
    fn take(&mut self, now: Moment, input: Input<'_>) {
        match (&mut self.0, input) {
            (Stage::Requesting(requesting), _) if requesting.ending.is_over => {}
            (Stage::Requesting(requesting), Input::Datagram { octets, .. }) => {
                if let Some(stage) = requesting.answered(now, octets) {
                    self.0 = stage;
                }
            }
            (Stage::Requesting(requesting), input) => requesting.take(now, &input),
            (Stage::Receiving(receiver), Input::Datagram { octets: [0, 6, ..], .. }) => {
                receiver.on_offer_repeated(now);
            }
            (Stage::Receiving(receiver), input) => receiver.take(now, input),
            (Stage::Sending(sender), input) => sender.take(now, input),
        }
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        match &mut self.0 {
            Stage::Requesting(requesting) => {
                if std::mem::take(&mut requesting.transmit) {
                    return Some(Action::Transmit(Transmit::Packet(&requesting.control)));
                }
                requesting.ending.next_action()
            }
            Stage::Receiving(receiver) => receiver.next_action(),
            Stage::Sending(sender) => sender.next_action(),
        }
    }

    fn tally(&self) -> Tally {
        match &self.0 {
            Stage::Requesting(requesting) => requesting.tally,
            Stage::Receiving(receiver) => receiver.tally(),
            Stage::Sending(sender) => sender.tally(),
        }
    }

    fn is_proven(&self) -> bool {
        !matches!(self.0, Stage::Requesting(_))
    }
}

#[cfg(test)]
mod tests;
