//! A file that is read, shared by everything that reads it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use crate::error::Fault;
use crate::store::{Later, Slab, Source};

/// A store's file. Dropping it may block, which must not happen on an arbiter's thread: the last
/// handle drops the file on a thread that may block.
#[derive(Debug)]
pub(crate) struct SourceHandle {
    /// `None` only while the handle is dropped.
    source: Option<Arc<dyn Source>>,
    drops_at_once: bool,
}

impl SourceHandle {
    /// Takes over the file; nobody else may hold it. This calls the store's code, which may panic.
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        let drops_at_once = source.drops_at_once();
        Arc::new(Self { source: Some(source), drops_at_once })
    }

    fn source(&self) -> &dyn Source {
        // Only `drop` takes the source out.
        self.source.as_deref().expect("only drop takes the source")
    }
}

impl Source for SourceHandle {
    fn size(&self) -> Option<u64> {
        self.source().size()
    }

    fn modified(&self) -> Option<SystemTime> {
        self.source().modified()
    }

    fn path(&self) -> &str {
        self.source().path()
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
        if !self.drops_at_once
            && let Ok(runtime) = Handle::try_current()
        {
            let source = self.source.take();
            runtime.spawn_blocking(move || drop(source));
        }
    }
}
