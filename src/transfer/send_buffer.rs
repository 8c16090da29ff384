//! The octets that a sender may still have to send, as they go on the wire.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::collections::VecDeque;

use super::{Blocks, Rollover};
use crate::wire::netascii;

/// Where slabs lie: two of them, which is what a transfer in lock-step has, in the buffer itself.
pub(super) type Slabs = SmallVec<[Bytes; 2]>;

/// The slabs that hold the blocks in flight and those read ahead. Retransmissions repeat the very same octets, for netascii is converted
/// once, when a slab comes in.
#[derive(Debug)]
#[repr(C)]
pub(super) struct SendBuffer {
    /// Where the first slab starts.
    start: Anchor,
    /// Stream offset after the first slab, zero if there is none: so that it need not be looked at for each block.
    first_end: u64,
    /// Stream offset after the last octet of the last slab.
    end: u64,
    /// Length of the whole stream, once it is known.
    stream_end: Option<u64>,
    /// What was read reaches the end of the file.
    ended: bool,
    /// There is something to commit.
    uncommitted: bool,
    slabs: Slabs,
    /// Offset in the file (not on the wire) after what was read.
    file_end: u64,
    /// Where [`rewind`](Self::rewind) goes back to.
    committed: (Anchor, Option<u64>),
    netascii: Option<Box<Netascii>>,
}

/// What only a transfer with converted line ends needs.
#[derive(Debug, Default)]
struct Netascii {
    encoder: netascii::Encoder,
    /// Octets of the file in each slab: fewer than on the wire.
    file_octets: VecDeque<usize>,
}

/// A place in the file, and where it is on the wire. The conversion has no state, so that it can begin at any of them.
#[derive(Debug, Clone, Copy, Default)]
struct Anchor {
    stream: u64,
    file: u64,
}

impl SendBuffer {
    pub(super) fn new(netascii: bool) -> Self {
        Self {
            start: Anchor::default(),
            first_end: 0,
            end: 0,
            stream_end: None,
            ended: false,
            uncommitted: false,
            slabs: Slabs::new(),
            file_end: 0,
            committed: (Anchor::default(), None),
            netascii: netascii.then(Box::default),
        }
    }

    /// Appends what was read at [`file_end`](Self::file_end).
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

    /// Lets go of what lies before stream offset `until`.
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

    /// What is here now can be had again.
    pub(super) fn commit(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            self.committed = (self.start, self.stream_end);
        }
    }

    /// Forgets all octets, so that they are read again from where the first slab started at the last commit.
    pub(super) fn rewind(&mut self) {
        self.slabs.clear();
        if let Some(netascii) = &mut self.netascii {
            netascii.file_octets.clear();
        }
        (self.first_end, self.uncommitted) = (0, false);
        (self.start, self.stream_end) = self.committed;
        (self.end, self.file_end, self.ended) = (self.start.stream, self.start.file, false);
    }

    /// Offset in the file from which to read on.
    pub(super) fn file_end(&self) -> u64 {
        self.file_end
    }

    /// Whether the file's last octet is here.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Length of the whole stream, once the file's end has been read.
    pub(super) fn stream_end(&self) -> Option<u64> {
        self.stream_end
    }

    /// Octets that are here from stream offset `from` on.
    pub(super) fn octets_from(&self, from: u64) -> u64 {
        self.end.saturating_sub(from)
    }

    /// Position of the last block that could be sent: full, or the short one that ends the transfer.
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
