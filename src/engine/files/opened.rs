//! A file that is open for reading, with its size and path.

use std::sync::Arc;

use super::source_handle::SourceHandle;
use crate::store::Source;

/// A file that is open for reading, with its size and path.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) source: Arc<SourceHandle>,
    pub(crate) size: Option<u64>,
    pub(crate) path: String,
}

impl Opened {
    /// Asks the file for its size and path. This calls the store's code, which may panic.
    pub(crate) fn new(source: Arc<SourceHandle>) -> Self {
        let (size, path) = (source.size(), source.path().to_owned());
        Self { source, size, path }
    }
}
