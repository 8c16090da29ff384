//! Octets that a sender may still have to send, as on the wire.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::collections::VecDeque;

use super::{Blocks, Rollover};
use crate::wire::netascii;

/// The slabs of the blocks in flight and of those read ahead. Retransmissions repeat the same
/// octets, because netascii is converted once, when a slab is pushed.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct SendBuffer {
    /// The start of the first slab.
    start: Anchor,
    /// Stream offset after the first slab, or 0 without one; cached because each block needs it.
    first_end: u64,
    /// Stream offset after the last octet of the last slab.
    end: u64,
    /// Length of the whole stream, once the end of the file has been read.
    pub(super) stream_end: Option<u64>,
    /// The last octet of the file is in the buffer.
    pub(super) ended: bool,
    uncommitted: bool,
    /// Two are stored inline: a transfer in lock-step needs no more.
    slabs: SmallVec<[Bytes; 2]>,
    /// File offset (not on the wire) to read from.
    pub(super) file_end: u64,
    /// The point that [`rewind`](Self::rewind) returns to.
    committed: (Anchor, Option<u64>),
    netascii: Option<Box<Netascii>>,
}

/// State of transfers with converted line ends.
#[derive(Debug, Default)]
struct Netascii {
    encoder: netascii::Encoder,
    /// Octets of the file in each slab: fewer than on the wire.
    file_octets: VecDeque<usize>,
}

/// An offset in the file and on the wire. The conversion has no state and can begin at any anchor.
#[derive(Debug, Clone, Copy, Default)]
struct Anchor {
    stream: u64,
    file: u64,
}

impl SendBuffer {
    pub(super) fn new(netascii: bool) -> Self {
        Self { netascii: netascii.then(Box::default), ..Self::default() }
    }

    /// Appends the octets that were read at `file_end`.
    pub(super) fn push(&mut self, octets: Bytes, end: bool) {
        self.file_end += octets.len() as u64;
        self.ended = end;
        let encoded = match &mut self.netascii {
            None => octets,
            Some(netascii) => netascii.encode(&octets),
        };
        self.end += encoded.len() as u64;
        if end {
            (self.stream_end, self.uncommitted) = (Some(self.end), true);
        }
        if !encoded.is_empty() {
            self.slabs.push(encoded);
            self.note_first();
        }
    }

    /// Drops slabs before stream offset `until`.
    pub(super) fn release(&mut self, until: u64) {
        while (1..=until).contains(&self.first_end) {
            let slab = self.slabs.remove(0);
            let file_octets = match &mut self.netascii {
                None => slab.len(),
                Some(netascii) => netascii.file_octets.pop_front().unwrap_or(0),
            };
            self.uncommitted = true;
            self.start = Anchor { stream: self.first_end, file: self.start.file + file_octets as u64 };
            self.note_first();
        }
    }

    fn note_first(&mut self) {
        self.first_end = self.slabs.first().map_or(0, |slab| self.start.stream + slab.len() as u64);
    }

    /// Sets the point that [`rewind`](Self::rewind) returns to.
    pub(super) fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.committed = (self.start, self.stream_end);
        }
    }

    /// Drops all octets. They are read again from the first slab of the last commit.
    pub(super) fn rewind(&mut self) {
        self.slabs.clear();
        if let Some(netascii) = &mut self.netascii {
            netascii.file_octets.clear();
        }
        (self.first_end, self.uncommitted) = (0, false);
        (self.start, self.stream_end) = self.committed;
        (self.end, self.file_end, self.ended) = (self.start.stream, self.start.file, false);
    }

    /// Octets in the buffer from stream offset `from` on.
    pub(super) fn octets_from(&self, from: u64) -> u64 {
        self.end.saturating_sub(from)
    }

    /// Position of the last block that could be sent: a full one, or the short last one.
    pub(super) fn last_sendable(&self, blksize: u16) -> u64 {
        self.end / u64::from(blksize) + u64::from(self.ended)
    }

    /// Blocks `first..=last`, all of which are sendable.
    pub(super) fn blocks(&self, first: u64, last: u64, blksize: u16, rollover: Rollover) -> Blocks<'_> {
        let from = (first - 1) * u64::from(blksize);
        let until = (last * u64::from(blksize)).min(self.end);
        let size = |octets: u64| usize::try_from(octets).unwrap_or(usize::MAX);
        Blocks::new(
            &self.slabs,
            size(from - self.start.stream),
            size(until - from),
            blksize.into(),
            first,
            last + 1 - first,
            rollover,
        )
    }
}

impl Netascii {
    fn encode(&mut self, octets: &Bytes) -> Bytes {
        let mut out = BytesMut::with_capacity(octets.len() + octets.len() / 16);
        self.encoder.encode(octets, &mut out);
        if !out.is_empty() {
            self.file_octets.push_back(octets.len());
        }
        out.freeze()
    }
}
