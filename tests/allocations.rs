//! Allocations for each DATA packet: none in the machines, and in the server no more than a slab of
//! the file takes.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::raw;
use stagecoach::daemon::Server;
use stagecoach::internals::limits::SLAB_OCTETS;
use stagecoach::internals::transfer::{
    Action, Input, Machine, Moment, OnAbort, Opening, Receiver, Sender, Terms, Timeouts, Transmit,
};
use stagecoach::settings::Settings;

/// The system's allocator, which also counts its allocations.
struct Counting;

static EVERYWHERE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HERE: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    EVERYWHERE.fetch_add(1, Ordering::Relaxed);
    HERE.set(HERE.get() + 1);
}

#[expect(unsafe_code, reason = "an allocator can't be without; each call is handed on as it is")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Keeps tests from running at the same time, because they would count each other's allocations.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of allocations of this thread in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = HERE.get();
    work();
    HERE.get() - before
}

const PACKETS: u64 = 20_000;

/// A sender of an endless file, whose peer acknowledges each window at once.
struct Sending {
    sender: Sender,
    slab: Bytes,
    last: u16,
}

impl Sending {
    fn new(terms: Terms) -> Self {
        let sender = Sender::new(terms, Opening::Answered, Timeouts::default());
        let mut sending = Self { sender, slab: vec![7; SLAB_OCTETS].into(), last: 0 };
        sending.feed(Input::Start);
        sending
    }

    fn feed(&mut self, input: Input<'_>) {
        let mut wanted = self.step(input);
        while wanted {
            wanted = self.step(Input::Slab { bytes: self.slab.clone(), end: false });
        }
    }

    fn step(&mut self, input: Input<'_>) -> bool {
        let mut wanted = false;
        let mut drain = self.sender.handle(Moment::default(), input);
        while let Some(action) = drain.next() {
            match action {
                Action::Want { .. } => wanted = true,
                Action::Transmit(Transmit::Blocks(blocks)) => {
                    for block in blocks {
                        let [_, _, high, low] = block.header;
                        self.last = u16::from_be_bytes([high, low]);
                    }
                }
                _ => {}
            }
        }
        wanted
    }

    /// Sends this many packets more.
    fn send(&mut self, packets: u64) {
        let until = self.sender.tally().blocks + packets;
        while self.sender.tally().blocks < until {
            let [high, low] = self.last.to_be_bytes();
            self.feed(Input::Datagram { octets: &[0, 4, high, low], more: false });
        }
    }
}

fn terms(windowsize: u16) -> Terms {
    Terms { blksize: 1428, windowsize, ..Terms::default() }
}

#[test]
fn a_packet_that_is_sent_allocates_nothing() {
    let _alone = alone();
    for windowsize in [1, 16, 64] {
        let mut sending = Sending::new(terms(windowsize));
        // By then the queues have reached their full length.
        sending.send(PACKETS);
        let count = allocations(|| sending.send(PACKETS));
        assert_eq!(count, 0, "allocations in {PACKETS} packets, window {windowsize}");
    }
}

#[test]
fn a_received_packet_allocates_only_its_slab() {
    let _alone = alone();
    for windowsize in [1, 16, 64] {
        let mut receiver =
            Receiver::new(terms(windowsize), Opening::Answered, Timeouts::default(), OnAbort::Discard);
        let mut packet = [&[0, 3, 0, 0][..], &[7; 1428]].concat();
        let (mut slabs, mut block) = (0, 0u16);
        let mut receive = |packets: u64, slabs: &mut u64| {
            for _ in 0..packets {
                block = block.wrapping_add(1);
                packet[2..4].copy_from_slice(&block.to_be_bytes());
                let mut stored = step(&mut receiver, Input::Datagram { octets: &packet, more: false });
                *slabs += stored;
                while stored > 0 {
                    stored -= 1;
                    step(&mut receiver, Input::Stored);
                }
            }
        };
        receive(PACKETS, &mut slabs);
        slabs = 0;
        let count = allocations(|| receive(PACKETS, &mut slabs));
        assert!(slabs > 0 && slabs <= PACKETS / 40, "{slabs} slabs");
        println!("window {windowsize}: {count} allocations for {slabs} slabs");
        assert!(
            count <= slabs * PER_SLAB_RECEIVED,
            "{count} allocations for {slabs} slabs, window {windowsize}"
        );
    }
}

/// A slab grows by doubling while its blocks arrive.
const PER_SLAB_RECEIVED: u64 = 12;

fn step(receiver: &mut Receiver, input: Input<'_>) -> u64 {
    let mut stored = 0;
    let mut drain = receiver.handle(Moment::default(), input);
    while let Some(action) = drain.next() {
        stored += u64::from(matches!(action, Action::Store(_)));
    }
    stored
}

/// Allocations of a server for each slab that it reads: messages between session and reader, and
/// their wake-ups in tokio.
const PER_SLAB_SERVED: u64 = 12;

/// Counts the allocations of all threads of the server. The client of this test allocates nothing
/// between two packets.
#[test]
fn a_sent_packet_allocates_only_its_slab() {
    let _alone = alone();
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("f"), vec![7; 24 << 20]).expect("a file");
    let server = serve(root.path());
    for (blksize, windowsize) in [(512, 1), (1428, 16)] {
        let mut client = Reading::begin(server, blksize, windowsize);
        client.receive(1600);
        let before = EVERYWHERE.load(Ordering::Relaxed);
        let packets = 8000;
        client.receive(packets);
        let count = EVERYWHERE.load(Ordering::Relaxed) - before;
        let slabs = packets * u64::from(blksize) / SLAB_OCTETS as u64 + 1;
        println!("{blksize} {windowsize}: {count} allocations, {packets} packets, {slabs} slabs");
        assert!(count <= slabs * PER_SLAB_SERVED, "{count} allocations, {packets} packets, {slabs} slabs");
    }
}

/// A server in this process, which ends with the process.
fn serve(root: &Path) -> SocketAddr {
    let (tell, address) = std::sync::mpsc::channel();
    let mut settings = Settings::default();
    settings.listen.hosts.push((Ipv4Addr::LOCALHOST, 0).into());
    (settings.root, settings.read_only) = (root.to_owned(), true);
    std::thread::spawn(move || {
        actix::System::new().block_on(async {
            let log = slog::Logger::root(slog::Discard, slog::o!());
            let mut server = Server::start(&settings, &log).expect("a server");
            tell.send(server.addresses()[0]).expect("the test waits");
            server.serve(|| Ok(())).await
        })
    });
    address.recv().expect("the server starts")
}

/// A client in the middle of a read.
struct Reading {
    socket: UdpSocket,
    next: u16,
    windowsize: u16,
    buffer: [u8; 2048],
}

impl Reading {
    fn begin(server: SocketAddr, blksize: u16, windowsize: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (blksize, window) = (blksize.to_string(), windowsize.to_string());
        let options = [("blksize", &*blksize), ("windowsize", &*window), ("timeout", "255")];
        socket.send_to(&raw::rrq("f", "octet", &options), server).expect("sent");
        let mut buffer = [0; 2048];
        let (_, transfer) = socket.recv_from(&mut buffer).expect("an OACK");
        assert_eq!(buffer[1], 6, "an OACK");
        socket.connect(transfer).expect("connected");
        socket.send(&[0, 4, 0, 0]).expect("sent");
        Self { socket, next: 1, windowsize, buffer }
    }

    /// Receives this many packets, a multiple of the window size, and acknowledges each window.
    fn receive(&mut self, packets: u64) {
        for taken in 1..=packets {
            self.socket.recv(&mut self.buffer).expect("a packet");
            let [high, low] = self.next.to_be_bytes();
            assert_eq!(self.buffer[..4], [0, 3, high, low], "loopback keeps the order");
            if taken.is_multiple_of(self.windowsize.into()) {
                self.socket.send(&[0, 4, high, low]).expect("sent");
            }
            self.next = self.next.wrapping_add(1);
        }
    }
}
