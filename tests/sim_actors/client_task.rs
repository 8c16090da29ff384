//! A scripted client with its sessions, and the strangers that send packets to them, as a task.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use stagecoach::testkit::KitPacket;
use tokio::time::{Instant, sleep, sleep_until};

use crate::link::{Channel, EventQueue, Rng};
use crate::scripted_client::{ScriptedClient, Sent, WELL_KNOWN};
use crate::strangers::{check_stranger_answers, stranger_packet};
use crate::{STRANGER, STRANGER_PACKETS_MAX, ServerFixture, SessionUnderTest};

pub(crate) struct ClientTask {
    server: Rc<ServerFixture>,
    client: ScriptedClient,
    /// To the server, and back.
    channels: [Channel; 2],
    address: SocketAddr,
    began: Instant,
    rng: Rng,
    events: EventQueue<Event>,
    /// The TID of a session is its index plus one.
    sessions: Vec<SessionUnderTest>,
}

enum Event {
    ToServer {
        tid: usize,
        octets: Vec<u8>,
    },
    ToClient {
        tid: usize,
        octets: Vec<u8>,
    },
    /// A stranger sends a packet to any session.
    StrangerSends,
}

/// No run takes longer.
const RUN_TIME_MAX: Duration = Duration::from_secs(3600);

impl ClientTask {
    pub(crate) fn new(
        server: Rc<ServerFixture>,
        client: ScriptedClient,
        channels: [Channel; 2],
        address: SocketAddr,
        mut rng: Rng,
    ) -> Self {
        let mut events = EventQueue::new();
        for _ in 0..rng.length(0..=STRANGER_PACKETS_MAX) {
            events.push(Duration::from_millis(rng.within(0..=1000)), Event::StrangerSends);
        }
        Self { server, client, channels, address, began: Instant::now(), rng, events, sessions: Vec::new() }
    }

    pub(crate) fn client(&self) -> &ScriptedClient {
        &self.client
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Runs until the client and all its sessions have ended.
    pub(crate) async fn run(mut self, starts_after: Duration) -> Self {
        sleep(starts_after).await;
        let sent = self.client.start(self.now());
        self.send(sent);
        loop {
            let arrival = self.events.peek().map(|(at, _)| at);
            let due = arrival.into_iter().chain(self.client.deadline).min();
            if due.is_none() && self.sessions.iter().all(|session| session.link.is_closed()) {
                self.check_strangers();
                return self;
            }
            // (A session may end without a packet: its link is looked at every second.)
            let wake_at = self.began + due.unwrap_or(self.now() + Duration::from_secs(1));
            tokio::select! {
                biased;
                packets = receive(&mut self.sessions) => self.carry(packets),
                () = sleep_until(wake_at) => self.handle_due(),
            }
            assert!(self.now() < RUN_TIME_MAX, "a run that never ends");
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn check_strangers(&self) {
        for session in &self.sessions {
            check_stranger_answers(&session.stranger_packets, &session.stranger_answers);
        }
    }

    /// Puts what the sessions have sent on the client's way; strangers receive theirs at once.
    fn carry(&mut self, packets: Vec<(usize, KitPacket)>) {
        let now = self.now();
        for (index, KitPacket { to, octets }) in packets {
            if to != self.address {
                assert_eq!(to, STRANGER);
                self.sessions[index].stranger_answers.push(octets);
                continue;
            }
            for at in self.channels[1].carry(now, &octets) {
                let event = Event::ToClient { tid: index + 1, octets: octets.clone() };
                self.events.push(at, event);
            }
        }
    }

    fn handle_due(&mut self) {
        let now = self.now();
        if self.client.deadline.is_some_and(|at| at <= now) {
            let sent = self.client.on_deadline(now);
            self.send(sent);
        }
        while self.events.peek().is_some_and(|(at, _)| at <= now) {
            match self.events.pop() {
                Some(Event::ToClient { tid, octets }) => {
                    if let Some(until) = self.client.pause_until(now, &octets) {
                        self.events.push(until, Event::ToClient { tid, octets });
                        continue;
                    }
                    let sent = self.client.on_packet(now, tid, &octets);
                    self.send(sent);
                }
                Some(Event::ToServer { tid: WELL_KNOWN, octets }) => {
                    let session = self.server.request(self.address, &octets);
                    self.sessions.extend(session);
                }
                Some(Event::ToServer { tid, octets }) => self.sessions[tid - 1].link.send(&octets),
                Some(Event::StrangerSends) => self.send_as_stranger(),
                None => {}
            }
        }
    }

    fn send_as_stranger(&mut self) {
        let octets = stranger_packet(&mut self.rng, self.client.blocks());
        let mut live: Vec<_> = self.sessions.iter_mut().filter(|session| !session.link.is_closed()).collect();
        if live.is_empty() {
            return;
        }
        let chosen = self.rng.length(0..=live.len() - 1);
        live[chosen].link.send_from(STRANGER, &octets);
        live[chosen].stranger_packets.push(octets);
    }

    fn send(&mut self, sent: Vec<Sent>) {
        let now = self.now();
        for (tid, octets) in sent {
            for at in self.channels[0].carry(now, &octets) {
                self.events.push(at, Event::ToServer { tid, octets: octets.clone() });
            }
        }
    }
}

/// Waits until a session sends something. Packets, each with the index of its session.
async fn receive(sessions: &mut [SessionUnderTest]) -> Vec<(usize, KitPacket)> {
    poll_fn(|cx| {
        let mut packets = Vec::new();
        for (index, session) in sessions.iter_mut().enumerate() {
            while let Poll::Ready(Some(packet)) = session.link.poll_next(cx) {
                packets.push((index, packet));
            }
        }
        if packets.is_empty() { Poll::Pending } else { Poll::Ready(packets) }
    })
    .await
}
