//! What stands in front of a store.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Later, Name, Sink, Slab, Source, Store};
use crate::error::Fault;

/// What stands in front of a store, and has a say in each file: a quota, a check, other names. Each
/// method has a default that changes nothing, and each is called on every way to a file: one that
/// is opened at once, on a thread that may wait, or later. [`Layered`] makes a store of it.
///
/// With [`Builder::wrap_store`](crate::daemon::Builder::wrap_store) a layer is made for each
/// request, and knows its client.
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
/// let builder = Stagecoach::builder().wrap_store(move |_, store| Layered::new(quota.clone(), store));
/// ```
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// Which file of the store a name means that is to be read. It may be called by the listener,
    /// as [`Store::open_cached`]: it must not wait.
    ///
    /// # Errors
    /// Why there is none.
    fn to_read(&self, name: &Name) -> Result<Name, Fault> {
        Ok(name.clone())
    }

    /// What is read of a file of the store that was opened under this name. It may be called by the
    /// listener, as [`Store::open_cached`]: it must not wait. ([`Inspected`] has each slab of the
    /// file looked at.)
    ///
    /// # Errors
    /// Why it is not to be read.
    fn opened(&self, name: &Name, source: Arc<dyn Source>) -> Result<Arc<dyn Source>, Fault> {
        let _ = name;
        Ok(source)
    }

    /// Which file of the store a name means that is to be written; `claimed` is the size that the
    /// client announced. It is called on a thread that may wait, before anything is made.
    ///
    /// # Errors
    /// Why it is not to be written.
    fn to_write(&self, name: &Name, claimed: Option<u64>) -> Result<Name, Fault> {
        let _ = claimed;
        Ok(name.clone())
    }

    /// What is written to in place of the upload that the store has made under this name. It is
    /// called on a thread that may wait.
    ///
    /// # Errors
    /// Why it is not to be written after all.
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

/// A file of which each slab passes a closure, on every way to it; the closure may change the
/// octets (not how many there are), count them, or refuse.
///
/// ```
/// use std::sync::Arc;
/// use stagecoach::store::{Fixed, Inspected, Name, Slab, Store};
///
/// let file = Fixed::new("quiet").open(&Name::from_request(b"any")?)?;
/// let loud = |_, slab: Slab| Ok(Slab { bytes: slab.bytes.to_ascii_uppercase().into(), ..slab });
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
    /// `source`, of which `inspect` gets each slab and its offset. It may be called by a transfer's
    /// thread, as [`Source::fetch_cached`]: it must not wait.
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

/// An upload of which each piece passes a closure before it is written; the closure may count
/// octets, or refuse.
pub struct CheckedSink<F> {
    sink: Box<dyn Sink>,
    check: F,
    // (Dropped last: nothing is left of the upload then.)
    at_end: AtEnd,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkEnd {
    /// The file is there.
    Published,
    /// It broke off, and is kept as [`Sink::publish_partial`] says.
    Partial,
    /// Nothing is left: it broke off, or was refused, or could not be published.
    Dropped,
}

type Hear = Box<dyn FnOnce(SinkEnd, u64) + Send>;

/// Who hears of an upload's end, and how many octets it had then.
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
    /// `sink`, of which `check` gets each piece first, on a thread that may wait.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, check: F) -> Self {
        Self { sink, check, at_end: AtEnd::default() }
    }

    /// Has `hear` be told once what became of the upload, and how many octets the check let pass:
    /// what was counted of an upload that is [`Dropped`](SinkEnd::Dropped) can be given back. It is
    /// called on a thread that may wait, also while a panic unwinds: it must not panic.
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
