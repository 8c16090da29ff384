//! A server's machines and many guests, each with a link of its own, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use stagecoach::limits;
use stagecoach::transfer::{Input, Moment, Offer, Timeouts, stranger_answer};
use stagecoach::wire::Packet;

use super::guest::{Guest, Sent, Temper, WELL_KNOWN, Wish};
use crate::link::{Agenda, Answer, Channel, End, Pace, Report, Rng, Wishes, serving};

/// A guest, and its way to the server and back.
pub(crate) struct Visitor {
    pub(crate) guest: Guest,
    pub(crate) channels: [Channel; 2],
    /// When it is switched on.
    pub(crate) comes_at: Duration,
    /// The session that its requests may be repeats for, and the request.
    newest: Option<(usize, Vec<u8>)>,
    /// Requests of it that arrived.
    requests_arrived: usize,
}

impl Visitor {
    pub(crate) fn new(guest: Guest, channels: [Channel; 2], comes_at: Duration) -> Self {
        Self { guest, channels, comes_at, newest: None, requests_arrived: 0 }
    }
}

/// A session of the server. Its TID is its place in the list, and one.
pub(crate) struct Session {
    end: End,
    pub(crate) guest: usize,
    /// Requests that it answers.
    requests: u64,
    /// Datagrams that were forged in its peer's name.
    forged: u64,
}

impl Session {
    pub(crate) fn report(&self) -> &Report {
        &self.end.report
    }
}

enum Event {
    Comes(usize),
    ToServer {
        guest: usize,
        tid: usize,
        octets: Vec<u8>,
    },
    ToGuest {
        guest: usize,
        tid: usize,
        octets: Vec<u8>,
    },
    Answer {
        session: usize,
        answer: Answer,
    },
    /// Somebody forges a packet.
    Forgery,
}

pub(crate) struct Hall {
    now: Duration,
    agenda: Agenda<Event>,
    visitors: Vec<Visitor>,
    sessions: Vec<Session>,
    timeouts: Timeouts,
    pace: Pace,
    /// How often each block of a window may be sent on average.
    times_each: u64,
    rng: Rng,
    /// `STAGECOACH_TRACE` shows every datagram.
    is_traced: bool,
}

/// Whose deadline it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Guest(usize),
    Session(usize),
}

/// Repeats in a row until patience ends, after two minutes, at intervals that double to eight seconds.
const REPEATS_MAX: u64 = 45;
/// The same at intervals that stay half a second.
const REPEATS_MAX_FIXED: u64 = 245;
/// Of each packet that is forged.
const COPIES: usize = 4;
/// No run takes longer.
const LONGEST: Duration = Duration::from_secs(3600);

impl Hall {
    pub(crate) fn new(
        visitors: Vec<Visitor>,
        timeouts: Timeouts,
        pace: Pace,
        times_each: u64,
        rng: Rng,
    ) -> Self {
        let mut agenda = Agenda::new();
        for (index, visitor) in visitors.iter().enumerate() {
            agenda.enter(visitor.comes_at, Event::Comes(index));
        }
        let is_traced = std::env::var_os("STAGECOACH_TRACE").is_some();
        let (now, sessions) = (Duration::ZERO, Vec::new());
        Self { now, agenda, visitors, sessions, timeouts, pace, times_each, rng, is_traced }
    }

    /// So many packets are forged, each some times, in the first seconds.
    pub(crate) fn with_forgeries(mut self, count: usize) -> Self {
        for _ in 0..count {
            let at = Duration::from_micros(self.rng.within(0..=3_000_000));
            self.agenda.enter(at, Event::Forgery);
        }
        self
    }

    /// Plays until nothing is left to happen.
    pub(crate) fn run(mut self) -> (Vec<Visitor>, Vec<Session>) {
        while self.step() {
            assert!(self.now < LONGEST, "something that never ends");
        }
        for session in &self.sessions {
            assert!(session.end.is_closed, "a session that waits for nothing: {:?}", session.end.report);
        }
        for visitor in &self.visitors {
            let sessions = self.sessions.iter().filter(|it| std::ptr::eq(&self.visitors[it.guest], visitor));
            assert!(sessions.count() <= visitor.requests_arrived, "more sessions than requests");
        }
        (self.visitors, self.sessions)
    }

    fn step(&mut self) -> bool {
        let event_at = self.agenda.peek().map(|(at, _)| at);
        match (self.first_deadline(), event_at) {
            (Some((deadline, who)), at) if at.is_none_or(|at| deadline < at) => {
                self.now = self.now.max(deadline);
                self.on_deadline(who);
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

    fn first_deadline(&self) -> Option<(Duration, Who)> {
        let guests = self.visitors.iter().map(|visitor| visitor.guest.deadline);
        let sessions = self.sessions.iter().map(|session| session.end.deadline.map(Moment::since_epoch));
        let guests = guests.enumerate().filter_map(|(index, at)| Some((at?, Who::Guest(index))));
        let sessions = sessions.enumerate().filter_map(|(index, at)| Some((at?, Who::Session(index))));
        guests.chain(sessions).min()
    }

    fn on_deadline(&mut self, who: Who) {
        match who {
            Who::Guest(index) => {
                let sent = self.visitors[index].guest.on_deadline(self.now);
                self.guest_sends(index, sent);
            }
            Who::Session(index) => self.feed(index, Input::Deadline),
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Comes(guest) => {
                let sent = self.visitors[guest].guest.start(now);
                self.guest_sends(guest, sent);
            }
            Event::ToServer { guest, tid: WELL_KNOWN, octets } => self.on_request(guest, octets),
            Event::ToServer { guest, tid, octets } => self.on_datagram(guest, tid - 1, &octets),
            Event::ToGuest { guest, tid, octets } => {
                if let Some(until) = self.visitors[guest].guest.stops_until(now, &octets) {
                    return self.agenda.enter(until, Event::ToGuest { guest, tid, octets });
                }
                let sent = self.visitors[guest].guest.take(now, tid, &octets);
                self.guest_sends(guest, sent);
            }
            Event::Answer { session, answer } => {
                let wishes = self.sessions[session].end.answered(now, answer);
                self.grant(session, wishes);
            }
            Event::Forgery => self.forge(),
        }
    }

    /// What the listener does: a request that comes again is a repeat as long as the session that has it hasn't been answered (D13).
    fn on_request(&mut self, guest: usize, octets: Vec<u8>) {
        self.visitors[guest].requests_arrived += 1;
        if let Some((newest, request)) = &self.visitors[guest].newest
            && *request == octets
            && !self.sessions[*newest].end.is_closed
            && !self.sessions[*newest].end.is_proven()
        {
            let newest = *newest;
            self.sessions[newest].requests += 1;
            return self.feed(newest, Input::Repeated);
        }
        let wish = self.visitors[guest].guest.wish().clone();
        let Ok(Packet::Request(asked)) = Packet::decode(&octets) else { panic!("no request: {octets:?}") };
        let machine = serving(&asked, wish.file.len() as u64, &Offer::default(), self.timeouts);
        let end = End::new(machine, Arc::clone(&wish.file), wish.file, self.pace, self.rng.fork());
        self.sessions.push(Session { end, guest, requests: 1, forged: 0 });
        let index = self.sessions.len() - 1;
        self.visitors[guest].newest = Some((index, octets));
        self.feed(index, Input::Start);
    }

    fn on_datagram(&mut self, guest: usize, session: usize, octets: &[u8]) {
        if self.sessions[session].end.is_closed {
            // Nobody listens there any more.
            return;
        }
        if self.sessions[session].guest != guest {
            if let Some(answer) = stranger_answer(octets) {
                self.send_to_guest(guest, session, &answer);
            }
            return;
        }
        let more = self.agenda.peek().is_some_and(|(at, next)| {
            at <= self.now
                && matches!(next, Event::ToServer { guest: it, tid, .. } if (*it, *tid) == (guest, session + 1))
        });
        self.feed(session, Input::Datagram { octets, more });
    }

    /// A packet in the name of a guest, and copies of it.
    fn forge(&mut self) {
        let live: Vec<_> =
            (0..self.sessions.len()).filter(|&index| !self.sessions[index].end.is_closed).collect();
        if live.is_empty() {
            return;
        }
        let victim = self.rng.one_of(&live);
        if self.wish(victim).is_read {
            self.forge_ack(victim);
        } else {
            self.forge_data(victim);
        }
    }

    /// An ACK of any block that there is: what was in flight is repeated once, or the window is for the first copy.
    fn forge_ack(&mut self, victim: usize) {
        let block = self.rng.within(0..=self.visitors[self.sessions[victim].guest].guest.blocks());
        let [high, low] = (block as u16).to_be_bytes();
        let windowsize = self.wish(victim).windowsize;
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

    /// DATA of any block but the one that is waited for (who forges that has it written: nothing in the protocol is against it). No octet of it is stored, and
    /// each copy gets one answer at most.
    fn forge_data(&mut self, victim: usize) {
        let blksize = self.wish(victim).blksize;
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

    fn wish(&self, session: usize) -> &Wish {
        self.visitors[self.sessions[session].guest].guest.wish()
    }

    fn feed(&mut self, session: usize, input: Input<'_>) {
        let wishes = self.sessions[session].end.take(self.now, input);
        self.grant(session, wishes);
    }

    fn grant(&mut self, session: usize, wishes: Wishes) {
        let guest = self.sessions[session].guest;
        for octets in wishes.packets {
            self.send_to_guest(guest, session, &octets);
        }
        for (at, answer) in wishes.answers {
            self.agenda.enter(at, Event::Answer { session, answer });
        }
        self.check(session);
    }

    /// What holds at every moment.
    fn check(&self, index: usize) {
        let Session { end, guest, requests, forged } = &self.sessions[index];
        let guest = &self.visitors[*guest].guest;
        let (wish, report) = (guest.wish(), &end.report);
        let (data, windowsize) = (report.data_sent(), wish.windowsize);
        if !end.is_proven() {
            let sent = report.packets_sent();
            let most = u64::from(limits::UNPROVEN_DATAGRAMS_MAX) + requests - 1;
            assert!(sent <= most, "{sent} for {requests} requests to one that never answered");
        }
        // At worst each window brings one block, and is repeated a few times; and whoever says nothing more is sent it until patience ends.
        let repeats = if self.timeouts.fixed { REPEATS_MAX_FIXED } else { REPEATS_MAX };
        let most =
            self.times_each * windowsize * guest.blocks() + repeats * (windowsize + 1) + windowsize * forged;
        assert!(data <= most, "{data} DATA for {} blocks, {:?}", guest.blocks(), guest.temper());
        // What is read ahead is bounded.
        let window_octets = wish.blksize * wish.windowsize as usize;
        let most = window_octets + limits::READ_AHEAD_OCTETS_MAX as usize + limits::SLAB_OCTETS;
        assert!(!wish.is_read || end.held() <= most, "{} octets in memory", end.held());
    }

    fn guest_sends(&mut self, guest: usize, sent: Vec<Sent>) {
        for (tid, octets) in sent {
            for at in self.visitors[guest].channels[0].carry(self.now, &octets) {
                self.trace(guest, "->", tid, &octets, at);
                self.agenda.enter(at, Event::ToServer { guest, tid, octets: octets.clone() });
            }
        }
    }

    fn send_to_guest(&mut self, guest: usize, session: usize, octets: &[u8]) {
        for at in self.visitors[guest].channels[1].carry(self.now, octets) {
            self.trace(guest, "<-", session + 1, octets, at);
            self.agenda.enter(at, Event::ToGuest { guest, tid: session + 1, octets: octets.to_vec() });
        }
    }

    fn trace(&self, guest: usize, way: &str, tid: usize, octets: &[u8], arrives_at: Duration) {
        if self.is_traced {
            let temper = self.visitors[guest].guest.temper();
            let (head, octets) = (&octets[..octets.len().min(4)], octets.len());
            eprintln!(
                "{:>13?} {guest} {temper:?} {way} {tid} {head:?} of {octets}, arrives {arrives_at:?}",
                self.now
            );
        }
    }
}

/// Whether the guest has no part in what its sessions' blocks are repeated for.
pub(crate) fn repeats_nothing_by_itself(temper: Temper) -> bool {
    matches!(temper, Temper::Proper | Temper::Vintage | Temper::EveryUnexpected)
}

/// Whether the guest stops now and then, and repeats nothing while it does.
pub(crate) fn pauses(temper: Temper) -> bool {
    matches!(temper, Temper::Pausing | Temper::Deaf | Temper::Fragile)
}
