//! A guest at its links, and a stranger who gets at its sessions, as a task.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::actors::sim::agenda::Agenda;
use crate::actors::sim::channel::Channel;
use crate::actors::sim::guest::{Guest, Sent, WELL_KNOWN};
use crate::actors::sim::rng::Rng;
use crate::actors::sim::stranger::{check_answers, mischief};
use crate::actors::sim::{Desk, Hall, MISCHIEF_MAX, SERVER};
use crate::limits;
use crate::net::Link;
use crate::transfer::Transmit;

pub(super) struct Seat {
    hall: Rc<Hall>,
    guest: Guest,
    channels: [Channel; 2],
    address: SocketAddr,
    began: Instant,
    rng: Rng,
    agenda: Agenda<OnTheWay>,
    /// Its sessions: the TID of each is its place, and one.
    desks: Vec<Desk>,
}

enum OnTheWay {
    ToServer {
        tid: usize,
        octets: Vec<u8>,
    },
    ToGuest {
        tid: usize,
        octets: Vec<u8>,
    },
    /// From a stranger, to any session.
    Mischief,
}

/// No run takes longer.
const LONGEST: Duration = Duration::from_secs(3600);

impl Seat {
    pub(super) fn new(
        hall: Rc<Hall>,
        guest: Guest,
        channels: [Channel; 2],
        address: SocketAddr,
        mut rng: Rng,
    ) -> Self {
        let mut agenda = Agenda::new();
        for _ in 0..rng.length(0..=MISCHIEF_MAX) {
            agenda.enter(Duration::from_millis(rng.within(0..=1000)), OnTheWay::Mischief);
        }
        Self { hall, guest, channels, address, began: Instant::now(), rng, agenda, desks: Vec::new() }
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.guest
    }

    pub(super) fn desks(&self) -> usize {
        self.desks.len()
    }

    /// Until it has ended for the guest, and for all sessions that it had.
    pub(super) async fn play(mut self, comes_in: Duration) -> Self {
        sleep(comes_in).await;
        let sent = self.guest.start(self.now());
        self.send(sent);
        loop {
            let arrival = self.agenda.peek().map(|(at, _)| at);
            let due = arrival.into_iter().chain(self.guest.deadline).min();
            if due.is_none() && self.desks.iter().all(|desk| desk.shared.is_over()) {
                self.desks.iter_mut().for_each(hear_stranger);
                return self;
            }
            // (Nobody tells of a session that ends without a word.)
            let until = due.unwrap_or(self.now() + Duration::from_secs(1));
            let wake_at = self.began + until;
            tokio::select! {
                biased;
                () = something(&mut self.desks) => self.collect(),
                () = sleep_until(wake_at) => self.act(),
            }
            assert!(self.now() < LONGEST, "something that never ends");
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes what the sessions have sent.
    fn collect(&mut self) {
        let now = self.now();
        let mut buffer = vec![0; limits::DATAGRAM_OCTETS_MAX];
        for (place, desk) in self.desks.iter_mut().enumerate() {
            desk.far.take_error();
            while let Ok(arrived) = desk.far.receive(&mut buffer) {
                let octets = &buffer[..arrived.octets];
                for at in self.channels[1].carry(now, octets) {
                    let event = OnTheWay::ToGuest { tid: place + 1, octets: octets.to_vec() };
                    self.agenda.enter(at, event);
                }
            }
        }
    }

    /// Does what is due.
    fn act(&mut self) {
        let now = self.now();
        if self.guest.deadline.is_some_and(|at| at <= now) {
            let sent = self.guest.on_deadline(now);
            self.send(sent);
        }
        while self.agenda.peek().is_some_and(|(at, _)| at <= now) {
            match self.agenda.take() {
                Some(OnTheWay::ToGuest { tid, octets }) => {
                    if let Some(until) = self.guest.stops_until(now, &octets) {
                        self.agenda.enter(until, OnTheWay::ToGuest { tid, octets });
                        continue;
                    }
                    let sent = self.guest.take(now, tid, &octets);
                    self.send(sent);
                }
                Some(OnTheWay::ToServer { tid: WELL_KNOWN, octets }) => {
                    let desk = self.hall.ask(self.address, &octets);
                    self.desks.extend(desk);
                }
                Some(OnTheWay::ToServer { tid, octets }) => {
                    // (A session that is gone hears nothing.)
                    let _ = self.desks[tid - 1].far.send(SERVER, &Transmit::Packet(&octets));
                }
                Some(OnTheWay::Mischief) => self.do_mischief(),
                None => {}
            }
        }
    }

    fn do_mischief(&mut self) {
        let octets = mischief(&mut self.rng, self.guest.blocks());
        let mut live: Vec<_> = self.desks.iter_mut().filter(|desk| !desk.shared.is_over()).collect();
        if live.is_empty() {
            return;
        }
        let victim = self.rng.length(0..=live.len() - 1);
        // (A session that is gone hears nothing.)
        let _ = live[victim].stranger.send(SERVER, &Transmit::Packet(&octets));
        live[victim].mischief.push(octets);
    }

    fn send(&mut self, sent: Vec<Sent>) {
        let now = self.now();
        for (tid, octets) in sent {
            for at in self.channels[0].carry(now, &octets) {
                self.agenda.enter(at, OnTheWay::ToServer { tid, octets: octets.clone() });
            }
        }
    }
}

/// What a stranger has got from a session is no more than it may.
fn hear_stranger(desk: &mut Desk) {
    let mut buffer = vec![0; limits::DATAGRAM_OCTETS_MAX];
    let receive = || desk.stranger.receive(&mut buffer).ok().map(|it| buffer[..it.octets].to_vec());
    let answers: Vec<_> = std::iter::from_fn(receive).collect();
    check_answers(&desk.mischief, &answers);
}

/// Ready when any of the sessions has sent something.
async fn something(desks: &mut [Desk]) {
    poll_fn(|cx| {
        let is_ready = |desk: &mut Desk| desk.far.poll_event(cx).is_ready();
        if desks.iter_mut().map(is_ready).fold(false, |any, one| any | one) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
