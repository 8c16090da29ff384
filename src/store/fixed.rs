//! A [`Store`] of one file for one request.

use std::sync::Arc;

use bytes::Bytes;

use super::memory::MemorySource;
use super::{Name, Sink, Source, Store};
use crate::error::{Failure, Fault};

/// The same octets under every name; read-only. For files that a program makes for a request.
///
/// ```
/// use stagecoach::store::{Fixed, Name, Store};
///
/// let store = Fixed::new("set timeout=3\n");
/// assert_eq!(store.open(&Name::from_request(b"grub.cfg")?)?.size(), Some(14));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fixed(Bytes);

impl Fixed {
    /// A store of these octets.
    #[must_use]
    pub fn new(octets: impl Into<Bytes>) -> Self {
        Self(octets.into())
    }
}

impl Store for Fixed {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        Ok(Arc::new(MemorySource::new(self.0.clone(), format!("made:{name}"))))
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        Some(self.open(name))
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::Forbidden.into())
    }
}
