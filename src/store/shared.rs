//! Stores, sources and sinks behind pointers.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Directory, Later, Name, Sink, Slab, Source, Store};
use crate::error::Fault;

impl<S: Store + ?Sized> Store for Arc<S> {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        (**self).open(name)
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        (**self).open_cached(name)
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        (**self).open_later(name)
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        (**self).create(name, claimed)
    }

    fn as_directory(&self) -> Option<&Directory> {
        (**self).as_directory()
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn size(&self) -> Option<u64> {
        (**self).size()
    }

    fn modified(&self) -> Option<SystemTime> {
        (**self).modified()
    }

    fn path(&self) -> &str {
        (**self).path()
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        (**self).fetch(offset, length)
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        (**self).fetch_cached(offset, length)
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        (**self).fetch_later(offset, length)
    }

    fn drops_at_once(&self) -> bool {
        (**self).drops_at_once()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn path(&self) -> &str {
        (**self).path()
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        (**self).write(octets)
    }

    fn publish(self: Box<Self>) -> Result<(), Fault> {
        (*self).publish()
    }

    fn publish_partial(self: Box<Self>) -> Result<String, Fault> {
        (*self).publish_partial()
    }
}
