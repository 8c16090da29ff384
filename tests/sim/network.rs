//! A server's machines and many clients, each with a link of its own, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use stagecoach::internals::limits;
use stagecoach::internals::transfer::{Input, Moment, Offer, Timeouts, stranger_answer};
use stagecoach::wire::Packet;

use super::scripted_client::{FileRequest, ScriptedClient, Sent, WELL_KNOWN};
use crate::link::{Channel, Completion, Effects, Endpoint, EventQueue, Pace, Report, Rng, server_machine};

/// A client, and its links to the server and back.
pub(crate) struct Host {
    pub(crate) client: ScriptedClient,
    pub(crate) channels: [Channel; 2],
    /// When the client starts.
    pub(crate) starts_at: Duration,
    /// The session that a repeated request belongs to, and the request.
    newest: Option<(usize, Vec<u8>)>,
    /// Requests of the client that arrived.
    requests_arrived: usize,
}

impl Host {
    pub(crate) fn new(client: ScriptedClient, channels: [Channel; 2], starts_at: Duration) -> Self {
        Self { client, channels, starts_at, newest: None, requests_arrived: 0 }
    }
}

/// A session of the server. Its TID is its index plus one.
pub(crate) struct Session {
    end: Endpoint,
    pub(crate) client: usize,
    /// Requests that the session answers.
    requests: u64,
    /// Datagrams that were forged with the peer's address.
    forged: u64,
}

impl Session {
    pub(crate) fn report(&self) -> &Report {
        &self.end.report
    }
}

enum Event {
    Start(usize),
    ToServer {
        client: usize,
        tid: usize,
        octets: Vec<u8>,
    },
    ToClient {
        client: usize,
        tid: usize,
        octets: Vec<u8>,
    },
    Completion {
        session: usize,
        completion: Completion,
    },
    /// An attacker forges a packet.
    Forgery,
}

pub(crate) struct Network {
    now: Duration,
    events: EventQueue<Event>,
    hosts: Vec<Host>,
    sessions: Vec<Session>,
    timeouts: Timeouts,
    pace: Pace,
    /// How often each block of a window may be sent on average.
    times_each: u64,
    rng: Rng,
    /// `STAGECOACH_TRACE` shows every datagram.
    is_traced: bool,
}

/// What a deadline belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Client(usize),
    Session(usize),
}

/// Repeats in a row within the idle timeout of two minutes, at intervals that double up to 8 s.
const REPEATS_MAX: u64 = 45;
/// The same at fixed intervals of 0.5 s.
const REPEATS_MAX_FIXED: u64 = 245;
/// Copies of each packet that is forged.
const COPIES: usize = 4;
/// No run takes longer.
const RUN_TIME_MAX: Duration = Duration::from_secs(3600);

impl Network {
    pub(crate) fn new(hosts: Vec<Host>, timeouts: Timeouts, pace: Pace, times_each: u64, rng: Rng) -> Self {
        let mut events = EventQueue::new();
        for (index, host) in hosts.iter().enumerate() {
            events.push(host.starts_at, Event::Start(index));
        }
        let is_traced = std::env::var_os("STAGECOACH_TRACE").is_some();
        let (now, sessions) = (Duration::ZERO, Vec::new());
        Self { now, events, hosts, sessions, timeouts, pace, times_each, rng, is_traced }
    }

    /// Forges `count` packets, with copies, in the first seconds.
    pub(crate) fn with_forgeries(mut self, count: usize) -> Self {
        for _ in 0..count {
            let at = Duration::from_micros(self.rng.within(0..=3_000_000));
            self.events.push(at, Event::Forgery);
        }
        self
    }

    /// Runs until no event and no deadline is left.
    pub(crate) fn run(mut self) -> (Vec<Host>, Vec<Session>) {
        while self.step() {
            assert!(self.now < RUN_TIME_MAX, "a run that never ends");
        }
        for session in &self.sessions {
            assert!(session.end.is_closed, "a session that waits for nothing: {:?}", session.end.report);
        }
        for host in &self.hosts {
            let sessions = self.sessions.iter().filter(|it| std::ptr::eq(&self.hosts[it.client], host));
            assert!(sessions.count() <= host.requests_arrived, "more sessions than requests");
        }
        (self.hosts, self.sessions)
    }

    fn step(&mut self) -> bool {
        let event_at = self.events.peek().map(|(at, _)| at);
        match (self.first_deadline(), event_at) {
            (Some((deadline, owner)), at) if at.is_none_or(|at| deadline < at) => {
                self.now = self.now.max(deadline);
                self.on_deadline(owner);
            }
            (_, Some(at)) => {
                self.now = self.now.max(at);
                let Some(event) = self.events.pop() else { return false };
                self.handle(event);
            }
            _ => return false,
        }
        true
    }

    fn first_deadline(&self) -> Option<(Duration, Owner)> {
        let clients = self.hosts.iter().map(|host| host.client.deadline);
        let sessions = self.sessions.iter().map(|session| session.end.deadline.map(Moment::since_epoch));
        let clients = clients.enumerate().filter_map(|(index, at)| Some((at?, Owner::Client(index))));
        let sessions = sessions.enumerate().filter_map(|(index, at)| Some((at?, Owner::Session(index))));
        clients.chain(sessions).min()
    }

    fn on_deadline(&mut self, owner: Owner) {
        match owner {
            Owner::Client(index) => {
                let sent = self.hosts[index].client.on_deadline(self.now);
                self.send_from_client(index, sent);
            }
            Owner::Session(index) => self.feed(index, Input::Deadline),
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Start(client) => {
                let sent = self.hosts[client].client.start(now);
                self.send_from_client(client, sent);
            }
            Event::ToServer { client, tid: WELL_KNOWN, octets } => self.on_request(client, octets),
            Event::ToServer { client, tid, octets } => self.on_datagram(client, tid - 1, &octets),
            Event::ToClient { client, tid, octets } => {
                if let Some(until) = self.hosts[client].client.pause_until(now, &octets) {
                    return self.events.push(until, Event::ToClient { client, tid, octets });
                }
                let sent = self.hosts[client].client.on_packet(now, tid, &octets);
                self.send_from_client(client, sent);
            }
            Event::Completion { session, completion } => {
                let effects = self.sessions[session].end.on_completion(now, completion);
                self.apply(session, effects);
            }
            Event::Forgery => self.forge(),
        }
    }

    /// Stands for the listener: a request that comes again is a repeat until the client has
    /// answered the session that serves it (D13).
    fn on_request(&mut self, client: usize, octets: Vec<u8>) {
        self.hosts[client].requests_arrived += 1;
        if let Some((newest, request)) = &self.hosts[client].newest
            && *request == octets
            && !self.sessions[*newest].end.is_closed
            && !self.sessions[*newest].end.is_proven()
        {
            let newest = *newest;
            self.sessions[newest].requests += 1;
            return self.feed(newest, Input::Repeated);
        }
        let request = self.hosts[client].client.request().clone();
        let Ok(Packet::Request(asked)) = Packet::decode(&octets) else { panic!("no request: {octets:?}") };
        let machine = server_machine(&asked, request.file.len() as u64, &Offer::default(), self.timeouts);
        let end = Endpoint::new(machine, Arc::clone(&request.file), request.file, self.pace, self.rng.fork());
        self.sessions.push(Session { end, client, requests: 1, forged: 0 });
        let index = self.sessions.len() - 1;
        self.hosts[client].newest = Some((index, octets));
        self.feed(index, Input::Start);
    }

    fn on_datagram(&mut self, client: usize, session: usize, octets: &[u8]) {
        if self.sessions[session].end.is_closed {
            return;
        }
        if self.sessions[session].client != client {
            if let Some(answer) = stranger_answer(octets) {
                self.send_to_client(client, session, &answer);
            }
            return;
        }
        let more = self.events.peek().is_some_and(|(at, next)| {
            at <= self.now
                && matches!(next, Event::ToServer { client: it, tid, .. } if (*it, *tid) == (client, session + 1))
        });
        self.feed(session, Input::Datagram { octets, more });
    }

    /// Forges a packet of the client of a session, and copies of it.
    fn forge(&mut self) {
        let live: Vec<_> =
            (0..self.sessions.len()).filter(|&index| !self.sessions[index].end.is_closed).collect();
        if live.is_empty() {
            return;
        }
        let victim = self.rng.one_of(&live);
        if self.request_of(victim).is_read {
            self.forge_ack(victim);
        } else {
            self.forge_data(victim);
        }
    }

    /// Forges an ACK of any block of the file. The first copy may cost a window; the others cost
    /// nothing.
    fn forge_ack(&mut self, victim: usize) {
        let block = self.rng.within(0..=self.hosts[self.sessions[victim].client].client.blocks());
        let [high, low] = (block as u16).to_be_bytes();
        let windowsize = self.request_of(victim).windowsize;
        let before = self.sessions[victim].end.report.tally.repeats;
        for _ in 0..COPIES {
            if self.sessions[victim].end.is_closed {
                return;
            }
            self.sessions[victim].forged += 1;
            self.feed(victim, Input::Datagram { octets: &[0, 4, high, low], more: false });
        }
        let repeats = self.sessions[victim].end.report.tally.repeats - before;
        assert!(repeats <= windowsize, "a forged ACK and its copies cost {repeats} blocks");
    }

    /// Forges DATA of any block but the expected one (which the protocol can't tell from a real
    /// block). No octet of it is stored, and each copy gets one answer at most.
    fn forge_data(&mut self, victim: usize) {
        let blksize = self.request_of(victim).blksize;
        let received = self.sessions[victim].end.report.tally.octets / blksize as u64;
        let block = (received + self.rng.within(2..=0x1_0000)) as u16;
        let payload = vec![b'!'; blksize - usize::from(self.rng.chance(500))];
        let octets = [&[0, 3], &block.to_be_bytes()[..], &payload].concat();
        for _ in 0..COPIES {
            if self.sessions[victim].end.is_closed {
                return;
            }
            let before = self.sessions[victim].end.report.packets_sent();
            self.feed(victim, Input::Datagram { octets: &octets, more: false });
            let answers = self.sessions[victim].end.report.packets_sent() - before;
            assert!(answers <= 1, "forged DATA got {answers} answers");
        }
    }

    fn request_of(&self, session: usize) -> &FileRequest {
        self.hosts[self.sessions[session].client].client.request()
    }

    fn feed(&mut self, session: usize, input: Input<'_>) {
        let effects = self.sessions[session].end.take(self.now, input);
        self.apply(session, effects);
    }

    fn apply(&mut self, session: usize, effects: Effects) {
        let client = self.sessions[session].client;
        for octets in effects.packets {
            self.send_to_client(client, session, &octets);
        }
        for (at, completion) in effects.completions {
            self.events.push(at, Event::Completion { session, completion });
        }
        self.check(session);
    }

    /// Checks what holds at every moment.
    fn check(&self, index: usize) {
        let Session { end, client, requests, forged } = &self.sessions[index];
        let client = &self.hosts[*client].client;
        let (request, report) = (client.request(), &end.report);
        let (data, windowsize) = (report.data_sent(), request.windowsize);
        if !end.is_proven() {
            let sent = report.packets_sent();
            let most = u64::from(limits::UNPROVEN_DATAGRAMS_MAX) + requests - 1;
            assert!(sent <= most, "{sent} for {requests} requests to one that never answered");
        }
        // At worst each window delivers one block, and is repeated a few times. A client that falls
        // silent is sent its window until the idle timeout.
        let repeats = if self.timeouts.fixed { REPEATS_MAX_FIXED } else { REPEATS_MAX };
        let most =
            self.times_each * windowsize * client.blocks() + repeats * (windowsize + 1) + windowsize * forged;
        assert!(data <= most, "{data} DATA for {} blocks, {:?}", client.blocks(), client.behavior());
        // Read-ahead is bounded.
        let window_octets = request.blksize * request.windowsize as usize;
        let most = window_octets + limits::READ_AHEAD_OCTETS_MAX as usize + limits::SLAB_OCTETS;
        assert!(!request.is_read || end.held() <= most, "{} octets in memory", end.held());
    }

    fn send_from_client(&mut self, client: usize, sent: Vec<Sent>) {
        for (tid, octets) in sent {
            for at in self.hosts[client].channels[0].carry(self.now, &octets) {
                self.trace(client, "->", tid, &octets, at);
                self.events.push(at, Event::ToServer { client, tid, octets: octets.clone() });
            }
        }
    }

    fn send_to_client(&mut self, client: usize, session: usize, octets: &[u8]) {
        for at in self.hosts[client].channels[1].carry(self.now, octets) {
            self.trace(client, "<-", session + 1, octets, at);
            self.events.push(at, Event::ToClient { client, tid: session + 1, octets: octets.to_vec() });
        }
    }

    fn trace(&self, client: usize, way: &str, tid: usize, octets: &[u8], arrives_at: Duration) {
        if self.is_traced {
            let behavior = self.hosts[client].client.behavior();
            let (head, octets) = (&octets[..octets.len().min(4)], octets.len());
            eprintln!(
                "{:>13?} {client} {behavior:?} {way} {tid} {head:?} of {octets}, arrives {arrives_at:?}",
                self.now
            );
        }
    }
}
