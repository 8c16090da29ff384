//! A file that is read, state by all who have a part in it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use crate::error::Fault;
use crate::store::{Later, Slab, Source};

/// A store's file. To drop it may mean to wait, which is nothing for an arbiter's thread: whoever
/// lets go of it last, it is dropped on a thread that may.
#[derive(Debug)]
pub(crate) struct SourceHandle {
    /// Until this is dropped.
    source: Option<Arc<dyn Source>>,
    drops_at_once: bool,
}

impl SourceHandle {
    /// From here on nobody is to hold the file by itself. What it says of itself is the store's
    /// code: that may panic.
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        let drops_at_once = source.drops_at_once();
        Arc::new(Self { source: Some(source), drops_at_once })
    }

    fn source(&self) -> &dyn Source {
        // (It is taken out where this is dropped, and nowhere else.)
        self.source.as_deref().expect("it is there for as long as this is")
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
