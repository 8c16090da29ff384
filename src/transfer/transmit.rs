//! Packets to send: a single one, or a run of consecutive DATA blocks that borrow from slabs.

use bytes::Bytes;

use super::Rollover;

/// Octets of a DATA packet before its payload: opcode and block number (RFC 1350 §5).
pub const DATA_HEADER_OCTETS: usize = 4;

/// Something to send to the peer.
#[derive(Debug, Clone, Copy)]
pub enum Transmit<'a> {
    /// One whole packet.
    Packet(&'a [u8]),
    /// Consecutive DATA packets, all full but perhaps the last.
    Blocks(Blocks<'a>),
}

/// A run of consecutive DATA packets. Nothing is copied: each packet is a header and the pieces of
/// slabs that make up its payload. Iterating yields the packets in order.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a> {
    slabs: &'a [Bytes],
    slab: usize,
    offset: usize,
    octets: usize,
    left: u64,
    blksize: usize,
    next: u64,
    rollover: Rollover,
}

impl<'a> Blocks<'a> {
    /// The run of `count` blocks from block `first` on, whose `octets` start at `offset` in
    /// `slabs`. The octets must be in the slabs and fill all blocks but perhaps the last: a short
    /// block ends the transfer (RFC 1350 §6).
    #[must_use]
    pub fn new(
        slabs: &'a [Bytes],
        offset: usize,
        octets: usize,
        blksize: usize,
        first: u64,
        count: u64,
        rollover: Rollover,
    ) -> Self {
        debug_assert!(octets == 0 || offset + octets <= slabs.iter().map(Bytes::len).sum());
        debug_assert!(octets as u64 <= count * blksize as u64);
        let (mut slab, mut offset) = (0, offset);
        while let Some(passed) = slabs.get(slab).map(Bytes::len).filter(|&length| length <= offset) {
            (slab, offset) = (slab + 1, offset - passed);
        }
        Self { slabs, slab, offset, octets, left: count, blksize, next: first, rollover }
    }

    /// Payload octets of every block but perhaps the last.
    #[must_use]
    pub fn blksize(&self) -> usize {
        self.blksize
    }

    /// Blocks left in the run. (`count` is the iterator's method, which consumes the run.)
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left
    }

    /// The ACK of all remaining blocks (RFC 1350 §5).
    #[must_use]
    pub fn ack(&self) -> [u8; 4] {
        let [high, low] = self.rollover.wire_number((self.next + self.left).saturating_sub(1)).to_be_bytes();
        [0, 4, high, low]
    }

    /// Position of the next block in the file, from 1; positions don't wrap.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.next
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = DataBlock<'a>;

    fn next(&mut self) -> Option<DataBlock<'a>> {
        self.left = self.left.checked_sub(1)?;
        let octets = self.octets.min(self.blksize);
        let [high, low] = self.rollover.wire_number(self.next).to_be_bytes();
        let payload = Pieces { slabs: self.slabs, slab: self.slab, offset: self.offset, octets };
        let mut after = payload;
        after.by_ref().for_each(drop);
        (self.slab, self.offset) = (after.slab, after.offset);
        self.octets -= octets;
        self.next += 1;
        Some(DataBlock { header: [0, 3, high, low], payload })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}

/// One DATA packet of a run.
#[derive(Debug, Clone, Copy)]
pub struct DataBlock<'a> {
    /// Opcode 3 and the block number.
    pub header: [u8; DATA_HEADER_OCTETS],
    payload: Pieces<'a>,
}

impl<'a> DataBlock<'a> {
    /// Octets of the payload.
    #[must_use]
    pub fn payload_octets(&self) -> usize {
        self.payload.octets
    }

    /// Octets of the whole packet.
    #[must_use]
    pub fn packet_octets(&self) -> usize {
        DATA_HEADER_OCTETS + self.payload.octets
    }

    /// The slices of the payload: usually one, two if it straddles slabs, none for an empty block.
    #[must_use]
    pub fn payload(&self) -> Pieces<'a> {
        self.payload
    }

    /// Copies the whole packet to the front of `room` and returns that part.
    ///
    /// # Panics
    /// If `room` is shorter than [`packet_octets`](Self::packet_octets).
    pub fn copy_to<'r>(&self, room: &'r mut [u8]) -> &'r mut [u8] {
        let packet = &mut room[..self.packet_octets()];
        let (header, mut rest) = packet.split_at_mut(DATA_HEADER_OCTETS);
        header.copy_from_slice(&self.header);
        for piece in self.payload {
            let (place, after) = rest.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            rest = after;
        }
        packet
    }
}

/// The slices of a payload, in order.
#[derive(Debug, Clone, Copy)]
pub struct Pieces<'a> {
    slabs: &'a [Bytes],
    slab: usize,
    offset: usize,
    octets: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.octets > 0 {
            let rest = self.slabs.get(self.slab)?.get(self.offset..)?;
            let piece = &rest[..rest.len().min(self.octets)];
            self.octets -= piece.len();
            self.offset += piece.len();
            if piece.len() == rest.len() {
                (self.slab, self.offset) = (self.slab + 1, 0);
            }
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
