//! The octets that have come and are not yet with the writer.

use bytes::{Bytes, BytesMut};

use crate::limits;
use crate::wire::netascii;

/// Gathers payloads into slabs, as the file will have them: netascii is converted back here.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    slab: BytesMut,
    decoder: Option<netascii::Decoder>,
    /// Octets of the slab before: the next one gets room for as many at once, instead of growing with each block.
    slab_octets: usize,
    /// Length of the slab, and the decoder, that [`rewind`](Self::rewind) goes back to.
    committed: (usize, Option<netascii::Decoder>),
}

impl ReceiveBuffer {
    pub(super) fn new(netascii: bool) -> Self {
        let decoder = netascii.then(netascii::Decoder::default);
        Self { slab: BytesMut::new(), slab_octets: 0, committed: (0, decoder.clone()), decoder }
    }

    /// What is here now stays.
    pub(super) fn commit(&mut self) {
        self.committed = (self.slab.len(), self.decoder.clone());
    }

    /// Forgets what came since the last commit. `false` if something that came before is gone.
    pub(super) fn rewind(&mut self) -> bool {
        let (length, decoder) = self.committed.clone();
        let is_whole = self.slab.len() >= length;
        self.slab.truncate(length);
        self.decoder = decoder;
        is_whole
    }

    /// Appends a block's payload.
    pub(super) fn push(&mut self, payload: &[u8]) {
        if self.slab.is_empty() {
            self.slab.reserve(self.slab_octets);
        }
        match &mut self.decoder {
            None => self.slab.extend_from_slice(payload),
            Some(decoder) => decoder.decode(payload, &mut self.slab),
        }
    }

    /// No more will come: what the conversion held back is appended.
    pub(super) fn finish(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut self.slab);
        }
    }

    /// Whether nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Whether what is here makes a slab.
    pub(super) fn is_full(&self) -> bool {
        self.slab.len() >= limits::SLAB_OCTETS
    }

    /// Takes what is here, if anything.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.slab_octets = self.slab.len();
        (!self.slab.is_empty()).then(|| std::mem::take(&mut self.slab).freeze())
    }

    /// The same while more is to come: a few octets beyond a slab stay, so that the next one begins where a page of the file does. It costs a third less to
    /// write it then, and those few are copied once more.
    pub(super) fn take_slab(&mut self) -> Option<Bytes> {
        let rest = self.slab.len() % limits::SLAB_OCTETS;
        if !self.is_full() || rest > limits::SLAB_REST_OCTETS_MAX {
            return self.take();
        }
        let whole = self.slab.len() - rest;
        // (With room for the block that will fill it, and reach beyond it as well.)
        let mut next = BytesMut::with_capacity(whole + limits::SLAB_REST_OCTETS_MAX);
        next.extend_from_slice(&self.slab[whole..]);
        self.slab.truncate(whole);
        self.slab_octets = whole;
        Some(std::mem::replace(&mut self.slab, next).freeze())
    }
}

#[cfg(test)]
mod tests;
