//! A file that is read, shared by everything that reads it.

use std::sync::{Arc, OnceLock};
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
    /// The size and the path, once they were asked for.
    about: OnceLock<(Option<u64>, String)>,
}

impl SourceHandle {
    /// Takes over the file; nobody else may hold it. This calls the store's code, which may panic.
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        let drops_at_once = source.drops_at_once();
        Arc::new(Self { source: Some(source), drops_at_once, about: OnceLock::new() })
    }

    /// Takes over the file, and asks for its size and path, which then call no store any more.
    pub(crate) fn examined(source: Arc<dyn Source>) -> Arc<Self> {
        let handle = Self::new(source);
        handle.about();
        handle
    }

    fn about(&self) -> &(Option<u64>, String) {
        self.about.get_or_init(|| (self.source().size(), self.source().path().to_owned()))
    }

    fn source(&self) -> &dyn Source {
        self.source.as_deref().expect("only drop takes the source")
    }
}

impl Source for SourceHandle {
    fn size(&self) -> Option<u64> {
        self.about().0
    }

    fn modified(&self) -> Option<SystemTime> {
        self.source().modified()
    }

    fn path(&self) -> &str {
        &self.about().1
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
