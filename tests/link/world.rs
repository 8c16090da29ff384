//! Client, link and server.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use stagecoach::transfer::{Client, Input, Machine, Moment, Offer, Tid, Timeouts, stranger_answer};
use stagecoach::wire::{Direction, Mode, Options, Packet, Request, Text, netascii};

use super::end::{Answer, End, Wishes, serving};
use super::{Agenda, Channel, Pace, Report, Rng};

/// A transfer to be played.
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

/// Who is who on the link: the client, the well-known port, and from then on the TIDs of the server's sessions.
const CLIENT: usize = 0;
const WELL_KNOWN: usize = 1;
const FIRST_SESSION: usize = 2;

enum Event {
    Datagram { from: usize, to: usize, octets: Vec<u8> },
    Answer { end: usize, answer: Answer },
}

pub(crate) struct World {
    setup: Setup,
    wire: Arc<[u8]>,
    file: Arc<[u8]>,
    now: Duration,
    agenda: Agenda<Event>,
    tid: Tid<usize>,
    client: End,
    sessions: Vec<End>,
    /// `STAGECOACH_TRACE` shows every packet.
    is_traced: bool,
}

/// No transfer of these tests takes longer.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

impl World {
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
        let client = End::new(machine, Arc::clone(&file), Arc::clone(&wire), setup.client_pace, rng);
        Self {
            setup,
            wire,
            file,
            now: Duration::ZERO,
            agenda: Agenda::new(),
            tid: Tid::unknown(WELL_KNOWN),
            client,
            sessions: Vec::new(),
            is_traced: std::env::var_os("STAGECOACH_TRACE").is_some(),
        }
    }

    /// Plays the transfer to its very end; what the client and each session of the server did.
    pub(crate) fn run(mut self) -> (Report, Vec<Report>) {
        let wishes = self.client.take(self.now, Input::Start);
        self.grant(CLIENT, wishes);
        while self.step() {
            assert!(self.now < LONGEST, "a transfer that never ends");
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
        let event_at = self.agenda.peek().map(|(at, _)| at);
        match (deadline, event_at) {
            (Some((deadline, id)), at) if at.is_none_or(|at| deadline < Moment::new(at)) => {
                self.now = self.now.max(deadline.since_epoch());
                let now = self.now;
                let wishes = self.end(id).take(now, Input::Deadline);
                assert!(self.end(id).deadline != Some(deadline), "a deadline that comes again at once");
                self.grant(id, wishes);
            }
            (_, Some(at)) => {
                self.now = self.now.max(at);
                let Some(event) = self.agenda.take() else { return false };
                self.happen(event);
            }
            _ => return false,
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Answer { end: id, answer } => {
                let now = self.now;
                let wishes = self.end(id).answered(now, answer);
                self.grant(id, wishes);
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
                let wishes = self.end(to).take(now, Input::Datagram { octets: &octets, more });
                self.grant(to, wishes);
            }
        }
    }

    /// Whether another datagram for `id` has come at this very moment.
    fn more_for(&self, id: usize) -> bool {
        self.agenda.peek().is_some_and(|(at, next)| {
            let is_for_it = matches!(next, Event::Datagram { from, to, .. }
                if *to == id && (*to != CLIENT || *from == self.tid.peer()));
            at <= self.now && is_for_it
        })
    }

    /// What the listener does: a repeat goes to the session that hasn't been answered yet (D13), else there is a new one.
    fn on_request(&mut self, octets: &[u8]) {
        let Ok(Packet::Request(request)) = Packet::decode(octets) else { return };
        let now = self.now;
        let waiting = self.sessions.iter().position(|session| !session.is_closed && !session.is_proven());
        let (index, input) = match waiting {
            Some(index) => (index, Input::Repeated),
            None => {
                let Setup { offer, server_timeouts, .. } = &self.setup;
                let machine = serving(&request, self.file.len() as u64, offer, *server_timeouts);
                let rng = self.setup.rng.fork();
                let (file, wire) = (Arc::clone(&self.file), Arc::clone(&self.wire));
                self.sessions.push(End::new(machine, file, wire, self.setup.server_pace, rng));
                (self.sessions.len() - 1, Input::Start)
            }
        };
        let wishes = self.sessions[index].take(now, input);
        self.grant(FIRST_SESSION + index, wishes);
    }

    fn end(&mut self, id: usize) -> &mut End {
        if id == CLIENT { &mut self.client } else { &mut self.sessions[id - FIRST_SESSION] }
    }

    fn grant(&mut self, id: usize, wishes: Wishes) {
        for octets in wishes.packets {
            let to = if id == CLIENT { self.tid.peer() } else { CLIENT };
            self.send(id, to, &octets);
        }
        for (at, answer) in wishes.answers {
            self.agenda.enter(at, Event::Answer { end: id, answer });
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
            self.agenda.enter(at, Event::Datagram { from, to, octets: octets.to_owned() });
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
