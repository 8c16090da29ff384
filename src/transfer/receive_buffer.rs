//! The octets that have come and are not yet with the writer.

use bytes::{Bytes, BytesMut};

use crate::limits;
use crate::wire::netascii;

/// Gathers payloads into slabs, as the file will have them: netascii is converted back here.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    slab: BytesMut,
    decoder: Option<netascii::Decoder>,
}

impl ReceiveBuffer {
    pub(super) fn new(netascii: bool) -> Self {
        Self { slab: BytesMut::new(), decoder: netascii.then(netascii::Decoder::default) }
    }

    /// Appends a block's payload.
    pub(super) fn push(&mut self, payload: &[u8]) {
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

    /// Takes what is here once it makes a slab.
    pub(super) fn take_full(&mut self) -> Option<Bytes> {
        if self.slab.len() < limits::SLAB_OCTETS { None } else { self.take_rest() }
    }

    /// Takes what is here, if anything.
    pub(super) fn take_rest(&mut self) -> Option<Bytes> {
        (!self.slab.is_empty()).then(|| std::mem::take(&mut self.slab).freeze())
    }
}
