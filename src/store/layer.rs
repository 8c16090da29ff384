//! Layers in front of a store.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Later, Name, Sink, Slab, Source, Store};
use crate::error::Fault;

/// A layer in front of a store, with a say in each file: a quota, a check, other names. Each method
/// has a default that changes nothing. Each is called whether a file is opened at once, on a thread
/// that may block, or asynchronously. [`Layered`] turns it into a store.
///
/// With [`Builder::wrap_store`](crate::daemon::Builder::wrap_store), a closure that knows the
/// client makes a layer for each request.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use stagecoach::Stagecoach;
/// use stagecoach::error::Fault;
/// use stagecoach::store::{CheckedSink, Layer, Layered, Name, Sink, SinkEnd};
/// use stagecoach::wire::ErrorCode;
///
/// /// Octets that may still be uploaded. An upload that leaves nothing has taken none.
/// #[derive(Debug, Clone)]
/// struct Quota(Arc<AtomicU64>);
///
/// impl Layer for Quota {
///     fn created(&self, _: &Name, sink: Box<dyn Sink>) -> Result<Box<dyn Sink>, Fault> {
///         let (left, given_back) = (Arc::clone(&self.0), Arc::clone(&self.0));
///         let sink = CheckedSink::new(sink, move |octets| {
///             let less = |left: u64| left.checked_sub(octets.len() as u64);
///             let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
///             // The client reads this text.
///             taken.map_err(|_| Fault::refusal(ErrorCode::DISK_FULL, "your quota is used up"))?;
///             Ok(())
///         });
///         Ok(Box::new(sink.at_end(move |end, octets| {
///             if end == SinkEnd::Dropped {
///                 given_back.fetch_add(octets, Ordering::Relaxed);
///             }
///         })))
///     }
/// }
///
/// let quota = Quota(Arc::new(AtomicU64::new(1_000_000)));
/// let builder = Stagecoach::builder()
///     .wrap_store(move |_, store| Layered::new(quota.clone(), store));
/// ```
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// The store's file for a name to be read. Like [`Store::open_cached`], the listener may call
    /// this: it must not block.
    ///
    /// # Errors
    /// Why there is no such file.
    fn to_read(&self, name: &Name) -> Result<Name, Fault> {
        Ok(name.clone())
    }

    /// Wraps a file that the store has opened under this name. Like [`Store::open_cached`], the
    /// listener may call this: it must not block. ([`Inspected`] passes each slab of the file to a
    /// closure.)
    ///
    /// # Errors
    /// Why the file can't be read.
    fn opened(&self, name: &Name, source: Arc<dyn Source>) -> Result<Arc<dyn Source>, Fault> {
        let _ = name;
        Ok(source)
    }

    /// The store's file for a name to be written; `claimed` is the size that the client announced.
    /// Called on a thread that may block, before anything is created.
    ///
    /// # Errors
    /// Why the file can't be written.
    fn to_write(&self, name: &Name, claimed: Option<u64>) -> Result<Name, Fault> {
        let _ = claimed;
        Ok(name.clone())
    }

    /// Wraps an upload that the store has created under this name. Called on a thread that may
    /// block.
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
        let inner = match self.layer.to_read(name) {
            Ok(inner) => inner,
            Err(fault) => return Some(Err(fault)),
        };
        let opened = self.store.open_cached(&inner)?;
        Some(opened.and_then(|source| self.layer.opened(name, source)))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let inner = match self.layer.to_read(name) {
            Ok(inner) => inner,
            Err(fault) => return Some(Box::pin(std::future::ready(Err(fault)))),
        };
        let opening = self.store.open_later(&inner)?;
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
///
/// ```
/// use std::sync::Arc;
/// use stagecoach::store::{Fixed, Inspected, Name, Slab, Store};
///
/// let file = Fixed::new("quiet").open(&Name::from_request(b"any")?)?;
/// let loud = |_, slab: Slab| Ok(Slab::new(slab.bytes.to_ascii_uppercase(), slab.end));
/// let slab = stagecoach::store::Source::fetch(&Inspected::new(file, loud), 0, 100)?;
/// assert_eq!(slab.bytes, "QUIET");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inspected<F> {
    source: Arc<dyn Source>,
    inspect: Arc<F>,
}

impl<F> Inspected<F>
where
    F: Fn(u64, Slab) -> Result<Slab, Fault> + Send + Sync + 'static,
{
    /// Passes each slab of `source` and its offset to `inspect`. Like [`Source::fetch_cached`], a
    /// transfer's thread may call this: it must not block.
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

impl<F> Source for Inspected<F>
where
    F: Fn(u64, Slab) -> Result<Slab, Fault> + Send + Sync + 'static,
{
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

type Hear = Box<dyn FnOnce(SinkEnd, u64) + Send>;

/// The callback for an upload's end, and the octets written so far.
#[derive(Default)]
struct AtEnd {
    hear: Option<Hear>,
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

impl<F> CheckedSink<F>
where
    F: FnMut(&[u8]) -> Result<(), Fault> + Send + 'static,
{
    /// Passes each piece for `sink` to `check` first, on a thread that may block.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, check: F) -> Self {
        Self { sink, check, at_end: AtEnd::default() }
    }

    /// Calls `hear` once with the end of the upload and the octets that the check let pass, so that
    /// the count of a [`Dropped`](SinkEnd::Dropped) upload can be reverted. Called on a thread that
    /// may block, even while a panic unwinds: it must not panic.
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

impl<F> Sink for CheckedSink<F>
where
    F: FnMut(&[u8]) -> Result<(), Fault> + Send + 'static,
{
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
