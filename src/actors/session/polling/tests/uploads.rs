//! Uploads in lock-step.

use super::*;
use crate::wire::Packet::{Ack, Data};

const BLOCKS: u16 = 1536;
/// Octets of a block.
const BLKSIZE: usize = 8;

/// A client whose blocks are found at the third look, or else by whoever sleeps a millisecond.
#[derive(Debug)]
struct Sender {
    /// What comes next, once it was asked for.
    block: Option<u16>,
    looks: u32,
    sleep: Option<Pin<Box<Sleep>>>,
    sleeps: Arc<AtomicU32>,
}

impl Link for Sender {
    fn local_addr(&self) -> SocketAddr {
        peer()
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if self.block.is_none() {
            return Poll::Pending;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        std::task::ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        self.looks = LOOKS_BEFORE_ANSWER;
        Poll::Ready(Ok(()))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Arrived> {
        self.looks += 1;
        let block = self.block.take_if(|_| self.looks >= LOOKS_BEFORE_ANSWER);
        let block = block.ok_or(io::ErrorKind::WouldBlock)?;
        let payload = if block == BLOCKS { &[][..] } else { &[7; BLKSIZE] };
        let packet = Data { block, payload }.to_bytes();
        buffer[..packet.len()].copy_from_slice(&packet);
        Ok(Arrived::one(packet.len(), peer()))
    }

    fn send(&mut self, _: SocketAddr, transmit: &Transmit<'_>) -> io::Result<()> {
        let Transmit::Packet(packet) = transmit else { unreachable!("it receives") };
        let acked = match Packet::decode(packet) {
            Ok(Packet::Oack(_)) => 0,
            Ok(Ack { block }) => block,
            other => panic!("{other:?}"),
        };
        if acked < BLOCKS {
            (self.block, self.looks, self.sleep) = (Some(acked + 1), 0, None);
        }
        Ok(())
    }

    fn take_error(&mut self) -> Option<SocketAddr> {
        None
    }
}

/// How often a session that takes a file from this client slept.
fn sleeps(poll: Duration) -> u32 {
    let store = Memory::new(MemoryOptions::default());
    let sleeps = Arc::<AtomicU32>::default();
    let link = Sender { block: None, looks: 0, sleep: None, sleeps: Arc::clone(&sleeps) };
    let lease = transfer(store, poll, b"\0\x02new\0octet\0blksize\x008\0", link);
    let octets = lease.hold().machine.as_ref().map(|machine| machine.tally().octets);
    assert_eq!(octets, Some(u64::from(BLOCKS - 1) * BLKSIZE as u64));
    sleeps.load(Ordering::Relaxed)
}

#[test]
fn an_upload_in_lock_step_is_polled_for_as_well() {
    let all = u32::from(BLOCKS);
    assert_eq!(sleeps(Duration::ZERO), all);
    let polling = sleeps(Duration::from_millis(1));
    assert!(polling < all / 2, "{polling} of {all}");
}
