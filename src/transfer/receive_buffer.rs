//! Received octets that the writer doesn't have yet.

use bytes::{Bytes, BytesMut};

use crate::limits;
use crate::wire::netascii;

/// Collects payloads into slabs of the file; netascii is converted back here.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    slab: BytesMut,
    decoder: Option<netascii::Decoder>,
    /// Octets of the previous slab: the capacity of the next one, so that it needn't grow.
    slab_octets: usize,
    /// The length of the slab, and the decoder, that [`rewind`](Self::rewind) restores.
    committed: (usize, Option<netascii::Decoder>),
}

impl ReceiveBuffer {
    pub(super) fn new(netascii: bool) -> Self {
        let decoder = netascii.then(netascii::Decoder::default);
        Self { slab: BytesMut::new(), slab_octets: 0, committed: (0, decoder.clone()), decoder }
    }

    /// Sets the point that [`rewind`](Self::rewind) returns to.
    pub(super) fn commit(&mut self) {
        self.committed = (self.slab.len(), self.decoder.clone());
    }

    /// Drops what came since the last commit. `false` if older octets are gone too.
    pub(super) fn rewind(&mut self) -> bool {
        let (length, decoder) = self.committed.clone();
        let is_whole = self.slab.len() >= length;
        self.slab.truncate(length);
        self.decoder = decoder;
        is_whole
    }

    pub(super) fn push(&mut self, payload: &[u8]) {
        if self.slab.is_empty() {
            self.slab.reserve(self.slab_octets);
        }
        match &mut self.decoder {
            None => self.slab.extend_from_slice(payload),
            Some(decoder) => decoder.decode(payload, &mut self.slab),
        }
    }

    /// Ends the conversion: octets that it held back are appended.
    pub(super) fn finish(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut self.slab);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slab.len() >= limits::SLAB_OCTETS
    }

    /// Takes all octets, if any.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.slab_octets = self.slab.len();
        (!self.slab.is_empty()).then(|| std::mem::take(&mut self.slab).freeze())
    }

    /// The same before the last block: a few octets beyond a slab stay, so that the next one begins
    /// at a page of the file. Writing then costs a third less, for a second copy of those octets.
    pub(super) fn take_slab(&mut self) -> Option<Bytes> {
        let rest = self.slab.len() % limits::SLAB_OCTETS;
        if !self.is_full() || rest > limits::SLAB_REST_OCTETS_MAX {
            return self.take();
        }
        let whole = self.slab.len() - rest;
        // With room for the block that will fill the slab and reach beyond it.
        let mut next = BytesMut::with_capacity(whole + limits::SLAB_REST_OCTETS_MAX);
        next.extend_from_slice(&self.slab[whole..]);
        self.slab.truncate(whole);
        self.slab_octets = whole;
        Some(std::mem::replace(&mut self.slab, next).freeze())
    }
}

#[cfg(test)]
mod tests;
