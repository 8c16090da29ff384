//! Sending: packets, and runs of blocks in as few system calls as the kernel allows.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use nix::errno::Errno;

use super::sys;
use crate::limits::{
    COPIED_OCTETS_MAX, SEGMENTS_PER_CALL_MAX, SLICES_PER_CALL_MAX, SLICES_PER_PACKET_MAX,
    UDP_PAYLOAD_OCTETS_MAX,
};
use crate::transfer::{Blocks, DATA_HEADER_OCTETS, DataBlock};

#[derive(Debug, Clone, Copy)]
pub(super) struct Outlet<'a> {
    pub(super) socket: &'a UdpSocket,
    /// The source address of datagrams, if the socket has several.
    pub(super) source: Option<SocketAddr>,
    pub(super) to: &'a SocketAddr,
}

impl Outlet<'_> {
    pub(super) fn send_packet(self, packet: &[u8]) -> io::Result<()> {
        lost_is_fine(twice(|| match self.source {
            None => sys::send(self.socket, self.to, packet),
            Some(source) => sys::send_from(self.socket, source, self.to, &[IoSlice::new(packet)], None),
        }))
    }

    /// Sends a run of blocks. `segments` is whether the kernel may cut it into datagrams; it is
    /// cleared if the kernel refuses.
    pub(super) fn send_blocks(self, mut blocks: Blocks<'_>, segments: &mut bool) -> io::Result<()> {
        let segment = DATA_HEADER_OCTETS + blocks.blksize();
        let at_once = SEGMENTS_PER_CALL_MAX.min(UDP_PAYLOAD_OCTETS_MAX / segment);
        while *segments && at_once > 1 && blocks.remaining() > 1 {
            let run = Run::take(blocks, at_once);
            if run.count < 2 {
                break;
            }
            match run.send(self, segment) {
                Err(
                    Errno::EINVAL | Errno::EMSGSIZE | Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT,
                ) => {
                    *segments = false;
                }
                sent => {
                    lost_is_fine(sent)?;
                    blocks = run.after;
                }
            }
        }
        blocks.try_for_each(|block| self.send_block(&block))
    }

    fn send_block(self, block: &DataBlock<'_>) -> io::Result<()> {
        let octets = block.packet_octets();
        if octets <= COPIED_OCTETS_MAX {
            return PACKET.with_borrow_mut(|room| self.send_packet(block.copy_to(room)));
        }
        let mut slices = [IoSlice::new(&[]); SLICES_PER_PACKET_MAX];
        let mut pieces = block.payload();
        slices[0] = IoSlice::new(&block.header);
        let mut filled = 1;
        for (slice, piece) in slices[1..].iter_mut().zip(&mut pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        if pieces.next().is_none() {
            return lost_is_fine(twice(|| match self.source {
                None => sys::send_slices(self.socket, self.to, &slices[..filled]),
                Some(source) => sys::send_from(self.socket, source, self.to, &slices[..filled], None),
            }));
        }
        self.send_packet(block.copy_to(&mut vec![0; octets]))
    }

    fn send_segments(self, slices: &[IoSlice<'_>], segment: u16) -> nix::Result<()> {
        twice(|| match self.source {
            None => sys::send_segments(self.socket, self.to, slices, segment),
            Some(source) => sys::send_from(self.socket, source, self.to, slices, Some(segment)),
        })
    }
}

thread_local! {
    /// Buffer for a packet that is copied and sent at once.
    static PACKET: RefCell<[u8; COPIED_OCTETS_MAX]> = const { RefCell::new([0; COPIED_OCTETS_MAX]) };
}

/// The beginning of a run of blocks that one system call can send.
struct Run<'a> {
    headers: [[u8; DATA_HEADER_OCTETS]; SEGMENTS_PER_CALL_MAX],
    count: usize,
    blocks: Blocks<'a>,
    after: Blocks<'a>,
}

impl<'a> Run<'a> {
    fn take(blocks: Blocks<'a>, at_most: usize) -> Self {
        let headers = [[0; DATA_HEADER_OCTETS]; SEGMENTS_PER_CALL_MAX];
        let mut run = Self { headers, count: 0, blocks, after: blocks };
        let mut slices = 0;
        while run.count < at_most {
            let mut after = run.after;
            let Some(block) = after.next() else { break };
            slices += 1 + block.payload().count();
            if slices > SLICES_PER_CALL_MAX {
                break;
            }
            run.headers[run.count] = block.header;
            run.count += 1;
            run.after = after;
            // The kernel cuts by length only, so a short segment must be the last.
            if block.payload_octets() < blocks.blksize() {
                break;
            }
        }
        run
    }

    fn send(&self, outlet: Outlet<'_>, segment: usize) -> nix::Result<()> {
        let segment = u16::try_from(segment).map_err(|_| Errno::EMSGSIZE)?;
        let mut slices = [IoSlice::new(&[]); SLICES_PER_CALL_MAX];
        let mut filled = 0;
        for (header, block) in self.headers[..self.count].iter().zip(self.blocks) {
            for piece in std::iter::once(&header[..]).chain(block.payload()) {
                slices[filled] = IoSlice::new(piece);
                filled += 1;
            }
        }
        outlet.send_segments(&slices[..filled], segment)
    }
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
