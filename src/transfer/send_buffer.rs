//! The octets that a sender may still have to send, as they go on the wire.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Blocks, Rollover};
use crate::wire::netascii;

/// The slabs that hold the blocks in flight and those read ahead. Retransmissions repeat the very same octets, for netascii is converted
/// once, when a slab comes in.
#[derive(Debug)]
pub(super) struct SendBuffer {
    slabs: VecDeque<Bytes>,
    /// Stream offset of the first octet of the first slab.
    start: u64,
    /// Stream offset after the last octet of the last slab.
    end: u64,
    /// Offset in the file (not on the wire) after what was read.
    file_end: u64,
    ended: bool,
    encoder: Option<netascii::Encoder>,
}

impl SendBuffer {
    pub(super) fn new(netascii: bool) -> Self {
        Self {
            slabs: VecDeque::new(),
            start: 0,
            end: 0,
            file_end: 0,
            ended: false,
            encoder: netascii.then(netascii::Encoder::default),
        }
    }

    /// Appends what was read at [`file_end`](Self::file_end).
    pub(super) fn push(&mut self, octets: Bytes, end: bool) {
        self.file_end += octets.len() as u64;
        self.ended = end;
        let encoded = match &mut self.encoder {
            None => octets,
            Some(encoder) => {
                let mut out = BytesMut::with_capacity(octets.len() + octets.len() / 16);
                encoder.encode(&octets, &mut out);
                out.freeze()
            }
        };
        self.end += encoded.len() as u64;
        if !encoded.is_empty() {
            self.slabs.push_back(encoded);
        }
    }

    /// Lets go of what lies before stream offset `until`.
    pub(super) fn release(&mut self, until: u64) {
        while let Some(slab) = self.slabs.front() {
            let slab_end = self.start + slab.len() as u64;
            if slab_end > until {
                break;
            }
            self.start = slab_end;
            self.slabs.pop_front();
        }
    }

    /// Offset in the file from which to read on.
    pub(super) fn file_end(&self) -> u64 {
        self.file_end
    }

    /// Whether the file's last octet is here.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Stream offset after the last octet that is here.
    pub(super) fn end(&self) -> u64 {
        self.end
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
            size(from - self.start),
            size(until - from),
            blksize.into(),
            first,
            last + 1 - first,
            rollover,
        )
    }
}
