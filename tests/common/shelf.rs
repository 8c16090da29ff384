//! A store whose calls panic as often as a test wants, and that counts what became of its files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Name, Sink, Slab, Source, Store};

/// Files in memory, of a store that panics as often as it is told to in code that runs in the actors.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) files: Mutex<HashMap<String, Vec<u8>>>,
    pub(crate) opened: AtomicUsize,
    pub(crate) published: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) publishing: Duration,
    /// How long a read of the file `slow` takes.
    pub(crate) reading: Duration,
    pub(crate) panics: AtomicUsize,
    /// Where they happen.
    pub(crate) panics_in: &'static str,
}

impl Shelf {
    fn step(&self, call: &str) {
        if self.panics_in == call {
            let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            assert!(left.is_err(), "the secret of {call}");
        }
    }

    /// So many files are let go of, at once or soon.
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
pub(crate) struct Shelves(pub(crate) Arc<Shelf>);

#[derive(Debug)]
struct Book {
    shelf: Arc<Shelf>,
    name: String,
    content: Vec<u8>,
}

impl Store for Shelves {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let content = self.0.files.lock().unwrap().get(&name.to_string()).cloned();
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        let content = content.ok_or(Failure::NotFound)?;
        Ok(Arc::new(Book { shelf: Arc::clone(&self.0), name: name.to_string(), content }))
    }

    fn create(&self, name: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Book { shelf: Arc::clone(&self.0), name: name.to_string(), content: Vec::new() }))
    }
}

impl Source for Book {
    fn size(&self) -> Option<u64> {
        self.shelf.step("size");
        Some(self.content.len() as u64)
    }

    fn path(&self) -> &str {
        &self.name
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        if self.name == "slow" {
            std::thread::sleep(self.shelf.reading);
        }
        let from = usize::try_from(offset).unwrap();
        let until = self.content.len().min(from + length);
        Ok(Slab::new(Bytes::copy_from_slice(&self.content[from..until]), until == self.content.len()))
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        if offset > 0 {
            self.shelf.step("fetch_cached");
        }
        if self.name == "slow" { Ok(None) } else { self.fetch(offset, length).map(Some) }
    }
}

impl Sink for Book {
    fn path(&self) -> &str {
        self.shelf.step("path");
        &self.name
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.content.extend_from_slice(octets);
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        std::thread::sleep(self.shelf.publishing);
        let content = std::mem::take(&mut self.content);
        self.shelf.files.lock().unwrap().insert(self.name.clone(), content);
        self.shelf.published.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.shelf.dropped.fetch_add(1, Ordering::SeqCst);
    }
}
