//! A poll loop, its sessions, and their clients.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context};
use slotmap::DefaultKey;
use tokio::time::Instant;

use crate::actors::session::Session;
use crate::engine::admission::{Claim, PeerTable, Permit};
use crate::engine::config::Config;
use crate::engine::driver::Driver;
use crate::engine::files::SourceHandle;
use crate::engine::messages::SessionMessage;
use crate::engine::poll_loop::PollLoop;
use crate::engine::poll_loop::tests::{BLOCKS, Entry, MILLISECOND};
use crate::engine::service::Service;
use crate::engine::test_support::{Parent, pass, service, turn_until};
use crate::engine::transfers::{Assignment, SharedTransfer};
use crate::limits;
use crate::net::{Link, Received, UdpLink};
use crate::store::{Memory, MemoryOptions, Name, Store};
use crate::supervision::{Exit, start_temporary};
use crate::transfer::Timeouts;
use crate::wire::{Direction, Packet};

/// The poll loop of an arbiter, and what its sessions share.
pub(crate) struct Fixture {
    pub(crate) poll_loop: Rc<PollLoop>,
    pub(crate) store: Memory,
    pub(crate) service: Arc<Service>,
    peers: Arc<PeerTable>,
    exit_sender: Sender<Exit>,
    exits: Receiver<Exit>,
}

/// A transfer whose client is the test.
pub(crate) struct Transfer {
    pub(crate) client: UdpSocket,
    pub(crate) shared: Arc<SharedTransfer>,
    pub(crate) _permit: Permit,
}

impl Fixture {
    /// The first packet is repeated after `ack`.
    pub(crate) fn new(ack: Duration) -> Self {
        let store = Memory::new(MemoryOptions::default());
        let content: Vec<u8> = (1..BLOCKS).flat_map(|block| [block; 512]).collect();
        store.insert(Name::from_request(b"file").unwrap(), content);
        let service = Arc::into_inner(service(Arc::new(store.clone())).0).unwrap();
        let config = service.config();
        let timeouts = Timeouts { ack, ..config.timeouts };
        service.set_config(Config { timeouts, ..(*config).clone() });
        let service = Arc::new(service);
        let (exit_sender, exits) = mpsc::channel();
        Self {
            poll_loop: PollLoop::start(&service),
            store,
            service,
            peers: PeerTable::new(100),
            exit_sender,
            exits,
        }
    }

    /// The transfer of a client's request, without a session.
    pub(crate) fn request(&self, request: &[u8]) -> Transfer {
        self.request_at(UdpLink::open((Ipv4Addr::LOCALHOST, 0).into(), None).unwrap(), request)
    }

    /// A transfer whose file is open already, so no other thread takes part in the test.
    pub(crate) fn request_at(&self, socket: Arc<UdpSocket>, request: &[u8]) -> Transfer {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let Ok(Packet::Request(request)) = Packet::decode(request) else { panic!("{request:?}") };
        let (request, peer) = (request.into_owned(), client.local_addr().unwrap());
        let name = Name::from_request(request.filename().as_bytes()).unwrap();
        let local = socket.local_addr().unwrap();
        let Claim::New(permit) = self.peers.claim(
            &Received { octets: 0, from: peer, to: local, to_broadcast: false },
            &request,
            || unreachable!("it is no repeat"),
            || self.service.next_transfer(),
        ) else {
            panic!("no place")
        };
        client.connect(local).unwrap();
        client.set_nonblocking(true).unwrap();
        let source = (request.direction == Direction::Read)
            .then(|| SourceHandle::new(self.store.open(&name).unwrap()));
        let config = self.service.config();
        let assignment = Assignment {
            id: permit.id,
            peer,
            request,
            received_at: Instant::now(),
            to_broadcast: false,
            config,
        };
        let routed = self.service.route(&assignment.config, &assignment.asked(local), 0).unwrap();
        let shared =
            Arc::new(SharedTransfer::new(assignment, routed, socket, local, Arc::clone(&permit.state)));
        if let Some(source) = source {
            shared.lock().set_opened(source);
        }
        Transfer { client, shared, _permit: permit }
    }

    /// Starts the next session of a transfer.
    pub(crate) fn start(&self, transfer: &Transfer) {
        let link = UdpLink::new(Arc::clone(&transfer.shared.socket), transfer.shared.local);
        self.start_with(transfer, Box::new(link));
    }

    pub(crate) fn start_with(&self, transfer: &Transfer, link: Box<dyn Link>) {
        let (shared, service) = (Arc::clone(&transfer.shared), Arc::clone(&self.service));
        let (life, poll_loop) = (shared.next_life(), Rc::clone(&self.poll_loop));
        let parent = Parent(self.exit_sender.clone()).start().recipient();
        let make =
            move |ctx: &mut Context<_>| Session::new(shared, life, service, link, poll_loop, ctx.address());
        start_temporary(1, limits::MAILBOX_SESSION, parent, make);
    }

    pub(crate) fn started(&self, request: &[u8]) -> Transfer {
        let transfer = self.request(request);
        self.start(&transfer);
        transfer
    }

    pub(crate) fn entries(&self) -> usize {
        self.poll_loop.entries.borrow().len()
    }

    pub(crate) fn only(&self) -> (DefaultKey, Rc<RefCell<Driver>>) {
        let entries = self.poll_loop.entries.borrow();
        let (key, Entry { driver, .. }) = entries.iter().next().expect("a session");
        (key, Rc::clone(driver))
    }

    pub(crate) fn attend_only(&self) {
        self.only().1.borrow().session.messages.do_send(SessionMessage::Attend);
    }

    pub(crate) fn waits_for(&self, socket: &UdpSocket) -> bool {
        waits_for(&self.poll_loop, socket)
    }

    pub(crate) async fn expect_exit(&self, matches: impl Fn(&Exit) -> bool) {
        turn_until(|| self.exits.try_iter().any(|exit| matches(&exit))).await;
    }
}

/// Whether the poll loop waits for this socket: it can be added only once.
pub(crate) fn waits_for(poll_loop: &PollLoop, socket: &UdpSocket) -> bool {
    let set = poll_loop.set.as_ref().unwrap();
    match set.add(socket, 0) {
        Ok(()) => {
            set.remove(socket).unwrap();
            false
        }
        Err(error) => error.kind() == io::ErrorKind::AlreadyExists,
    }
}

impl Transfer {
    pub(crate) fn send(&self, packet: &[u8]) {
        self.client.send(packet).unwrap();
    }

    pub(crate) fn arrived(&self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 600];
        let mut packets = Vec::new();
        while let Ok(octets) = self.client.recv(&mut buffer) {
            packets.push(buffer[..octets].to_vec());
        }
        packets
    }

    /// Expects that this packet arrives, and nothing else. Time stands still.
    #[track_caller]
    pub(crate) fn expect(&self, packet: &[u8]) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            pass(Duration::ZERO).await;
            turn_until(|| self.client.peek(&mut [0; 600]).is_ok()).await;
            assert!(self.arrived() == [packet], "{:?} at {place}", &packet[..4]);
        }
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&self) {
        let headers: Vec<_> = self.arrived().iter().map(|packet| packet[..4].to_vec()).collect();
        assert!(headers.is_empty(), "{headers:?}");
    }

    /// Expects that the packet is repeated after exactly this interval.
    #[track_caller]
    pub(crate) fn expect_repeat(&self, packet: &[u8], interval: Duration) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            pass(interval - MILLISECOND).await;
            assert!(self.arrived().is_empty(), "too early, at {place}");
            pass(MILLISECOND).await;
            assert!(self.arrived() == [packet], "not repeated, at {place}");
        }
    }
}
