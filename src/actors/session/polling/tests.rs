use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context as TaskContext, Poll};

use actix::{Actor, AsyncContext, System};
use tokio::time::Sleep;

use super::*;
use crate::actors::assignment::Assignment;
use crate::actors::lease::Lease;
use crate::actors::live_peers::{Claim, LivePeers};
use crate::actors::service::Service;
use crate::actors::session::Session;
use crate::actors::switchboard::Switchboard;
use crate::actors::test_support::service;
use crate::net::{Link, Received, UdpLink};
use crate::store::{Memory, MemoryOptions, Name};
use crate::transfer::{Machine, Transmit};
use crate::wire::Packet;

const SLOW: Duration = Duration::from_micros(60);
const QUICK: Duration = Duration::from_micros(40);

/// A habit, and the time that it is told.
struct Clock {
    habit: Habit,
    now: Instant,
}

impl Clock {
    /// An arbiter with one session, which has just begun.
    fn new() -> Self {
        let mut habit = Habit::NEW;
        habit.change_sessions(1);
        let mut clock = Self { habit, now: Instant::now() };
        assert!(!clock.habit.poll_next(clock.now));
        clock
    }

    /// A batch whose exchanges take so long asleep or polled for. Whether the next one is polled for.
    fn batch(&mut self, asleep: Duration, polling: Duration) -> bool {
        let polled = self.habit.polling;
        for left in (0..limits::POLL_BATCH).rev() {
            self.now += if polled { polling } else { asleep };
            assert!(self.habit.poll_next(self.now) == polled || left == 0, "a batch is of one kind");
        }
        self.habit.polling
    }

    /// How many of so many batches were polled for.
    fn polled_of(&mut self, batches: u32, asleep: Duration, polling: Duration) -> u32 {
        (0..batches).map(|_| u32::from(self.batch(asleep, polling))).sum()
    }
}

#[test]
fn a_client_whose_answers_come_sooner_when_polled_for_is_polled_for() {
    let polled = Clock::new().polled_of(340, SLOW, QUICK);
    assert!(polled > 310, "{polled} of 340");
}

#[test]
fn one_for_whom_it_makes_no_difference_hardly_ever_is() {
    let polled = Clock::new().polled_of(700, SLOW, SLOW);
    assert!((10..30).contains(&polled), "{polled} of 700: seldom, but it is tried again");
}

#[test]
fn a_machine_that_becomes_busy_ends_polling_and_one_that_becomes_idle_begins_it_again() {
    let mut clock = Clock::new();
    clock.polled_of(100, SLOW, QUICK);
    let polled = clock.polled_of(700, SLOW, SLOW * 2);
    assert!(polled < 30, "{polled} of 700");
    let polled = clock.polled_of(500, SLOW, QUICK);
    assert!(polled > 350, "{polled} of 500");
}

#[test]
fn what_somebody_else_does_now_and_then_does_not_end_polling() {
    let mut clock = Clock::new();
    clock.polled_of(10, SLOW, QUICK);
    assert!(clock.habit.polling);
    for _ in 0..20 {
        assert!(clock.batch(SLOW, SLOW * 3), "one batch tells nothing");
        assert!(clock.batch(SLOW, QUICK));
    }
    clock.batch(SLOW, SLOW * 3);
    assert!(!clock.batch(SLOW, SLOW * 3), "two in a row do");
}

#[test]
fn a_transfer_that_has_company_is_not_polled_for() {
    let mut clock = Clock::new();
    clock.polled_of(10, SLOW, QUICK);
    assert!(clock.habit.polling);
    clock.habit.change_sessions(2);
    assert_eq!(clock.polled_of(100, SLOW, QUICK), 0);
    clock.habit.change_sessions(1);
    clock.habit.poll_next(clock.now);
    assert!(clock.polled_of(100, SLOW, QUICK) > 80, "alone again");
}

#[test]
fn a_session_counts_from_its_start_to_its_end() {
    let count = || ARBITER.get().at_work;
    assert_eq!(count(), 0);
    let (first, second) = (AtWork::new(), AtWork::new());
    assert_eq!(count(), 2);
    drop(first);
    let panicked = std::panic::catch_unwind(move || {
        let _second = second;
        std::panic::resume_unwind(Box::new("a session"));
    });
    assert!(panicked.is_err());
    assert_eq!(count(), 0);
}

mod uploads;

/// Blocks of the file that the client of the link reads, the last of them empty.
const BLOCKS: u32 = 1001;
const LOOKS_BEFORE_ANSWER: u32 = 3;

/// A client in lock-step: an answer is found at the third look, or else by whoever sleeps two milliseconds.
#[derive(Debug)]
struct FarBed {
    peer: SocketAddr,
    /// To be acknowledged.
    block: Option<u16>,
    looks: u32,
    sleep: Option<Pin<Box<Sleep>>>,
    sleeps: Arc<AtomicU32>,
}

impl Link for FarBed {
    fn local_addr(&self) -> SocketAddr {
        self.peer
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if self.block.is_none() {
            return Poll::Pending;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(2))));
        std::task::ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        self.looks = LOOKS_BEFORE_ANSWER;
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        self.looks += 1;
        let block = self.block.take_if(|_| self.looks >= LOOKS_BEFORE_ANSWER);
        let ack = Packet::Ack { block: block.ok_or(io::ErrorKind::WouldBlock)? }.to_bytes();
        buffer[..ack.len()].copy_from_slice(&ack);
        Ok(Arrived::one(ack.len(), self.peer))
    }

    fn send(&mut self, _: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        let block = match transmit {
            Transmit::Blocks(blocks) => blocks
                .map(|block| block.header)
                .last()
                .map(|[_, _, high, low]| u16::from_be_bytes([high, low])),
            // The OACK.
            Transmit::Packet(_) => Some(0),
        };
        (self.block, self.looks, self.sleep) = (block, 0, None);
        Ok(())
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        None
    }
}

/// How often a session that reads the file for this client, in blocks of so many octets, slept.
fn sleeps(poll: Duration, blksize: usize) -> u32 {
    let request = format!("\0\x01file\0octet\0blksize\0{blksize}\0");
    let (store, name) = (Memory::new(MemoryOptions::default()), Name::from_request(b"file").unwrap());
    store.insert(name.clone(), vec![7; (BLOCKS as usize - 1) * blksize]);
    let sleeps = Arc::<AtomicU32>::default();
    let link = FarBed { peer: peer(), block: None, looks: 0, sleep: None, sleeps: Arc::clone(&sleeps) };
    let lease = transfer(store, poll, request.as_bytes(), link);
    assert_eq!(
        lease.hold().machine.as_ref().map(|machine| machine.tally().octets),
        Some(u64::from(BLOCKS - 1) * blksize as u64)
    );
    sleeps.load(Ordering::Relaxed)
}

fn peer() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 2000))
}

/// Serves one request over a link, to its end.
fn transfer(store: Memory, poll: Duration, request: &[u8], link: impl Link) -> Arc<Lease> {
    let mut service = Arc::into_inner(service(Arc::new(store)).0).unwrap();
    service.poll = poll;
    System::new().block_on(serve(Arc::new(service), request, Box::new(link)))
}

async fn serve(service: Arc<Service>, request: &[u8], link: Box<dyn Link>) -> Arc<Lease> {
    let Ok(Packet::Request(request)) = Packet::decode(request) else { unreachable!() };
    let (request, peer) = (request.into_owned(), peer());
    let socket = UdpLink::open((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap();
    let received = Received { octets: 0, from: peer, to: peer, to_broadcast: false };
    let no_repeat = || unreachable!("it is no repeat");
    let claim = LivePeers::new(1).claim(&received, &request, no_repeat, || service.next_transfer());
    let Claim::New(ticket) = claim else { panic!("no place") };
    let received_at = tokio::time::Instant::now();
    let assignment = Assignment { id: ticket.id, peer, request, received_at, to_broadcast: false };
    let way = service.route(&assignment.asked(peer), 0).unwrap();
    let lease = Arc::new(Lease::new(assignment, way, socket, peer, Arc::clone(&ticket.state)));
    let life = lease.next_life();
    let switchboard = Switchboard::start(&service);
    let shared = Arc::clone(&lease);
    Session::create(|ctx| Session::new(shared, life, service, link, switchboard, ctx.address()));
    while !lease.is_reported() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    lease
}

#[test]
fn a_session_sleeps_for_each_answer_only_if_told_not_to_poll() {
    // (One of them is the OACK's.)
    assert_eq!(sleeps(Duration::ZERO, 512), BLOCKS + 1);
    let polling = sleeps(Duration::from_millis(1), 512);
    assert!(polling < BLOCKS / 2, "{polling} of {BLOCKS}");
}

#[test]
fn a_client_with_blocks_so_large_that_each_has_more_of_the_file_read_is_polled_for_as_well() {
    let polling = sleeps(Duration::from_millis(1), 65464);
    assert!(polling < BLOCKS / 2, "{polling} of {BLOCKS}");
}
