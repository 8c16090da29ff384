//! Client, link and server.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use stagecoach::internals::transfer::{
    Client, Input, Machine, Moment, Offer, Tid, Timeouts, stranger_answer,
};
use stagecoach::wire::{Direction, Mode, Options, Packet, Request, Text, netascii};

use super::endpoint::{Completion, Effects, Endpoint, server_machine};
use super::{Channel, EventQueue, Pace, Report, Rng};

/// A transfer to simulate.
pub(crate) struct Setup {
    pub(crate) direction: Direction,
    pub(crate) mode: Mode<'static>,
    pub(crate) options: Vec<(&'static str, u64)>,
    pub(crate) file: Vec<u8>,
    pub(crate) offer: Offer,
    pub(crate) client_timeouts: Timeouts,
    pub(crate) server_timeouts: Timeouts,
    pub(crate) client_pace: Pace,
    pub(crate) server_pace: Pace,
    /// From the client to the server, and back.
    pub(crate) channels: [Channel; 2],
    pub(crate) rng: Rng,
}

impl Setup {
    fn request(&self) -> Request<'static> {
        let mut options = Options::new();
        for &(name, value) in &self.options {
            options.push(Text::new(name.as_bytes()).unwrap(), Text::from(value));
        }
        let name = Text::new(&b"f"[..]).unwrap();
        Request::new(self.direction, name, self.mode.clone(), options).unwrap()
    }
}

/// The addresses on the link: the client, the well-known port, and from then on the TIDs of the
/// server's sessions.
const CLIENT: usize = 0;
const WELL_KNOWN: usize = 1;
const FIRST_SESSION: usize = 2;

enum Event {
    Datagram { from: usize, to: usize, octets: Vec<u8> },
    Completion { end: usize, completion: Completion },
}

pub(crate) struct Simulation {
    setup: Setup,
    wire: Arc<[u8]>,
    file: Arc<[u8]>,
    now: Duration,
    events: EventQueue<Event>,
    tid: Tid<usize>,
    client: Endpoint,
    sessions: Vec<Endpoint>,
    /// `STAGECOACH_TRACE` shows every packet.
    is_traced: bool,
}

/// No transfer of these tests takes longer.
const RUN_TIME_MAX: Duration = Duration::from_secs(4 * 3600);

impl Simulation {
    pub(crate) fn new(mut setup: Setup) -> Self {
        let file: Arc<[u8]> = setup.file.clone().into();
        let wire = if setup.mode == Mode::Netascii {
            let mut wire = BytesMut::new();
            netascii::Encoder::default().encode(&file, &mut wire);
            wire[..].into()
        } else {
            Arc::clone(&file)
        };
        let machine = Box::new(Client::new(setup.request(), setup.client_timeouts));
        let rng = setup.rng.fork();
        let client = Endpoint::new(machine, Arc::clone(&file), Arc::clone(&wire), setup.client_pace, rng);
        Self {
            setup,
            wire,
            file,
            now: Duration::ZERO,
            events: EventQueue::new(),
            tid: Tid::unknown(WELL_KNOWN),
            client,
            sessions: Vec::new(),
            is_traced: std::env::var_os("STAGECOACH_TRACE").is_some(),
        }
    }

    /// Runs the transfer to its end. Reports what the client and each session of the server did.
    pub(crate) fn run(mut self) -> (Report, Vec<Report>) {
        let effects = self.client.take(self.now, Input::Start);
        self.apply(CLIENT, effects);
        while self.step() {
            assert!(self.now < RUN_TIME_MAX, "a transfer that never ends");
        }
        for end in std::iter::once(&self.client).chain(&self.sessions) {
            assert!(end.is_closed, "an end that waits for nothing: {:?}", end.report);
        }
        (self.client.report, self.sessions.into_iter().map(|session| session.report).collect())
    }

    fn step(&mut self) -> bool {
        let deadlines = std::iter::once((CLIENT, &self.client))
            .chain((FIRST_SESSION..).zip(&self.sessions))
            .filter_map(|(id, end)| Some((end.deadline?, id)));
        let deadline = deadlines.min();
        let event_at = self.events.peek().map(|(at, _)| at);
        match (deadline, event_at) {
            (Some((deadline, id)), at) if at.is_none_or(|at| deadline < Moment::new(at)) => {
                self.now = self.now.max(deadline.since_epoch());
                let now = self.now;
                let effects = self.end(id).take(now, Input::Deadline);
                assert!(self.end(id).deadline != Some(deadline), "a deadline that comes again at once");
                self.apply(id, effects);
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

    fn handle(&mut self, event: Event) {
        match event {
            Event::Completion { end: id, completion } => {
                let now = self.now;
                let effects = self.end(id).on_completion(now, completion);
                self.apply(id, effects);
            }
            Event::Datagram { to: WELL_KNOWN, octets, .. } => self.on_request(&octets),
            Event::Datagram { from, to: CLIENT, octets } if !self.tid.admit(from, |_, _| true) => {
                if let Some(answer) = stranger_answer(&octets) {
                    self.send(CLIENT, from, &answer);
                }
            }
            Event::Datagram { to, octets, .. } => {
                let more = self.more_for(to);
                let now = self.now;
                let effects = self.end(to).take(now, Input::Datagram { octets: &octets, more });
                self.apply(to, effects);
            }
        }
    }

    /// Whether another datagram for `id` has come at this very moment.
    fn more_for(&self, id: usize) -> bool {
        self.events.peek().is_some_and(|(at, next)| {
            let is_for_it = matches!(next, Event::Datagram { from, to, .. }
                if *to == id && (*to != CLIENT || *from == self.tid.peer()));
            at <= self.now && is_for_it
        })
    }

    /// Stands for the listener: a request is a repeat for the session that has no answer yet (D13),
    /// or begins a session.
    fn on_request(&mut self, octets: &[u8]) {
        let Ok(Packet::Request(request)) = Packet::decode(octets) else { return };
        let now = self.now;
        let waiting = self.sessions.iter().position(|session| !session.is_closed && !session.is_proven());
        let (index, input) = match waiting {
            Some(index) => (index, Input::Repeated),
            None => {
                let Setup { offer, server_timeouts, .. } = &self.setup;
                let machine = server_machine(&request, self.file.len() as u64, offer, *server_timeouts);
                let rng = self.setup.rng.fork();
                let (file, wire) = (Arc::clone(&self.file), Arc::clone(&self.wire));
                self.sessions.push(Endpoint::new(machine, file, wire, self.setup.server_pace, rng));
                (self.sessions.len() - 1, Input::Start)
            }
        };
        let effects = self.sessions[index].take(now, input);
        self.apply(FIRST_SESSION + index, effects);
    }

    fn end(&mut self, id: usize) -> &mut Endpoint {
        if id == CLIENT { &mut self.client } else { &mut self.sessions[id - FIRST_SESSION] }
    }

    fn apply(&mut self, id: usize, effects: Effects) {
        for octets in effects.packets {
            let to = if id == CLIENT { self.tid.peer() } else { CLIENT };
            self.send(id, to, &octets);
        }
        for (at, completion) in effects.completions {
            self.events.push(at, Event::Completion { end: id, completion });
        }
    }

    fn send(&mut self, from: usize, to: usize, octets: &[u8]) {
        let channel = &mut self.setup.channels[usize::from(from != CLIENT)];
        let arrivals = channel.carry(self.now, octets);
        if self.is_traced {
            let what = Packet::decode(octets).map_or_else(|it| it.to_string(), |it| shown(&it));
            eprintln!("{:>13?} {from} -> {to} {what}, arrives {arrivals:?}", self.now);
        }
        for at in arrivals {
            self.events.push(at, Event::Datagram { from, to, octets: octets.to_owned() });
        }
    }
}

fn shown(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Request(request) => format!("{} {}", request.direction, request.options),
        Packet::Data { block, payload } => format!("DATA {block} ({} octets)", payload.len()),
        Packet::Ack { block } => format!("ACK {block}"),
        Packet::Error { code, message } => format!("ERROR {code} {message}"),
        Packet::Oack(options) => format!("OACK {options}"),
    }
}
