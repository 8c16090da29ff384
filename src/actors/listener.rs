//! The actor at the well-known port.

mod opcodes;

use std::borrow::Cow;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};
use slog::trace;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::actors::PollFn;
use crate::actors::arbiters::Workers;
use crate::chaos::Part;
use crate::engine::admission::{ErrorRateLimiter, Failed, PeerTable, Verdict};
use crate::engine::config::Config;
use crate::engine::messages::Again;
use crate::engine::packet_summary::RequestSummary;
use crate::engine::service::{Service, limit_met};
use crate::engine::transfers::{Assignment, PendingRequest};
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::net::{Received, Refusals, RequestSocket, send_from_port};
use crate::observe::Fact;
use crate::policy::{OverLimit, unanswerable};
use crate::transfer::fault_packet;
use crate::wire::{DecodeError, Packet, Request};

/// Receives the requests that arrive at one address, and assigns those that are to be served to the
/// least busy arbiter. The listener waits for no file: a file that the store can open at once lets
/// the session begin at once, and a file that the store knows to be missing needs no session.
#[derive(Debug)]
pub struct Listener {
    /// Kept across restarts. `None` once it is closed.
    socket: Option<Arc<UdpSocket>>,
    /// The process bound the socket itself, and nobody else receives from it.
    is_own: bool,
    service: Arc<Service>,
    /// The configuration at the beginning of this turn.
    config: Arc<Config>,
    peer_table: Arc<PeerTable>,
    workers: Arc<Workers>,
    /// `None` until started, and once paused, except in single-port mode.
    requests: Option<RequestSocket>,
    refusals: Refusals,
    errors: ErrorRateLimiter,
    /// Bounds the datagrams that wait for an extension's answer.
    opcodes_asked: Arc<Semaphore>,
    buffer: Vec<u8>,
    backlog: bool,
    /// Accepts no further request, even after a restart.
    paused: bool,
    chaos: Part,
}

/// Accepts no further request. A socket that the server bound itself is closed once the requests in
/// it are served, unless transfers need the socket too (single-port mode): another server can bind
/// the address as soon as this is answered. A socket that was passed to the server stays open and
/// unread: the requests in it are for the next server.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Pause;

impl Listener {
    /// A listener on a bound socket that others hold too, and that stays open.
    #[must_use]
    pub fn new(
        socket: Arc<UdpSocket>,
        service: Arc<Service>,
        peer_table: Arc<PeerTable>,
        workers: Arc<Workers>,
    ) -> Self {
        let buffer = vec![0; Self::buffer_octets(&service)];
        let (chaos, config) = (service.chaos.part("listener", ""), service.config());
        Self {
            socket: Some(socket),
            is_own: false,
            refusals: Refusals::new(config.ports),
            service,
            config,
            peer_table,
            workers,
            requests: None,
            errors: ErrorRateLimiter::new(),
            opcodes_asked: Arc::new(Semaphore::new(limits::OPCODES_ASKED_MAX)),
            buffer,
            backlog: false,
            paused: false,
            chaos,
        }
    }

    /// Marks the socket as held by the listener alone, which closes it when paused.
    pub(crate) fn of_own_socket(self) -> Self {
        Self { is_own: true, ..self }
    }

    /// One octet more than the longest request, to recognise longer ones. The largest datagram in
    /// single-port mode, where blocks arrive too.
    fn buffer_octets(service: &Service) -> usize {
        if service.single_port { limits::DATAGRAM_OCTETS_MAX } else { limits::REQUEST_OCTETS_MAX + 1 }
    }

    /// # Panics
    /// When the socket can't be polled any more: the listener would never receive again.
    fn turn(&mut self, ctx: &mut Context<Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        self.chaos.at("future", ctx);
        loop {
            let Some(requests) = &mut self.requests else { return Poll::Ready(()) };
            if !self.backlog {
                match std::task::ready!(requests.poll_event(task)) {
                    Ok(errors) if errors && self.service.single_port => self.take_errors(),
                    Ok(_) => {}
                    // The supervisor reports the panic, and restarts the listener.
                    Err(error) => panic!("can't wait for requests: {error}"),
                }
            }
            self.backlog = self.take_datagrams(ctx);
            if self.backlog {
                // The other tasks of this arbiter run first.
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Clients that closed their ports have ended their transfers.
    fn take_errors(&mut self) {
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            let gone = self.requests.as_mut().and_then(RequestSocket::take_error);
            let Some(gone) = gone else { break };
            self.peer_table.set_gone(gone);
        }
    }

    /// Takes up to a turn's worth of datagrams. `true` if there may be more.
    fn take_datagrams(&mut self, ctx: &Context<Self>) -> bool {
        self.update_config();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut more = true;
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            let Some(requests) = &mut self.requests else { break };
            let Ok(received) = requests.receive(&mut buffer) else {
                more = false;
                break;
            };
            self.on_datagram(&received, &buffer[..received.octets.min(buffer.len())], ctx);
        }
        self.buffer = buffer;
        more
    }

    fn update_config(&mut self) {
        let config = self.service.config();
        if config.ports != self.config.ports {
            self.refusals = Refusals::new(config.ports);
        }
        self.config = config;
    }

    fn on_datagram(&mut self, received: &Received, octets: &[u8], ctx: &Context<Self>) {
        let peer = received.from;
        if received.to_broadcast && !self.may_answer_broadcast(received, octets) {
            return;
        }
        if let Some(why) = unanswerable(peer, received.to) {
            return self.dropped(peer, why);
        }
        if !self.paused && !self.config.opcodes.is_empty() && self.take_opcode(received, octets, ctx) {
            return;
        }
        let is_request = matches!(octets, [0, 1 | 2, ..]);
        if self.service.single_port && !is_request {
            if !self.peer_table.deliver(peer, received.to, octets) {
                self.dropped(peer, "it belongs to no transfer or to one that has not taken what came before");
            }
            return;
        }
        if self.paused {
            return self.dropped(peer, "the server is shutting down");
        }
        match Packet::decode(octets) {
            Ok(Packet::Request(_)) if octets.len() > limits::REQUEST_OCTETS_MAX => {
                let fault = Fault::new(Failure::Malformed, "longer than any request that is read");
                self.refuse(received, None, &fault);
            }
            Ok(Packet::Request(request)) => self.on_request(received, &request, ctx),
            Err(DecodeError::Malformed(why)) => {
                self.refuse(received, None, &Fault::new(Failure::Malformed, why));
            }
            Err(DecodeError::Short | DecodeError::UnknownOpcode(_)) => {
                self.dropped(peer, "it is no TFTP packet");
            }
            Ok(_) => self.dropped(peer, "it is no request"),
        }
    }

    /// Whether a datagram that was sent to many hosts may be answered: only a read, and only if an
    /// address of ours on that network is known. Reports a refusal.
    fn may_answer_broadcast(&self, received: &Received, octets: &[u8]) -> bool {
        let (peer, own) = (received.from, received.to.ip());
        if !matches!(octets, [0, 1, ..]) || own.is_multicast() || own == Ipv4Addr::BROADCAST {
            self.dropped(peer, "it was sent to a broadcast or multicast address");
            return false;
        }
        if !self.config.rules.answer_broadcast {
            self.service.observe(&Fact::BroadcastUnanswered { peer });
        }
        self.config.rules.answer_broadcast
    }

    fn dropped(&self, peer: SocketAddr, why: &'static str) {
        self.service.observe(&Fact::Dropped { peer, why });
    }

    fn beyond(&self, limit: Limit, peer: SocketAddr) {
        self.service.observe(&Fact::LimitReached { limit, peer });
        self.dropped(peer, limit.meaning());
    }

    fn on_request(&mut self, received: &Received, request: &Request<'_>, ctx: &Context<Self>) {
        let peer = received.from;
        if let Some(log) = &self.service.packet_log {
            trace!(log, "received"; "from" => %peer, "to" => %received.to, "packet" => %RequestSummary(request));
        }
        let again = || ctx.address().recipient();
        match self.service.admit(&self.peer_table, received, request, again) {
            Verdict::Serve(admitted) => {
                let well_known = self.socket.clone();
                let is_needed = self.service.single_port || self.config.over_limit == OverLimit::Error;
                let pending = PendingRequest::new(*admitted, well_known.filter(|_| is_needed));
                if !self.workers.assign(&pending) {
                    self.beyond(Limit::RequestsWaiting, peer);
                }
            }
            Verdict::Fail(failed) => self.fail(*failed),
            Verdict::Refuse(fault) => self.refuse(received, Some(request), &fault),
            Verdict::Ignore(limit) => self.beyond(limit, peer),
            Verdict::Repeat => {}
        }
    }

    /// Reports a transfer that never began, and answers its request as a session would.
    fn fail(&mut self, mut failed: Failed) {
        let to = failed.local;
        if !failed.is_answered() {
            return self.service.finish(failed.into_report(to));
        }
        let Assignment { id, peer, received_at, .. } = failed.assignment;
        if !self.may_refuse(peer, received_at) {
            return;
        }
        failed.permit.supersede();
        let fault = &failed.fault;
        let Some(sent) = self.send_refusal(peer, to, &fault_packet(fault)) else { return };
        if let Some(log) = &self.service.packet_log {
            let packet = format_args!("ERROR {} \"{}\"", fault.failure.code(), fault.text_for_peer());
            trace!(log, "sent"; "transfer" => id.0, "to" => %peer, "packet" => %packet);
        }
        if let Err(error) = &sent {
            failed.fault.detail.get_or_insert_with(|| error.to_string().into());
        }
        self.service.finish(failed.into_report(sent.unwrap_or(to)));
    }

    fn refuse(&mut self, received: &Received, request: Option<&Request<'_>>, fault: &Fault) {
        let peer = received.from;
        if received.to_broadcast {
            return self.dropped(peer, "it was sent to a broadcast address and is not to be served");
        }
        if !self.may_refuse(peer, Instant::now()) {
            return;
        }
        if let Some(limit) = fault.limit() {
            self.service.observe(&Fact::LimitReached { limit, peer });
        }
        // An ERROR that can't be sent counts as lost on the way: the client repeats its request.
        if self.send_refusal(peer, received.to, &fault_packet(fault)).is_some() {
            self.service.observe(&Fact::Refused {
                peer,
                request: request.cloned(),
                fault: Cow::Borrowed(fault),
            });
        }
    }

    /// Whether one more ERROR may be sent to the network of `peer`. Reports if not.
    fn may_refuse(&mut self, peer: SocketAddr, now: Instant) -> bool {
        let may = self.errors.spend(peer.ip(), now);
        if !may {
            self.beyond(Limit::RefusalsPerPrefix, peer);
        }
        may
    }

    /// Sends an ERROR from a new port, as every answer is sent (RFC 1350 §4), except in single-port
    /// mode. Returns the address that the ERROR was sent from, or `None` if there is no port for
    /// the ERROR, which is reported.
    fn send_refusal(
        &mut self,
        peer: SocketAddr,
        to: SocketAddr,
        packet: &[u8],
    ) -> Option<io::Result<SocketAddr>> {
        let from_well_known = |socket: &UdpSocket| send_from_port(socket, to, peer, packet).map(|()| to);
        if let Some(socket) = self.socket.as_ref().filter(|_| self.service.single_port) {
            return Some(from_well_known(socket));
        }
        let ports = self.config.ports;
        let limit_of = |sent: &io::Result<_>| sent.as_ref().err().and_then(|error| limit_met(error, ports));
        let mut sent = self.refusals.send(peer, to, packet);
        if let Some(limit) = limit_of(&sent) {
            self.service.observe(&Fact::LimitReached { limit, peer });
            // The well-known port is the only one left to answer from.
            if limit == Limit::PortRange
                && self.config.over_limit == OverLimit::Error
                && let Some(socket) = &self.socket
            {
                sent = from_well_known(socket);
            }
        }
        if let Some(limit) = limit_of(&sent) {
            self.dropped(peer, limit.meaning());
            return None;
        }
        Some(sent)
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    /// # Panics
    /// When the socket can't be polled: the supervisor restarts the listener.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        if self.paused && !self.service.single_port {
            return;
        }
        // A socket that was closed by `Pause` stays closed.
        let Some(socket) = self.socket.clone() else { return };
        let requests = RequestSocket::from_socket(socket)
            .unwrap_or_else(|error| panic!("can't wait for requests: {error}"));
        if self.service.single_port
            && let Err(error) = requests.share()
        {
            panic!("can't serve transfers from the port of requests: {error}");
        }
        self.requests = Some(requests);
        ctx.spawn(PollFn(Self::turn));
    }
}

impl Supervised for Listener {
    fn restarting(&mut self, ctx: &mut Self::Context) {
        self.chaos.at("restarting", ctx);
        // Dropped before the socket is registered again.
        self.requests = None;
        self.refusals = Refusals::new(self.config.ports);
        self.backlog = false;
        self.buffer = vec![0; Self::buffer_octets(&self.service)];
    }
}

impl Handler<Pause> for Listener {
    type Result = ();

    fn handle(&mut self, _: Pause, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        if self.is_own && !self.service.single_port {
            // Serves the requests that have arrived, because nobody else can. Clients repeat
            // requests that arrive later.
            let _ = (0..limits::BACKLOG_TURNS_MAX).all(|_| self.take_datagrams(ctx));
        }
        self.paused = true;
        if !self.service.single_port {
            self.requests = None;
            self.socket = self.socket.take().filter(|_| !self.is_own);
        }
    }
}

impl Handler<Again> for Listener {
    type Result = ();

    fn handle(&mut self, Again { received, request }: Again, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        if !self.paused {
            self.update_config();
            self.on_request(&received, &request, ctx);
        }
    }
}

#[cfg(test)]
mod tests;
