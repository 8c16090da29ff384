//! A store in memory whose calls panic a number of times, and that counts what happened to its
//! files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Name, Sink, Slab, Source, Store};

/// The files and the counts of the store, and its planned panics in code that runs in the actors.
#[derive(Debug, Default)]
pub(crate) struct PanickingStore {
    pub(crate) files: Mutex<HashMap<String, Vec<u8>>>,
    pub(crate) opened: AtomicUsize,
    pub(crate) published: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) publishing: Duration,
    /// How long a read of the file `slow` takes.
    pub(crate) reading: Duration,
    pub(crate) panics: AtomicUsize,
    /// The call that panics.
    pub(crate) panics_in: &'static str,
}

impl PanickingStore {
    fn step(&self, call: &str) {
        if self.panics_in == call {
            let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            assert!(left.is_err(), "the secret of {call}");
        }
    }

    /// Waits until the actors have dropped this many files.
    pub(crate) fn expect_dropped(&self, files: usize) {
        let until = Instant::now() + Duration::from_secs(5);
        while self.dropped.load(Ordering::SeqCst) < files {
            assert!(Instant::now() < until, "{self:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn panicking(panics_in: &'static str, panics: usize) -> Arc<Self> {
        Arc::new(Self { panics_in, panics: panics.into(), ..Self::default() })
    }
}

#[derive(Debug)]
pub(crate) struct StoreHandle(pub(crate) Arc<PanickingStore>);

#[derive(Debug)]
struct PanickingFile {
    store: Arc<PanickingStore>,
    name: String,
    content: Vec<u8>,
}

impl Store for StoreHandle {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let content = self.0.files.lock().unwrap().get(&name.to_string()).cloned();
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        let content = content.ok_or(Failure::NotFound)?;
        Ok(Arc::new(PanickingFile { store: Arc::clone(&self.0), name: name.to_string(), content }))
    }

    fn create(&self, name: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(PanickingFile {
            store: Arc::clone(&self.0),
            name: name.to_string(),
            content: Vec::new(),
        }))
    }
}

impl Source for PanickingFile {
    fn size(&self) -> Option<u64> {
        self.store.step("size");
        Some(self.content.len() as u64)
    }

    fn path(&self) -> &str {
        &self.name
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        if self.name == "slow" {
            std::thread::sleep(self.store.reading);
        }
        let from = usize::try_from(offset).unwrap();
        let until = self.content.len().min(from + length);
        Ok(Slab::new(Bytes::copy_from_slice(&self.content[from..until]), until == self.content.len()))
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        if offset > 0 {
            self.store.step("fetch_cached");
        }
        if self.name == "slow" { Ok(None) } else { self.fetch(offset, length).map(Some) }
    }
}

impl Sink for PanickingFile {
    fn path(&self) -> &str {
        self.store.step("path");
        &self.name
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.content.extend_from_slice(octets);
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        std::thread::sleep(self.store.publishing);
        let content = std::mem::take(&mut self.content);
        self.store.files.lock().unwrap().insert(self.name.clone(), content);
        self.store.published.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for PanickingFile {
    fn drop(&mut self) {
        self.store.dropped.fetch_add(1, Ordering::SeqCst);
    }
}
