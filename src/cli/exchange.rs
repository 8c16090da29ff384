//! One transfer as its client: the machine on one side, a socket and a file of this machine on the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Exit;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::net::{Link, UdpLink};
use crate::store::Slab;
use crate::transfer::{
    Action, Client, Input, Machine, Moment, Outcome, Tally, Terms, Tid, Timeouts, Transmit, stranger_answer,
};
use crate::wire::{Direction, Packet, Request, decimal};

/// The file at this end. A [`Fault`]'s detail names it.
pub(super) trait Local {
    /// Its next octets, as many as asked for unless it ends.
    fn fetch(&mut self, octets: usize) -> Result<Slab, Fault> {
        let _ = octets;
        Err(Failure::Internal.into())
    }

    /// Appends to it.
    fn store(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let _ = octets;
        Err(Failure::Internal.into())
    }

    /// All of it is there.
    fn publish(&mut self) -> Result<(), Fault> {
        Err(Failure::Internal.into())
    }
}

/// What it means that the network says, before the first answer, that nobody listens at the
/// server's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRefusal {
    /// The server may not have started yet: the request is repeated until its time is up.
    Repeat,
    /// The transfer ends.
    End,
}

/// How a transfer went.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcome: Outcome,
    /// What the server agreed to; `None` if it never answered.
    pub(super) terms: Option<Terms>,
    pub(super) tally: Tally,
    /// `tsize` of the server's answer, in octets.
    pub(super) announced: Option<u64>,
    pub(super) took: Duration,
    /// Until the first packet of the server came.
    pub(super) answered_after: Option<Duration>,
    /// How often the network said, before the first answer, that nobody listens.
    pub(super) refusals: u64,
    /// What went wrong at this end.
    fault: Option<Fault>,
    server: SocketAddr,
}

impl Finished {
    /// Why it isn't complete, for the one who typed it.
    pub(super) fn sentence(&self) -> String {
        let server = self.server;
        match (&self.outcome, &self.fault) {
            (Outcome::Failed(_), Some(Fault { detail: Some(detail), .. })) => detail.to_string(),
            (Outcome::Failed(Failure::Negotiation), _) => format!(
                "{server} answered with options that were not asked for, or with values that can't be: try --no-options"
            ),
            (Outcome::Failed(failure), _) => format!("the transfer with {server} failed: {failure}"),
            (Outcome::PeerAborted { code, message } | Outcome::Declined { code, message }, _) => {
                let verb = if self.terms.is_some() { "ended the transfer" } else { "refused" };
                format!("{server} {verb}: ERROR {code} \"{message}\"")
            }
            (Outcome::PeerGone, _) if self.terms.is_none() => {
                let (refusals, seconds) = (self.refusals, self.took.as_secs_f64());
                let requests = if refusals == 1 { "request" } else { "requests" };
                format!("nobody listens at {server}: {refusals} {requests} refused within {seconds:.1} s")
            }
            (Outcome::PeerGone, _) => format!("{server} closed its port in the middle of the transfer"),
            (Outcome::Unanswered, _) => {
                format!("{server} didn't answer within {:.1} s", self.took.as_secs_f64())
            }
            (Outcome::TimedOut, _) => {
                format!("{server} stopped answering after {} octets", self.tally.octets)
            }
            (Outcome::Unconfirmed, _) => {
                format!("everything was sent, but {server} never confirmed that it has the file")
            }
            (Outcome::Complete | Outcome::Superseded | Outcome::Outage(_), _) => self.outcome.to_string(),
        }
    }

    /// The same in words that don't differ from one transfer to the next, for those who count them.
    pub(super) fn reason(&self) -> String {
        match (&self.outcome, &self.fault) {
            (Outcome::Failed(_), Some(Fault { detail: Some(detail), .. })) => detail.to_string(),
            (Outcome::PeerAborted { code, message } | Outcome::Declined { code, message }, _) => {
                format!("ERROR {code} \"{message}\"")
            }
            (Outcome::PeerGone, _) if self.terms.is_none() => "nobody listens".to_owned(),
            (outcome, _) => outcome.to_string(),
        }
    }

    /// Whether nobody listens at the server's port.
    pub(super) fn is_refused(&self) -> bool {
        self.outcome == Outcome::PeerGone && self.terms.is_none()
    }

    pub(super) fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Complete => Exit::Done,
            Outcome::Failed(_) | Outcome::Outage(_) => Exit::Failed,
            Outcome::PeerAborted { .. } | Outcome::Declined { .. } => Exit::Refused,
            Outcome::Unanswered
            | Outcome::TimedOut
            | Outcome::PeerGone
            | Outcome::Superseded
            | Outcome::Unconfirmed => Exit::Unanswered,
        }
    }
}

/// Sends `request` to `server`, and carries the file until either end is done.
///
/// A [`UdpLink`] in a runtime of one thread, rather than a blocking socket: it tells of a server that isn't there, and
/// sends a window in one call.
///
/// # Errors
/// When no packet can be sent at all: no route, no socket.
pub(super) fn exchange(
    server: SocketAddr,
    request: Request<'static>,
    timeouts: Timeouts,
    on_refusal: OnRefusal,
    local: &mut dyn Local,
) -> io::Result<Finished> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(exchange_with(server, request, timeouts, on_refusal, local, &Scratch::default()))
}

/// As [`exchange`], inside a runtime, beside others that share the `scratch`.
pub(super) async fn exchange_with(
    server: SocketAddr,
    request: Request<'static>,
    timeouts: Timeouts,
    on_refusal: OnRefusal,
    local: &mut dyn Local,
    scratch: &Scratch,
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
        announced: None,
        answered_after: None,
        on_refusal,
        refusals: 0,
        fault: None,
        outcome: None,
        closed: false,
    };
    exchange.run(server, scratch).await
}

/// Room for the datagram at hand: nobody waits while one lies in it, so that all exchanges of a thread can do with one.
pub(super) struct Scratch(RefCell<Vec<u8>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(RefCell::new(vec![0; limits::DATAGRAM_OCTETS_MAX]))
    }
}

struct Exchange<'a> {
    client: Client,
    link: UdpLink,
    tid: Tid<SocketAddr>,
    local: &'a mut dyn Local,
    reads: bool,
    /// Something was sent to the server since it was last heard.
    awaits_answer: bool,
    began: Instant,
    deadline: Option<Moment>,
    /// What the file said to the machine's wishes, and the machine hasn't heard yet.
    answers: VecDeque<Answer>,
    announced: Option<u64>,
    answered_after: Option<Duration>,
    on_refusal: OnRefusal,
    refusals: u64,
    fault: Option<Fault>,
    outcome: Option<Outcome>,
    closed: bool,
}

enum Answer {
    Slab(Slab),
    Stored,
    Published,
    Failed(Fault),
}

impl Exchange<'_> {
    async fn run(mut self, server: SocketAddr, scratch: &Scratch) -> io::Result<Finished> {
        self.feed(Input::Start)?;
        while !self.closed {
            self.wait().await?;
            self.receive(&mut scratch.0.borrow_mut())?;
            while let Some(gone) = self.link.take_error() {
                if gone == self.tid.peer() {
                    self.on_gone()?;
                }
            }
            if self.deadline.is_some_and(|deadline| deadline <= self.now()) {
                self.feed(Input::Deadline)?;
            }
        }
        Ok(Finished {
            // A machine tells its outcome before it closes.
            outcome: self.outcome.unwrap_or(Outcome::Failed(Failure::Internal)),
            terms: self.client.terms().copied(),
            tally: self.client.tally(),
            announced: self.announced,
            took: self.began.elapsed(),
            answered_after: self.answered_after,
            refusals: self.refusals,
            fault: self.fault,
            server,
        })
    }

    /// The network says that nobody listens at the server's port.
    fn on_gone(&mut self) -> io::Result<()> {
        if self.client.terms().is_none() {
            self.refusals += 1;
            if self.on_refusal == OnRefusal::End {
                (self.outcome, self.closed) = (Some(Outcome::PeerGone), true);
                return Ok(());
            }
        }
        self.feed(Input::PeerGone)
    }

    fn now(&self) -> Moment {
        Moment::new(self.began.elapsed())
    }

    /// Sleeps until something comes or the deadline passes.
    async fn wait(&mut self) -> io::Result<()> {
        let now = self.now();
        let event = poll_fn(|cx| self.link.poll_event(cx));
        match self.deadline {
            Some(deadline) => tokio::time::timeout(deadline - now, event).await.unwrap_or(Ok(())),
            None => event.await,
        }
    }

    /// Takes what has come, up to what gets the transfer on and is answered: the server has nothing to add before it sees our answer. What lies there
    /// all the same is taken with what comes next, or before a deadline is.
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
                // What becomes of it is the stranger's concern.
                let _ = self.link.send(from, &Transmit::Packet(&answer));
            }
            return Ok(());
        }
        self.awaits_answer = false;
        if self.answered_after.is_none() {
            self.answered_after = Some(self.began.elapsed());
        }
        if self.client.terms().is_some() {
            return self.feed(Input::Datagram { octets, more: false });
        }
        self.announced = announced(octets);
        self.feed(Input::Datagram { octets, more: false })?;
        if self.reads && self.client.terms().is_some_and(|terms| terms.windowsize > 1) {
            self.link.expect_runs();
        }
        Ok(())
    }

    /// Gives the machine one input, and then what the file answers to its wishes.
    fn feed(&mut self, input: Input<'_>) -> io::Result<()> {
        self.step(input)?;
        while let Some(answer) = self.answers.pop_front() {
            let fault;
            self.step(match answer {
                Answer::Slab(Slab { bytes, end }) => Input::Slab { bytes, end },
                Answer::Stored => Input::Stored,
                Answer::Published => Input::Published,
                Answer::Failed(failed) => {
                    fault = failed;
                    Input::Failed(&fault)
                }
            })?;
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
                    self.outcome = Some(outcome);
                    continue;
                }
                Action::Close => {
                    self.closed = true;
                    continue;
                }
                Action::Want { octets, .. } => self.local.fetch(octets).map(Answer::Slab),
                Action::Store(bytes) => self.local.store(&bytes).map(|()| Answer::Stored),
                // (A client keeps nothing that isn't whole: `OnAbort::Discard`.)
                Action::PublishPartial => continue,
                Action::Publish if self.fault.is_some() => continue,
                Action::Publish => self.local.publish().map(|()| Answer::Published),
            };
            self.answers.push_back(answer.unwrap_or_else(|fault| {
                self.fault.get_or_insert_with(|| fault.clone());
                Answer::Failed(fault)
            }));
        }
        Ok(())
    }
}

/// The size that an OACK tells.
fn announced(datagram: &[u8]) -> Option<u64> {
    match Packet::decode(datagram) {
        Ok(Packet::Oack(options)) => options.get("tsize").and_then(|value| decimal(value.as_bytes())),
        _ => None,
    }
}

/// Octets of a stream, as many as asked for unless it ends.
pub(super) fn fill(stream: &mut dyn io::Read, octets: usize) -> io::Result<Slab> {
    let mut bytes = Vec::with_capacity(octets);
    let read = io::Read::read_to_end(&mut io::Read::take(stream, octets as u64), &mut bytes)?;
    Ok(Slab { bytes: Bytes::from(bytes), end: read < octets })
}
