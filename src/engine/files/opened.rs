//! A file that is open to be read, and what the file says of itself.

use std::sync::Arc;

use super::source_handle::SourceHandle;
use crate::store::Source;

/// A file that was opened to be read, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) source: Arc<SourceHandle>,
    pub(crate) size: Option<u64>,
    pub(crate) path: String,
}

impl Opened {
    /// Asks the file, whose answers are the store's code: it may panic.
    pub(crate) fn new(source: Arc<SourceHandle>) -> Self {
        let (size, path) = (source.size(), source.path().to_owned());
        Self { source, size, path }
    }
}
