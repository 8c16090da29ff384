//! A store that has to be waited for now and then, and whose reads panic.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use stagecoach::error::Fault;
use stagecoach::internals::limits;
use stagecoach::store::{Memory, Name, Sink, Slab, Source, Store};

use crate::link::Rng;

#[derive(Debug)]
pub(crate) struct FlakyStore {
    memory: Memory,
    rng: Mutex<Rng>,
}

#[derive(Debug)]
struct FlakySource {
    source: Arc<dyn Source>,
    rng: Mutex<Rng>,
    /// One panic more would end the transfer.
    panics_left: AtomicU32,
}

impl FlakyStore {
    pub(crate) fn new(memory: Memory, rng: Rng) -> Self {
        Self { memory, rng: Mutex::new(rng) }
    }
}

impl Store for FlakyStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let (source, rng) = (self.memory.open(name)?, Mutex::new(self.rng.lock().unwrap().fork()));
        Ok(Arc::new(FlakySource { source, rng, panics_left: limits::READERS_REPLACED_MAX.into() }))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        self.memory.create(name, claimed)
    }
}

impl FlakySource {
    fn chance(&self, permille: u64) -> bool {
        self.rng.lock().unwrap().chance(permille)
    }

    fn may_panic(&self) {
        let less = |left: u32| left.checked_sub(1);
        if self.chance(30)
            && self.panics_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
        {
            panic!("as planned");
        }
    }
}

impl Source for FlakySource {
    fn size(&self) -> Option<u64> {
        self.source.size()
    }

    fn path(&self) -> &str {
        self.source.path()
    }

    /// No panic here: one on a thread that may wait ends the transfer.
    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.source.fetch(offset, length)
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        self.may_panic();
        if self.chance(300) {
            return Ok(None);
        }
        self.source.fetch(offset, length).map(Some)
    }
}
