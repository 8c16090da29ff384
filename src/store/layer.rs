//! Layers in front of a store.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Later, Name, Sink, Slab, Source, Store};
use crate::error::Fault;

/// A layer in front of a store, with a say in each file: a quota, a check, other names. The default
/// of each method changes nothing. The methods are called for each way of opening a file: at once,
/// on a thread that may block, or asynchronously. [`Layered`] turns a layer into a store;
/// [`Builder::wrap_store`](crate::daemon::Builder::wrap_store) does so for each request.
///
/// ```
/// use stagecoach::Stagecoach;
/// use stagecoach::error::Fault;
/// use stagecoach::store::{Layer, Layered, Name};
///
/// /// Clients find files whatever case they ask in.
/// #[derive(Debug)]
/// struct LowerCase;
///
/// impl Layer for LowerCase {
///     fn to_read(&self, name: &Name) -> Result<Name, Fault> {
///         Name::from_request(&name.as_bytes().to_ascii_lowercase())
///     }
/// }
///
/// let builder = Stagecoach::builder().wrap_store(|_, store| Layered::new(LowerCase, store));
/// ```
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// The store's file for a name to be read. Must not block, like [`Store::open_cached`].
    ///
    /// # Errors
    /// Why there is no such file.
    fn to_read(&self, name: &Name) -> Result<Name, Fault> {
        Ok(name.clone())
    }

    /// Wraps a file that the store has opened, such as in [`Inspected`]. Must not block either.
    ///
    /// # Errors
    /// Why the file can't be read.
    fn opened(&self, name: &Name, source: Arc<dyn Source>) -> Result<Arc<dyn Source>, Fault> {
        let _ = name;
        Ok(source)
    }

    /// The store's file for a name to be written, and the size that the client announced. May
    /// block.
    ///
    /// # Errors
    /// Why the file can't be written.
    fn to_write(&self, name: &Name, claimed: Option<u64>) -> Result<Name, Fault> {
        let _ = claimed;
        Ok(name.clone())
    }

    /// Wraps an upload that the store has created, such as in [`CheckedSink`]. May block.
    ///
    /// # Errors
    /// Why the file can't be written after all.
    fn created(&self, name: &Name, sink: Box<dyn Sink>) -> Result<Box<dyn Sink>, Fault> {
        let _ = name;
        Ok(sink)
    }
}

/// A store with a [`Layer`] in front.
#[derive(Debug)]
pub struct Layered<L> {
    layer: Arc<L>,
    store: Arc<dyn Store>,
}

impl<L: Layer> Layered<L> {
    /// `layer` in front of `store`.
    #[must_use]
    pub fn new(layer: L, store: impl Store) -> Self {
        Self { layer: Arc::new(layer), store: Arc::new(store) }
    }
}

impl<L: Layer> Store for Layered<L> {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let inner = self.layer.to_read(name)?;
        self.layer.opened(name, self.store.open(&inner)?)
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        let opened = match self.layer.to_read(name) {
            Ok(inner) => self.store.open_cached(&inner)?,
            Err(fault) => Err(fault),
        };
        Some(opened.and_then(|source| self.layer.opened(name, source)))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let opening = match self.layer.to_read(name) {
            Ok(inner) => self.store.open_later(&inner)?,
            Err(fault) => Box::pin(ready(Err(fault))),
        };
        let (layer, name) = (Arc::clone(&self.layer), name.clone());
        Some(Box::pin(async move { layer.opened(&name, opening.await?) }))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let inner = self.layer.to_write(name, claimed)?;
        self.layer.created(name, self.store.create(&inner, claimed)?)
    }
}

/// A file whose slabs pass through a closure, whichever way they are read. The closure may change
/// the octets (not their number), count them, or refuse.
pub struct Inspected<F> {
    source: Arc<dyn Source>,
    inspect: Arc<F>,
}

impl<F: Fn(u64, Slab) -> Result<Slab, Fault> + Send + Sync + 'static> Inspected<F> {
    /// Passes each slab of `source` and its offset to `inspect`, which must not block.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, inspect: F) -> Self {
        Self { source, inspect: Arc::new(inspect) }
    }
}

impl<F> fmt::Debug for Inspected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inspected").field(&self.source).finish()
    }
}

impl<F: Fn(u64, Slab) -> Result<Slab, Fault> + Send + Sync + 'static> Source for Inspected<F> {
    fn size(&self) -> Option<u64> {
        self.source.size()
    }

    fn modified(&self) -> Option<SystemTime> {
        self.source.modified()
    }

    fn path(&self) -> &str {
        self.source.path()
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        (self.inspect)(offset, self.source.fetch(offset, length)?)
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        let slab = self.source.fetch_cached(offset, length)?;
        slab.map(|slab| (self.inspect)(offset, slab)).transpose()
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let fetching = self.source.fetch_later(offset, length)?;
        let inspect = Arc::clone(&self.inspect);
        Some(Box::pin(async move { inspect(offset, fetching.await?) }))
    }

    fn drops_at_once(&self) -> bool {
        self.source.drops_at_once()
    }
}

/// An upload whose pieces pass through a closure, which may count octets or refuse.
pub struct CheckedSink<F> {
    sink: Box<dyn Sink>,
    check: F,
    // Dropped last: nothing of the upload is left then.
    at_end: AtEnd,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkEnd {
    /// The file is published.
    Published,
    /// The upload broke off and is kept as [`Sink::publish_partial`] describes.
    Partial,
    /// Nothing is left: the upload broke off, was refused, or could not be published.
    Dropped,
}

/// The callback for an upload's end, and the octets written so far.
#[derive(Default)]
struct AtEnd {
    hear: Option<Box<dyn FnOnce(SinkEnd, u64) + Send>>,
    octets: u64,
}

impl AtEnd {
    fn is(&mut self, end: SinkEnd) {
        if let Some(hear) = self.hear.take() {
            hear(end, self.octets);
        }
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.is(SinkEnd::Dropped);
    }
}

impl<F: FnMut(&[u8]) -> Result<(), Fault> + Send + 'static> CheckedSink<F> {
    /// Passes each piece for `sink` to `check` first, which may block.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, check: F) -> Self {
        Self { sink, check, at_end: AtEnd::default() }
    }

    /// Calls `hear` once with the end of the upload and the octets that the check let pass. It may
    /// block, but not panic: it is called even while a panic unwinds.
    #[must_use]
    pub fn at_end(mut self, hear: impl FnOnce(SinkEnd, u64) + Send + 'static) -> Self {
        self.at_end.hear = Some(Box::new(hear));
        self
    }
}

impl<F> fmt::Debug for CheckedSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckedSink").field(&self.sink).finish()
    }
}

impl<F: FnMut(&[u8]) -> Result<(), Fault> + Send + 'static> Sink for CheckedSink<F> {
    fn path(&self) -> &str {
        self.sink.path()
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        (self.check)(octets)?;
        self.at_end.octets += octets.len() as u64;
        self.sink.write(octets)
    }

    fn publish(self: Box<Self>) -> Result<(), Fault> {
        let Self { sink, mut at_end, .. } = *self;
        sink.publish()?;
        at_end.is(SinkEnd::Published);
        Ok(())
    }

    fn publish_partial(self: Box<Self>) -> Result<String, Fault> {
        let Self { sink, mut at_end, .. } = *self;
        let path = sink.publish_partial()?;
        at_end.is(SinkEnd::Partial);
        Ok(path)
    }
}
