//! Sending: packets, and runs of blocks in as few system calls as the kernel allows.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::iter::once;
use std::net::{SocketAddr, UdpSocket};

use nix::errno::Errno;
use smallvec::SmallVec;

use super::sys;
use crate::limits::{
    COPIED_OCTETS_MAX, SEGMENTS_PER_CALL_MAX, SLICES_PER_CALL_MAX, SLICES_PER_PACKET_MAX,
    UDP_PAYLOAD_OCTETS_MAX,
};
use crate::transfer::{Blocks, DATA_HEADER_OCTETS, DataBlock, Transmit};

#[derive(Debug, Clone, Copy)]
pub(super) struct Outlet<'a> {
    pub(super) socket: &'a UdpSocket,
    /// The source address of datagrams, if the socket has several.
    pub(super) source: Option<SocketAddr>,
    pub(super) to: &'a SocketAddr,
}

type Segments<'a> = SmallVec<[DataBlock<'a>; SEGMENTS_PER_CALL_MAX]>;

impl Outlet<'_> {
    /// Sends a packet or a run of blocks. The kernel may cut a run into datagrams (`segments`)
    /// until it refuses: a segment doesn't fit the path's MTU, or the device can't do it.
    pub(super) fn send(self, transmit: &Transmit<'_>, segments: &mut bool) -> io::Result<()> {
        match transmit {
            Transmit::Packet(packet) => self.send_packet(packet),
            Transmit::Blocks(blocks) => self.send_blocks(*blocks, segments),
        }
    }

    pub(super) fn send_packet(self, packet: &[u8]) -> io::Result<()> {
        match self.source {
            None => lost_is_fine(twice(|| sys::send(self.socket, self.to, packet))),
            Some(_) => lost_is_fine(self.send_slices(&[IoSlice::new(packet)], None)),
        }
    }

    fn send_blocks(self, mut blocks: Blocks<'_>, segments: &mut bool) -> io::Result<()> {
        let segment = DATA_HEADER_OCTETS + blocks.blksize();
        let at_once = SEGMENTS_PER_CALL_MAX.min(UDP_PAYLOAD_OCTETS_MAX / segment);
        while *segments && at_once > 1 && blocks.remaining() > 1 {
            let mut after = blocks;
            let run = take_segments(&mut after, at_once);
            if run.len() < 2 {
                break;
            }
            match self.send_segments(&run, segment) {
                Err(
                    Errno::EINVAL | Errno::EMSGSIZE | Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT,
                ) => *segments = false,
                sent => {
                    lost_is_fine(sent)?;
                    blocks = after;
                }
            }
        }
        blocks.try_for_each(|block| self.send_block(&block))
    }

    fn send_segments(self, run: &Segments<'_>, segment: usize) -> nix::Result<()> {
        let segment = u16::try_from(segment).map_err(|_| Errno::EMSGSIZE)?;
        let mut slices = SmallVec::<[IoSlice<'_>; SLICES_PER_CALL_MAX]>::new();
        for block in run {
            slices.push(IoSlice::new(&block.header));
            slices.extend(block.payload().map(IoSlice::new));
        }
        self.send_slices(&slices, Some(segment))
    }

    fn send_block(self, block: &DataBlock<'_>) -> io::Result<()> {
        let octets = block.packet_octets();
        if octets <= COPIED_OCTETS_MAX {
            return PACKET.with_borrow_mut(|room| self.send_packet(block.copy_to(room)));
        }
        if block.payload().count() >= SLICES_PER_PACKET_MAX {
            return self.send_packet(block.copy_to(&mut vec![0; octets]));
        }
        let slices: SmallVec<[IoSlice<'_>; SLICES_PER_PACKET_MAX]> =
            once(&block.header[..]).chain(block.payload()).map(IoSlice::new).collect();
        lost_is_fine(self.send_slices(&slices, None))
    }

    fn send_slices(self, slices: &[IoSlice<'_>], segment: Option<u16>) -> nix::Result<()> {
        twice(|| sys::send_slices(self.socket, self.source, self.to, slices, segment))
    }
}

thread_local! {
    /// Buffer for a packet that is copied and sent at once.
    static PACKET: RefCell<[u8; COPIED_OCTETS_MAX]> = const { RefCell::new([0; COPIED_OCTETS_MAX]) };
}

/// Takes the blocks at the beginning of a run that one system call can send.
fn take_segments<'a>(blocks: &mut Blocks<'a>, at_most: usize) -> Segments<'a> {
    let (mut taken, mut slices, mut after) = (Segments::new(), 0, *blocks);
    while taken.len() < at_most
        && let Some(block) = after.next()
    {
        slices += 1 + block.payload().count();
        if slices > SLICES_PER_CALL_MAX {
            break;
        }
        *blocks = after;
        taken.push(block);
        // The kernel cuts by length only, so a short segment must be the last.
        if block.payload_octets() < blocks.blksize() {
            break;
        }
    }
    taken
}

/// Tries a failed send once more: the error may be that of an earlier datagram to a stranger who
/// left. The kernel reports an ICMP in the next call, whichever it is, and then clears it.
fn twice(mut send: impl FnMut() -> nix::Result<()>) -> nix::Result<()> {
    match send() {
        Err(errno) if !is_lost(errno) || errno == Errno::ECONNREFUSED => send(),
        first => first,
    }
}

/// No room in the socket's buffer or the device's queue, or another earlier datagram's error.
fn is_lost(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::ECONNREFUSED)
}

/// A datagram lost here is like one lost on the network: it is retransmitted.
pub(super) fn lost_is_fine(sent: nix::Result<()>) -> io::Result<()> {
    match sent {
        Err(errno) if !is_lost(errno) => Err(errno.into()),
        _ => Ok(()),
    }
}
