//! Files. A [`Store`] opens a [`Source`] to read from or a [`Sink`] to write to, by [`Name`].
//!
//! Every call of a store may block, except those that end in `_cached` or `_later`: the calls are
//! made from a pool of threads, never on an arbiter's own. A call has 30 seconds, and five minutes
//! to publish an upload. After that time the transfer ends, and nothing waits for the call any
//! more.

mod directory;
mod errno;
mod layer;
mod memory;
mod name;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

pub use self::directory::{
    Directory, DirectoryOptions, Listed, Listing, RootChange, RootError, Sweep, Symlinks,
};
pub use self::errno::io_fault;
pub use self::layer::{CheckedSink, Inspected, Layer, Layered, SinkEnd};
pub use self::memory::{Fixed, Memory, MemoryOptions};
pub use self::name::{Name, PARTIAL_SUFFIX};
use crate::error::{Failure, Fault};

/// An asynchronous result.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// A place for files. It learns nothing about the client: use a [`Layer`] for each request
/// ([`Builder::wrap_store`](crate::daemon::Builder::wrap_store)) or a
/// [`Route`](crate::extend::Route) for that.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for reading, without changing anything on disk.
    ///
    /// # Errors
    /// The reason. If the store can't tell whether the file exists, that is an
    /// [outage](crate::error::Failure::is_outage): the client gets no answer and asks again.
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault>;

    /// The result of [`open`](Self::open), if it can be had without blocking; otherwise `None`, and
    /// `open` is called. The listener calls this for every read, between two requests.
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        let _ = name;
        None
    }

    /// The asynchronous form of [`open`](Self::open), in the same time. `None`: `open` is called.
    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let _ = name;
        None
    }

    /// Prepares an upload. Reports what can be known before the first octet (exists, forbidden, no
    /// room), and makes nothing visible until [`Sink::publish`]. `claimed` is the size that the
    /// client announced (`tsize`), which may be wrong.
    ///
    /// # Errors
    /// Why the file can't be written.
    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault>;

    /// This store as a directory, for [`rename`](Directory::rename), [`link`](Directory::link) and
    /// [`list`](Directory::list). `None` for all other stores, and for a layer in front of one: it
    /// may have other names for the files.
    fn as_directory(&self) -> Option<&Directory> {
        None
    }
}

/// An open file for any number of transfers.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Size in octets at open, if known.
    fn size(&self) -> Option<u64>;

    /// Modification time at open, if known.
    fn modified(&self) -> Option<SystemTime> {
        None
    }

    /// The file's path for the operator's log; never sent to a peer.
    fn path(&self) -> &str;

    /// Reads up to `length` octets at `offset`; fewer only at the end of the file ([`Slab::end`]).
    ///
    /// # Errors
    /// [`Failure::Changed`] if the file is no longer what was opened (truncated, rewritten);
    /// another [`Fault`] if the read fails.
    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault>;

    /// The same, with the same errors, if it can be done without blocking (from the page cache);
    /// otherwise `None`.
    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        let _ = (offset, length);
        Ok(None)
    }

    /// The asynchronous form of [`fetch`](Self::fetch). `None`: `fetch` is called.
    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let _ = (offset, length);
        None
    }

    /// Whether dropping this never blocks; otherwise it is dropped on a thread, which costs more.
    fn drops_at_once(&self) -> bool {
        false
    }
}

fn partial_name_too_long(path: &str) -> Fault {
    Fault::new(Failure::NotFound, format_args!("not kept: the name {path}{PARTIAL_SUFFIX} is too long"))
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slab {
    /// The octets.
    pub bytes: Bytes,
    /// Whether the file ends after these octets.
    pub end: bool,
}

impl Slab {
    /// These octets, and whether the file ends after them.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>, end: bool) -> Self {
        Self { bytes: bytes.into(), end }
    }
}

/// A file being written. Without [`publish`](Self::publish), dropping it leaves nothing.
pub trait Sink: fmt::Debug + Send + 'static {
    /// The future file's path for the operator's log; never sent to a peer.
    fn path(&self) -> &str;

    /// Appends `octets`.
    ///
    /// # Errors
    /// [`Failure::DiskFull`], [`Failure::TooLarge`] or another [`Fault`]; the upload is then over.
    fn write(&mut self, octets: &[u8]) -> Result<(), Fault>;

    /// Makes the file appear under its name, complete and (by default) durable. Never replaces a
    /// file unless overwriting was allowed. Called once, after the complete upload was written.
    ///
    /// # Errors
    /// [`Failure::Exists`] if another upload took the name, or another [`Fault`]; nothing is left.
    fn publish(self: Box<Self>) -> Result<(), Fault>;

    /// Keeps an upload whose sender stopped early, if that is configured
    /// ([`OnAbort::Keep`](crate::transfer::OnAbort::Keep)): under a name that marks it as
    /// incomplete ([`NAME.partial`](Name::of_partial) in this library's stores), and without
    /// replacing a file. Returns the path for the operator's log. By default nothing is kept. A
    /// sink that forwards to another one should forward this call too.
    ///
    /// # Errors
    /// A [`Fault`] that tells the operator why nothing is kept; nothing is left then.
    fn publish_partial(self: Box<Self>) -> Result<String, Fault> {
        Err(Fault::new(Failure::Cancelled, "this store doesn't keep incomplete uploads"))
    }
}

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
