//! A store whose calls block or panic when a test says so.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use crate::error::{Failure, Fault};
use crate::store::{Name, Sink, Source, Store};

#[derive(Debug, Clone, Default)]
pub(crate) struct SteppedStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The call that blocks.
    held: &'static str,
    panics_at: &'static str,
    calls: HashMap<&'static str, usize>,
    at_work: usize,
    published: Vec<Vec<u8>>,
    dropped: usize,
}

#[derive(Debug)]
struct SteppedSink {
    stepped: SteppedStore,
    content: Vec<u8>,
}

impl SteppedStore {
    /// Blocks this call from now on, until `release`.
    pub(crate) fn hold(&self, call: &'static str) {
        self.0.state.lock().unwrap().held = call;
    }

    pub(crate) fn release(&self) {
        self.0.state.lock().unwrap().held = "";
        self.0.released.notify_all();
    }

    pub(crate) fn panic_at(&self, call: &'static str) {
        self.0.state.lock().unwrap().panics_at = call;
    }

    pub(crate) fn calls(&self, call: &str) -> usize {
        self.0.state.lock().unwrap().calls.get(call).copied().unwrap_or(0)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.0.state.lock().unwrap().at_work == 0
    }

    pub(crate) fn published(&self) -> Vec<Vec<u8>> {
        self.0.state.lock().unwrap().published.clone()
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.state.lock().unwrap().dropped
    }

    fn step(&self, call: &'static str) {
        let mut state = self.0.state.lock().unwrap();
        *state.calls.entry(call).or_default() += 1;
        state.at_work += 1;
        let mut state = self.0.released.wait_while(state, |state| state.held == call).unwrap();
        state.at_work -= 1;
        let panics = state.panics_at == call;
        drop(state);
        assert!(!panics, "the secret of {call}");
    }
}

impl Store for SteppedStore {
    fn open(&self, _: &Name) -> Result<Arc<dyn Source>, Fault> {
        self.step("open");
        Err(Failure::NotFound.into())
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        self.step("create");
        Ok(Box::new(SteppedSink { stepped: self.clone(), content: Vec::new() }))
    }
}

impl Sink for SteppedSink {
    fn path(&self) -> &str {
        self.stepped.step("path");
        "file"
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.stepped.step("write");
        self.content.extend_from_slice(octets);
        Ok(())
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        self.stepped.step("publish");
        let content = std::mem::take(&mut self.content);
        self.stepped.0.state.lock().unwrap().published.push(content);
        Ok(())
    }
}

impl Drop for SteppedSink {
    fn drop(&mut self) {
        self.stepped.0.state.lock().unwrap().dropped += 1;
        self.stepped.step("drop");
    }
}
