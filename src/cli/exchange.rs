//! One transfer as a client: the client's state machine, with a socket and a local file.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::Exit;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::net::{Link, UdpLink};
use crate::store::Slab;
use crate::transfer::{
    Action, Client, Input, Machine, Moment, Outcome, Tally, Terms, Tid, Timeouts, Transmit, stranger_answer,
};
use crate::wire::{Direction, Packet, Request, decimal};

/// The local file. The detail of a [`Fault`] names it.
pub(super) trait Local {
    /// Reads the next octets: as many as requested, fewer only at the end of the file.
    fn fetch(&mut self, _octets: usize) -> Result<Slab, Fault> {
        Err(Failure::Internal.into())
    }

    fn store(&mut self, _octets: &[u8]) -> Result<(), Fault> {
        Err(Failure::Internal.into())
    }

    /// The transfer is complete: publishes the file.
    fn publish(&mut self) -> Result<(), Fault> {
        Err(Failure::Internal.into())
    }
}

/// What to do if the network reports, before the first answer, that the server has no listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRefusal {
    /// Repeat the request until the timeout: the server may not have started yet.
    Repeat,
    End,
}

#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcome: Outcome,
    /// The terms that the server agreed to; `None` if it never answered.
    pub(super) terms: Option<Terms>,
    pub(super) tally: Tally,
    /// The `tsize` that the server answered, in octets.
    pub(super) announced: Option<u64>,
    pub(super) took: Duration,
    /// Time until the first packet from the server.
    pub(super) answered_after: Option<Duration>,
    /// How often the network reported, before the first answer, that the server has no listener.
    pub(super) refusals: u64,
    fault: Option<Fault>,
    server: SocketAddr,
}

impl Finished {
    /// Why the transfer isn't complete, as a message for the user.
    pub(super) fn sentence(&self) -> String {
        let (server, seconds) = (self.server, self.took.as_secs_f64());
        match (&self.outcome, &self.fault) {
            (Outcome::Failed(_), Some(Fault { detail: Some(detail), .. })) => detail.to_string(),
            (Outcome::Failed(Failure::Negotiation), _) => format!(
                "{server} answered with options that were not asked for, or with invalid values: try --no-options"
            ),
            (Outcome::Failed(failure), _) => format!("the transfer with {server} failed: {failure}"),
            (Outcome::PeerAborted { code, message } | Outcome::Declined { code, message }, _) => {
                let verb = if self.terms.is_some() { "ended the transfer" } else { "refused" };
                format!("{server} {verb}: ERROR {code} \"{message}\"")
            }
            _ if self.is_refused() => {
                let refusals = self.refusals;
                let requests = if refusals == 1 { "request" } else { "requests" };
                format!("nobody listens at {server}: {refusals} {requests} refused within {seconds:.1} s")
            }
            (Outcome::PeerGone, _) => format!("{server} closed its port in the middle of the transfer"),
            (Outcome::Unanswered, _) => format!("{server} didn't answer within {seconds:.1} s"),
            (Outcome::TimedOut, _) => {
                format!("{server} stopped answering after {} octets", self.tally.octets)
            }
            (Outcome::Unconfirmed, _) => {
                format!("everything was sent, but {server} never confirmed that it has the file")
            }
            (Outcome::Complete | Outcome::Superseded | Outcome::Outage(_), _) => self.outcome.to_string(),
        }
    }

    /// The same without details that differ between transfers, so that failures can be counted.
    pub(super) fn reason(&self) -> String {
        match (&self.outcome, &self.fault) {
            (Outcome::Failed(_), Some(Fault { detail: Some(detail), .. })) => detail.to_string(),
            (Outcome::PeerAborted { code, message } | Outcome::Declined { code, message }, _) => {
                format!("ERROR {code} \"{message}\"")
            }
            _ if self.is_refused() => "nobody listens".to_owned(),
            (outcome, _) => outcome.to_string(),
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.outcome == Outcome::PeerGone && self.terms.is_none()
    }

    pub(super) fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Complete => Exit::Done,
            Outcome::Failed(_) | Outcome::Outage(_) => Exit::Failed,
            Outcome::PeerAborted { .. } | Outcome::Declined { .. } => Exit::Refused,
            _ => Exit::Unanswered,
        }
    }
}

thread_local! {
    /// The buffer for one datagram. No exchange waits while it uses the buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; limits::DATAGRAM_OCTETS_MAX]);
}

/// Sends `request` to `server`, and runs the transfer until it ends.
///
/// It uses a [`UdpLink`] rather than a blocking socket: the link reports that nobody listens on the
/// server's port, and sends a window in one system call. The error is that no packet can be sent.
pub(super) async fn exchange(
    server: SocketAddr,
    request: Request<'static>,
    timeouts: Timeouts,
    on_refusal: OnRefusal,
    local: &mut dyn Local,
) -> io::Result<Finished> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let exchange = Exchange {
        reads: request.direction == Direction::Read,
        awaits_answer: false,
        client: Client::new(request, timeouts),
        link: UdpLink::bind(SocketAddr::new(any, 0), None)?,
        tid: Tid::unknown(server),
        local,
        began: Instant::now(),
        deadline: None,
        answers: VecDeque::new(),
        on_refusal,
        finished: Finished {
            // A state machine reports its outcome before it closes.
            outcome: Outcome::Failed(Failure::Internal),
            terms: None,
            tally: Tally::default(),
            announced: None,
            took: Duration::ZERO,
            answered_after: None,
            refusals: 0,
            fault: None,
            server,
        },
        closed: false,
    };
    exchange.run().await
}

struct Exchange<'a> {
    client: Client,
    link: UdpLink,
    tid: Tid<SocketAddr>,
    local: &'a mut dyn Local,
    reads: bool,
    /// Something was sent to the server since its last packet.
    awaits_answer: bool,
    began: Instant,
    deadline: Option<Moment>,
    /// Answers of the file that the state machine has not processed yet.
    answers: VecDeque<Result<Input<'static>, Fault>>,
    on_refusal: OnRefusal,
    /// What is known so far.
    finished: Finished,
    closed: bool,
}

impl Exchange<'_> {
    async fn run(mut self) -> io::Result<Finished> {
        self.feed(Input::Start)?;
        while !self.closed {
            self.wait().await?;
            BUFFER.with_borrow_mut(|buffer| self.receive(buffer))?;
            while let Some(gone) = self.link.take_error() {
                if gone == self.tid.peer() {
                    self.on_gone()?;
                }
            }
            if self.deadline.is_some_and(|deadline| deadline <= self.now()) {
                self.feed(Input::Deadline)?;
            }
        }
        let (terms, tally) = (self.client.terms().copied(), self.client.tally());
        Ok(Finished { terms, tally, took: self.began.elapsed(), ..self.finished })
    }

    /// Handles the network's report that no socket listens on the server's port.
    fn on_gone(&mut self) -> io::Result<()> {
        if self.client.terms().is_none() {
            self.finished.refusals += 1;
            if self.on_refusal == OnRefusal::End {
                (self.finished.outcome, self.closed) = (Outcome::PeerGone, true);
                return Ok(());
            }
        }
        self.feed(Input::PeerGone)
    }

    fn now(&self) -> Moment {
        Moment::new(self.began.elapsed())
    }

    async fn wait(&mut self) -> io::Result<()> {
        let now = self.now();
        let event = poll_fn(|cx| self.link.poll_event(cx));
        match self.deadline {
            Some(deadline) => tokio::time::timeout(deadline - now, event).await.unwrap_or(Ok(())),
            None => event.await,
        }
    }

    /// Receives packets until one advances the transfer and is answered: the server sends nothing
    /// new until it gets our answer. Any packets left are received with the next ones, or before
    /// the next deadline.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let blocks = self.client.tally().blocks;
        while !self.closed {
            let arrived = match self.link.receive(buffer) {
                Ok(arrived) => arrived,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for octets in arrived.datagrams(buffer) {
                self.on_datagram(arrived.from, octets)?;
            }
            if self.awaits_answer && self.client.tally().blocks > blocks {
                break;
            }
        }
        Ok(())
    }

    fn on_datagram(&mut self, from: SocketAddr, octets: &[u8]) -> io::Result<()> {
        if !self.tid.admit(from, |server, from| server.ip() == from.ip()) {
            if let Some(answer) = stranger_answer(octets) {
                // The stranger may never get it, and that is no failure of this transfer.
                let _ = self.link.send(from, &Transmit::Packet(&answer));
            }
            return Ok(());
        }
        self.awaits_answer = false;
        self.finished.answered_after.get_or_insert_with(|| self.began.elapsed());
        let is_first = self.client.terms().is_none();
        if is_first {
            self.finished.announced = announced(octets);
        }
        self.feed(Input::Datagram { octets, more: false })?;
        if is_first && self.reads && self.client.terms().is_some_and(|terms| terms.windowsize > 1) {
            self.link.expect_runs();
        }
        Ok(())
    }

    /// Passes one input to the state machine, then the file's answers to its actions.
    fn feed(&mut self, input: Input<'_>) -> io::Result<()> {
        self.step(input)?;
        while let Some(answer) = self.answers.pop_front() {
            match answer {
                Ok(input) => self.step(input)?,
                Err(fault) => self.step(Input::Failed(&fault))?,
            }
        }
        Ok(())
    }

    fn step(&mut self, input: Input<'_>) -> io::Result<()> {
        let now = self.now();
        let mut drain = self.client.handle(now, input);
        while let Some(action) = drain.next() {
            let answer = match action {
                Action::Transmit(transmit) => {
                    self.awaits_answer = true;
                    self.link.send(self.tid.peer(), &transmit)?;
                    continue;
                }
                Action::Arm(deadline) => {
                    self.deadline = deadline;
                    continue;
                }
                Action::Finished(outcome) => {
                    self.finished.outcome = outcome;
                    continue;
                }
                Action::Close => {
                    self.closed = true;
                    continue;
                }
                // A client keeps no partial file: `OnAbort::Discard`.
                Action::PublishPartial => continue,
                Action::Publish if self.finished.fault.is_some() => continue,
                Action::Want { octets, .. } => {
                    self.local.fetch(octets).map(|Slab { bytes, end }| Input::Slab { bytes, end })
                }
                Action::Store(bytes) => self.local.store(&bytes).map(|()| Input::Stored),
                Action::Publish => self.local.publish().map(|()| Input::Published),
            };
            if let Err(fault) = &answer {
                self.finished.fault.get_or_insert_with(|| fault.clone());
            }
            self.answers.push_back(answer);
        }
        Ok(())
    }
}

fn announced(datagram: &[u8]) -> Option<u64> {
    match Packet::decode(datagram) {
        Ok(Packet::Oack(options)) => options.get("tsize").and_then(|value| decimal(value.as_bytes())),
        _ => None,
    }
}
