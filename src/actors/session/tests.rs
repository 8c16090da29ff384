//! Transfers that move to another arbiter, and uploads to a store that hangs, as the client sees
//! them.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::{Actor, Arbiter, AsyncContext, Context, System};
use tokio::time::Instant;

use crate::actors::session::Session;
use crate::engine::admission::{Claim, PeerTable, Permit};
use crate::engine::files::SourceHandle;
use crate::engine::poll_loop::PollLoop;
use crate::engine::service::Service;
use crate::engine::test_support::{
    Crashes, Parent, SteppedStore, in_virtual_time, pass, service, turn_until, wait_until,
};
use crate::engine::transfers::{Assignment, SharedTransfer};
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::net::{Received, UdpLink};
use crate::store::{Memory, MemoryOptions, Name, Sink, Slab, Source, Store};
use crate::supervision::{Exit, start_temporary};
use crate::transfer::Outcome;
use crate::wire::Packet;

/// A transfer whose client is the test.
struct Fixture {
    client: UdpSocket,
    shared: Arc<SharedTransfer>,
    service: Arc<Service>,
    facts: Arc<Crashes>,
    sender: Sender<Exit>,
    exits: Receiver<Exit>,
    _permit: Permit,
}

impl Fixture {
    fn new(request: &[u8], store: Arc<dyn Store>) -> Self {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (service, facts) = service(store);
        let Ok(Packet::Request(request)) = Packet::decode(request) else { panic!("{request:?}") };
        let (request, peer) = (request.into_owned(), client.local_addr().unwrap());
        let socket = UdpLink::open((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap();
        let local = socket.local_addr().unwrap();
        let Claim::New(permit) = PeerTable::new(1).claim(
            &Received { octets: 0, from: peer, to: local, to_broadcast: false },
            &request,
            || unreachable!("it is no repeat"),
            || service.next_transfer(),
        ) else {
            panic!("no place")
        };
        client.connect(local).unwrap();
        let config = service.config();
        let assignment = Assignment {
            id: permit.id,
            peer,
            request,
            received_at: Instant::now(),
            to_broadcast: false,
            config,
        };
        let routed = service.route(&assignment.config, &assignment.asked(local), 0).unwrap();
        let shared =
            Arc::new(SharedTransfer::new(assignment, routed, socket, local, Arc::clone(&permit.state)));
        let (sender, exits) = mpsc::channel();
        Self { client, shared, service, facts, sender, exits, _permit: permit }
    }

    /// Returns a function that starts the next session on the thread that calls it.
    fn next_session(&self) -> impl FnOnce() + Send + 'static {
        let (shared, service, sender) =
            (Arc::clone(&self.shared), Arc::clone(&self.service), self.sender.clone());
        move || {
            let (life, parent) = (shared.next_life(), Parent(sender).start().recipient());
            let link = UdpLink::new(Arc::clone(&shared.socket), shared.local);
            let poll_loop = PollLoop::start(&service);
            let make = move |ctx: &mut Context<_>| {
                Session::new(shared, life, service, Box::new(link), poll_loop, ctx.address())
            };
            start_temporary(1, limits::MAILBOX_SESSION, parent, make);
        }
    }

    /// Starts the next session on a new arbiter.
    fn arbiter(&self) -> Arbiter {
        let arbiter = Arbiter::new();
        arbiter.spawn_fn(self.next_session());
        arbiter
    }

    fn expect(&self, packet: &[u8]) {
        let mut buffer = [0; 600];
        let octets = self.client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..octets], packet);
    }
}

fn data(block: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 3, 0, block], payload].concat()
}

fn ack(block: u8) -> [u8; 4] {
    [0, 4, 0, block]
}

fn end(arbiter: Arbiter) {
    arbiter.stop();
    arbiter.join().unwrap();
}

#[test]
fn an_upload_continues_on_another_arbiter() {
    let _system = System::new();
    let store = Memory::new(MemoryOptions::default());
    let fixture = Fixture::new(b"\0\x02file\0octet\0", Arc::new(store.clone()));
    let first = fixture.arbiter();
    fixture.expect(&ack(0));
    // More than one slab, so that only a part has reached the writer.
    for block in 1..=130 {
        fixture.client.send(&data(block, &[block; 512])).unwrap();
        fixture.expect(&ack(block));
    }
    end(first);
    let second = fixture.arbiter();
    fixture.expect(&ack(130));
    fixture.client.send(&data(131, b"the end")).unwrap();
    fixture.expect(&ack(131));
    let file =
        store.open(&fixture.shared.destination.get().unwrap().name).unwrap().fetch(0, 1 << 20).unwrap().bytes;
    let wanted: Vec<u8> = (1..=130).flat_map(|block| [block; 512]).chain(*b"the end").collect();
    assert!(file == wanted, "{} octets", file.len());
    end(second);
}

#[test]
fn a_read_continues_on_another_arbiter() {
    let _system = System::new();
    let store = Memory::new(MemoryOptions::default());
    let name = Name::from_request(b"file").unwrap();
    let mut sink = store.create(&name, None).unwrap();
    sink.write(&[7; 1030]).unwrap();
    sink.publish().unwrap();
    let fixture = Fixture::new(b"\0\x01file\0octet\0", Arc::new(store));
    let first = fixture.arbiter();
    fixture.expect(&data(1, &[7; 512]));
    fixture.client.send(&ack(1)).unwrap();
    fixture.expect(&data(2, &[7; 512]));
    end(first);
    let second = fixture.arbiter();
    fixture.expect(&data(2, &[7; 512]));
    fixture.client.send(&ack(2)).unwrap();
    fixture.expect(&data(3, &[7; 6]));
    end(second);
}

#[test]
fn a_transfer_that_gives_way_names_the_limit() {
    let _system = System::new();
    let store = Memory::new(MemoryOptions::default());
    store.insert(Name::from_request(b"file").unwrap(), "never acknowledged");
    for (limit, why) in [
        (Some(Limit::UnprovenWaiting), "it gave way: UNPROVEN_MAX"),
        (None, "no packet came back: a firewall or a client that needs --single-port"),
    ] {
        let fixture = Fixture::new(b"\0\x01file\0octet\0", Arc::new(store.clone()));
        let arbiter = fixture.arbiter();
        fixture.expect(&data(1, b"never acknowledged"));
        fixture.shared.peer_state.give_up(limit);
        wait_until("reported", || !fixture.facts.reports().is_empty());
        let report = fixture.facts.reports().swap_remove(0);
        assert_eq!(report.outcome, Outcome::Unanswered);
        assert_eq!((report.limit, report.detail.as_deref()), (limit, Some(why)));
        end(arbiter);
    }
}

#[test]
fn a_moved_session_opens_again_and_answers_once() {
    let _system = System::new();
    let stepped = Arc::<SteppedStore>::default();
    let fixture = Fixture::new(b"\0\x01file\0octet\0", Arc::new(Arc::clone(&stepped)));
    stepped.hold("open");
    let first = fixture.arbiter();
    wait_until("held", || stepped.calls("open") == 1);
    let (alive, ended) = mpsc::channel::<()>();
    first.spawn(async move {
        std::future::pending::<()>().await;
        drop(alive);
    });
    first.stop();
    // The sender is dropped with the tasks of the arbiter.
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Err(RecvTimeoutError::Disconnected));
    let second = fixture.arbiter();
    wait_until("asked for again", || stepped.calls("open") == 2);
    stepped.release();
    first.join().unwrap();
    fixture.expect(b"\0\x05\0\x01File not found\0");
    end(second);
    fixture.client.set_nonblocking(true).unwrap();
    assert!(fixture.client.recv(&mut [0; 600]).is_err(), "one ERROR");
}

#[test]
fn a_hanging_upload_gets_an_error_at_the_limit() {
    for (call, limit) in [
        ("create", limits::WRITE_WITHIN),
        ("write", limits::WRITE_WITHIN),
        ("publish", limits::PUBLISH_WITHIN),
    ] {
        in_virtual_time(async move {
            let stepped = Arc::<SteppedStore>::default();
            let fixture = Fixture::new(b"\0\x02file\0octet\0", Arc::new(Arc::clone(&stepped)));
            stepped.hold(call);
            fixture.next_session()();
            fixture.client.set_nonblocking(true).unwrap();
            let arrived = || fixture.client.peek(&mut [0; 600]).is_ok();
            if call != "create" {
                turn_until(arrived).await;
                fixture.expect(&ack(0));
                fixture.client.send(&data(1, b"short")).unwrap();
            }
            turn_until(|| stepped.calls(call) == 1).await;
            pass(limit + Duration::from_secs(1)).await;
            turn_until(arrived).await;
            fixture.expect(b"\0\x05\0\0Input/output error\0");
            stepped.release();
            turn_until(|| stepped.dropped() == 1).await;
            assert_eq!(stepped.published().len(), usize::from(call == "publish"));
            turn_until(|| fixture.exits.try_iter().any(|exit| exit == Exit::Normal)).await;
        });
    }
}

/// A store whose files report the thread on which they are dropped.
#[derive(Debug)]
struct DropStore {
    dropped: Sender<ThreadId>,
    /// Whether reads are served from the cache.
    is_cached: bool,
}

#[derive(Debug)]
struct DropSource {
    dropped: Sender<ThreadId>,
    is_cached: bool,
}

impl DropStore {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(DropSource { dropped: self.dropped.clone(), is_cached: self.is_cached })
    }
}

impl Store for DropStore {
    fn open(&self, _: &Name) -> Result<Arc<dyn Source>, Fault> {
        Ok(self.source())
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::Forbidden.into())
    }
}

impl Source for DropSource {
    fn size(&self) -> Option<u64> {
        Some(600)
    }

    fn path(&self) -> &str {
        "file"
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        let end = (offset + length as u64).min(600);
        Ok(Slab { bytes: vec![7; usize::try_from(end - offset).unwrap()].into(), end: end == 600 })
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        if self.is_cached { self.fetch(offset, length).map(Some) } else { Ok(None) }
    }
}

impl Drop for DropSource {
    fn drop(&mut self) {
        // The test may have ended.
        let _ = self.dropped.send(thread::current().id());
    }
}

/// Dropping a file may block, whatever drops it last, and however the transfer ends.
#[test]
fn a_file_is_never_dropped_on_the_arbiter() {
    let _system = System::new();
    for is_cached in [false, true] {
        for is_opened_before in [false, true] {
            for is_complete in [false, true] {
                let (sender, dropped) = mpsc::channel();
                let store = Arc::new(DropStore { dropped: sender, is_cached });
                let fixture = Fixture::new(b"\0\x01file\0octet\0", Arc::<DropStore>::clone(&store));
                if is_opened_before {
                    fixture.shared.lock().set_opened(SourceHandle::new(store.source()));
                }
                let arbiter = fixture.arbiter();
                let (ask, answer) = mpsc::channel();
                arbiter.spawn_fn(move || ask.send(thread::current().id()).unwrap());
                let arbiters_thread = answer.recv().unwrap();
                fixture.expect(&data(1, &[7; 512]));
                if is_complete {
                    fixture.client.send(&ack(1)).unwrap();
                    fixture.expect(&data(2, &[7; 88]));
                    fixture.client.send(&ack(2)).unwrap();
                } else {
                    fixture.client.send(b"\0\x05\0\0enough\0").unwrap();
                }
                let case = (is_cached, is_opened_before, is_complete);
                let thread = dropped.recv_timeout(Duration::from_secs(20)).expect("it is dropped");
                assert_ne!(thread, arbiters_thread, "cached, opened before, complete: {case:?}");
                end(arbiter);
                assert!(dropped.try_recv().is_err(), "once");
            }
        }
    }
}

#[test]
fn a_moved_file_is_not_dropped_on_the_arbiter() {
    let _system = System::new();
    let (sender, dropped) = mpsc::channel();
    let store = Arc::new(DropStore { dropped: sender, is_cached: true });
    let fixture = Fixture::new(b"\0\x01file\0octet\0", store);
    let first = fixture.arbiter();
    fixture.expect(&data(1, &[7; 512]));
    end(first);
    let second = fixture.arbiter();
    let (ask, answer) = mpsc::channel();
    second.spawn_fn(move || ask.send(thread::current().id()).unwrap());
    fixture.expect(&data(1, &[7; 512]));
    fixture.client.send(b"\0\x05\0\0enough\0").unwrap();
    let thread = dropped.recv_timeout(Duration::from_secs(20)).expect("it is dropped");
    assert_ne!(thread, answer.recv().unwrap());
    end(second);
}
