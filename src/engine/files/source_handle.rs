//! A file that is read, shared by everything that reads it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use crate::error::Fault;
use crate::store::{Later, Slab, Source};

/// A store's file, with its size and path. Dropping the file may block, which must not happen on an
/// arbiter's thread: the last handle drops it on a thread that may block.
#[derive(Debug)]
pub(crate) struct SourceHandle {
    /// `None` only while the handle is dropped.
    source: Option<Arc<dyn Source>>,
    drops_at_once: bool,
    size: Option<u64>,
    path: String,
}

impl SourceHandle {
    /// Takes over the file; nobody else may hold it. This calls the store's code, which may panic.
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        let (drops_at_once, size, path) = (source.drops_at_once(), source.size(), source.path().to_owned());
        Arc::new(Self { source: Some(source), drops_at_once, size, path })
    }

    fn source(&self) -> &dyn Source {
        self.source.as_deref().expect("only drop takes the source")
    }
}

impl Source for SourceHandle {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn modified(&self) -> Option<SystemTime> {
        self.source().modified()
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.source().fetch(offset, length)
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        self.source().fetch_cached(offset, length)
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        self.source().fetch_later(offset, length)
    }

    fn drops_at_once(&self) -> bool {
        true
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        if !self.drops_at_once {
            drop_in_pool(self.source.take());
        }
    }
}

/// Drops a value on a thread that may block; at once, where no runtime is left.
pub(super) fn drop_in_pool<T: Send + 'static>(value: T) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn_blocking(move || drop(value));
    }
}
