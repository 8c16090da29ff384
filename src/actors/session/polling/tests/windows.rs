//! Uploads, in windows and in lock-step.

use super::*;
use crate::wire::Packet::{Ack, Data};

const WINDOW: u16 = 4;
const WINDOWS: u16 = 384;
const BLOCKS: u16 = WINDOW * WINDOWS;
/// Octets of a block.
const BLKSIZE: usize = 8;

/// A client that sends windows of so many blocks, a datagram at a time: each is found at the third look, or else by whoever sleeps a millisecond.
#[derive(Debug)]
struct Sender {
    window: u16,
    /// What comes next: the last was sent when its number is beyond `last`.
    block: u16,
    last: u16,
    looks: u32,
    sleep: Option<Pin<Box<Sleep>>>,
    sleeps: Arc<AtomicU32>,
    /// A window comes at once.
    whole: bool,
}

impl Sender {
    fn is_waiting(&self) -> bool {
        self.block > self.last
    }

    fn data(&self, block: u16) -> Vec<u8> {
        let payload = if block == BLOCKS { &[][..] } else { &[7; BLKSIZE] };
        Data { block, payload }.to_bytes()
    }
}

impl Link for Sender {
    fn local_addr(&self) -> SocketAddr {
        peer()
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if self.is_waiting() {
            return Poll::Pending;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        std::task::ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        self.looks = LOOKS_BEFORE_ANSWER;
        Poll::Ready(Ok(()))
    }

    fn expects_runs(&self) -> bool {
        self.whole
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        self.looks += 1;
        if self.is_waiting() || self.looks < LOOKS_BEFORE_ANSWER {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // (Half of the window, where it comes as runs.)
        let count = if self.whole { self.window / 2 } else { 1 };
        let run: Vec<u8> = (self.block..self.block + count).flat_map(|block| self.data(block)).collect();
        let segment = self.data(self.block).len();
        (self.block, self.looks) = (self.block + count, 0);
        buffer[..run.len()].copy_from_slice(&run);
        Ok(Arrived { octets: run.len(), segment, from: peer() })
    }

    fn send(&mut self, _: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        let Transmit::Packet(packet) = transmit else { unreachable!("it receives") };
        let acked = match Packet::decode(packet) {
            Ok(Packet::Oack(_)) => 0,
            Ok(Ack { block }) => block,
            other => panic!("{other:?}"),
        };
        if acked < BLOCKS {
            (self.block, self.last, self.looks, self.sleep) = (acked + 1, acked + self.window, 0, None);
        }
        Ok(())
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        None
    }
}

/// How often a session that takes a file from this client slept.
fn sleeps(poll: Duration, window: u16, whole: bool) -> u32 {
    let store = Memory::new(MemoryOptions::default());
    let sleeps = Arc::<AtomicU32>::default();
    let link =
        Sender { window, block: 1, last: 0, looks: 0, sleep: None, sleeps: Arc::clone(&sleeps), whole };
    let request = format!("\0\x02new\0octet\0blksize\x008\0windowsize\0{window}\0");
    let lease = transfer(store, poll, request.as_bytes(), link);
    assert_eq!(
        lease.hold().machine.as_ref().map(|machine| machine.tally().octets),
        Some(u64::from(BLOCKS - 1) * BLKSIZE as u64)
    );
    sleeps.load(Ordering::Relaxed)
}

#[test]
fn a_window_whose_datagrams_come_one_by_one_is_polled_for_to_its_end_if_that_is_quicker() {
    let (all, windows) = (u32::from(BLOCKS), u32::from(WINDOWS));
    assert_eq!(sleeps(Duration::ZERO, WINDOW, false), all);
    let polling = sleeps(Duration::from_millis(1), WINDOW, false);
    // (Of two windows one is slept for at least: others have their turn.)
    assert!((windows / 2..all * 2 / 3).contains(&polling), "{polling} of {all}, in {windows} windows");
}

#[test]
fn a_window_that_comes_as_runs_is_not() {
    assert_eq!(sleeps(Duration::from_millis(1), WINDOW, true), u32::from(WINDOWS) * 2);
}

#[test]
fn an_upload_in_lock_step_is_polled_for_as_well() {
    let all = u32::from(BLOCKS);
    assert_eq!(sleeps(Duration::ZERO, 1, false), all);
    let polling = sleeps(Duration::from_millis(1), 1, false);
    assert!(polling < all / 2, "{polling} of {all}");
}
