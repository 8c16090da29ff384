//! Stores in memory, for tests and for files that a program makes itself.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::{Name, Sink, Slab, Source, Store, partial_name_too_long};
use crate::error::{Failure, Fault};
use crate::limits::{MEMORY_OCTETS_MAX_DEFAULT, UPLOAD_OCTETS_MAX_DEFAULT};

/// Files in memory. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    files: Arc<Mutex<Files>>,
    options: MemoryOptions,
}

/// Options of a [`Memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Uploads may replace existing files.
    pub overwrite: bool,
    /// Octets of one upload.
    pub upload_octets_max: u64,
    /// Octets of all files, including unfinished uploads.
    pub octets_max: u64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            overwrite: false,
            upload_octets_max: UPLOAD_OCTETS_MAX_DEFAULT,
            octets_max: MEMORY_OCTETS_MAX_DEFAULT,
        }
    }
}

impl MemoryOptions {
    fn check_name(&self, files: &Files, name: &Name) -> Result<(), Failure> {
        let is_taken = files.published.contains_key(name) && !self.overwrite;
        if is_taken { Err(Failure::Exists) } else { Ok(()) }
    }

    /// Whether an upload with `received` octets may have `octets` more.
    fn check_room(&self, files: &Files, received: u64, octets: u64) -> Result<(), Failure> {
        match octets {
            _ if received.saturating_add(octets) > self.upload_octets_max => Err(Failure::TooLarge),
            _ if octets > self.octets_max.saturating_sub(files.octets) => Err(Failure::DiskFull),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
struct Files {
    published: HashMap<Name, Bytes>,
    /// Octets of all files and unfinished uploads.
    octets: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        Self { files: Arc::default(), options }
    }

    /// Inserts or replaces a file; limits only apply to uploads. Returns the replaced content.
    pub fn insert(&self, name: Name, content: impl Into<Bytes>) -> Option<Bytes> {
        let content = content.into();
        let mut files = self.files();
        files.octets = files.octets.saturating_add(content.len() as u64);
        files.put(name, content)
    }

    /// The content of a file, if it exists.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<Bytes> {
        self.files().published.get(name).cloned()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // A panic elsewhere leaves the map consistent, so serving goes on.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Publishes octets that are already counted.
    fn put(&mut self, name: Name, content: Bytes) -> Option<Bytes> {
        let replaced = self.published.insert(name, content);
        self.octets -= replaced.as_ref().map_or(0, |old| old.len() as u64);
        replaced
    }
}

impl Store for Memory {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let content = self.get(name).ok_or(Failure::NotFound)?;
        Ok(Arc::new(MemorySource { content, path: path_of(name) }))
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        Some(self.open(name))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let files = self.files();
        self.options.check_name(&files, name)?;
        self.options.check_room(&files, 0, claimed.unwrap_or(0))?;
        Ok(Box::new(MemorySink {
            store: self.clone(),
            name: name.clone(),
            path: path_of(name),
            received: BytesMut::new(),
            failed: None,
        }))
    }
}

fn path_of(name: &Name) -> String {
    format!("memory:{name}")
}

#[derive(Debug)]
struct MemorySource {
    content: Bytes,
    path: String,
}

impl Source for MemorySource {
    fn size(&self) -> Option<u64> {
        Some(self.content.len() as u64)
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        let stop = start.saturating_add(length).min(self.content.len());
        Ok(Slab { bytes: self.content.slice(start..stop), end: stop == self.content.len() })
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        self.fetch(offset, length).map(Some)
    }

    fn drops_at_once(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct MemorySink {
    store: Memory,
    name: Name,
    path: String,
    received: BytesMut,
    failed: Option<Failure>,
}

impl Sink for MemorySink {
    fn path(&self) -> &str {
        &self.path
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if let Some(failure) = self.failed {
            return Err(failure.into());
        }
        let (received, count) = (self.received.len() as u64, octets.len() as u64);
        let mut files = self.store.files();
        let is_room = self.store.options.check_room(&files, received, count);
        is_room.inspect_err(|failure| self.failed = Some(*failure))?;
        files.octets += count;
        self.received.extend_from_slice(octets);
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        if let Some(failure) = self.failed {
            return Err(failure.into());
        }
        let store = self.store.clone();
        let mut files = store.files();
        store.options.check_name(&files, &self.name)?;
        let content = self.received.split().freeze();
        files.put(self.name.clone(), content);
        Ok(())
    }

    fn publish_partial(mut self: Box<Self>) -> Result<String, Fault> {
        self.name = self.name.of_partial().ok_or_else(|| partial_name_too_long(&self.path))?;
        let path = path_of(&self.name);
        // Never replaces a file, even if complete uploads may.
        self.store.options.overwrite = false;
        self.publish().map_err(|fault| Fault::new(fault.failure, format_args!("{path}: {fault}")))?;
        Ok(path)
    }
}

impl Drop for MemorySink {
    fn drop(&mut self) {
        // Published octets were split off and stay counted.
        self.store.files().octets -= self.received.len() as u64;
    }
}

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
        Ok(Arc::new(MemorySource { content: self.0.clone(), path: format!("made:{name}") }))
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        Some(self.open(name))
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::Forbidden.into())
    }
}
