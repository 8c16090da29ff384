//! Files. A [`Store`] opens a [`Source`] to read from or a [`Sink`] to write to, by [`Name`].
//!
//! Every call of a store may block, except those that end in `_cached` or `_later`. So the calls
//! are made from a pool of threads, never on an arbiter's own. A store has 30 seconds to open a
//! file and to read a slab of it ([`READ_WITHIN`](crate::limits::READ_WITHIN)), and to begin an
//! upload and to write the octets that wait ([`WRITE_WITHIN`](crate::limits::WRITE_WITHIN)). It has
//! five minutes to publish an upload ([`PUBLISH_WITHIN`](crate::limits::PUBLISH_WITHIN)). After
//! that time the transfer ends, and nothing waits for the call any more.

mod directory;
mod errno;
mod fixed;
mod layer;
mod memory;
mod name;
mod shared;
mod temporary_name;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

pub use self::directory::{
    Directory, DirectoryOptions, Listed, Listing, RootChange, RootError, Sweep, Symlinks,
};
pub use self::errno::io_fault;
pub use self::fixed::Fixed;
pub use self::layer::{CheckedSink, Inspected, Layer, Layered, SinkEnd};
pub use self::memory::{Memory, MemoryOptions};
pub use self::name::{Name, PARTIAL_SUFFIX};
use crate::error::{Failure, Fault};

/// An answer that comes later.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// A place that files are read from and written to. It learns the name of a file, and nothing of the
/// client: what depends on the client is a [`Layer`] that
/// [`Builder::wrap_store`](crate::daemon::Builder::wrap_store) makes for each request, or a
/// [`Route`](crate::extend::Route).
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Opens a file to be read. Nothing on disk is changed by it.
    ///
    /// # Errors
    /// A [`Fault`] that says why the file can't be had. Where that isn't known, because the store
    /// can't be asked now, it is an [outage](crate::error::Failure::is_outage): the client gets no
    /// answer, and asks again.
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault>;

    /// Does what [`open`](Self::open) would do in this moment, if and only if that can be done without waiting. `None` otherwise: then it
    /// is left to `open`. The listener calls it for every read, between two requests.
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        let _ = name;
        None
    }

    /// What [`open`](Self::open) would say, said later: for a store that waits for something else
    /// than a disk, and needs no thread for it. `None`: `open` is called. The answer has as long as
    /// `open`'s, 30 seconds ([`limits::READ_WITHIN`](crate::limits::READ_WITHIN)).
    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let _ = name;
        None
    }

    /// Prepares an upload: says now whatever can be known before the first octet (exists, forbidden, no room),
    /// and leaves nothing visible until [`Sink::publish`]. `claimed` is the size that the client announced
    /// (`tsize`); it is a claim only.
    ///
    /// # Errors
    /// A [`Fault`] that says why the file can't be written.
    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault>;

    /// The directory that this is, for what no other store can do: to [rename](Directory::rename),
    /// [link](Directory::link) and [list](Directory::list) its files. `None` for every other store,
    /// and for what stands in front of a directory: it may have other names for the files.
    fn as_directory(&self) -> Option<&Directory> {
        None
    }
}

/// A file that is being read, by any number of transfers at once.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Size in octets as it was at open, if it is known.
    fn size(&self) -> Option<u64>;

    /// When its content was changed last, as it was at open, if that is known.
    fn modified(&self) -> Option<SystemTime> {
        None
    }

    /// The file that is served, as the operator knows it. For logs, never for a peer.
    fn path(&self) -> &str;

    /// Reads up to `length` octets at `offset`: fewer only at the end of the file, which [`Slab::end`] then tells.
    ///
    /// # Errors
    /// [`Failure::Changed`] when the file is no longer what was opened (shrunk,
    /// rewritten); another [`Fault`] when reading fails.
    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault>;

    /// The same, if and only if it can be done without waiting (the page cache has it). `None` otherwise.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        let _ = (offset, length);
        Ok(None)
    }

    /// What [`fetch`](Self::fetch) would say, said later, as [`Store::open_later`]. `None`: `fetch` is called.
    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let _ = (offset, length);
        None
    }

    /// Whether dropping it waits for nothing: no disk, no network, no lock that is held for long.
    /// Then it is dropped wherever the last transfer lets go of it, which spares each transfer the
    /// way to another thread. Otherwise it is dropped on a thread that may wait.
    fn drops_at_once(&self) -> bool {
        false
    }
}

/// Why an upload that isn't whole has no name to be kept under.
fn partial_name_too_long(path: &str) -> Fault {
    Fault::new(Failure::NotFound, format_args!("{path}{PARTIAL_SUFFIX} is too long a name: not kept"))
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slab {
    /// The octets.
    pub bytes: Bytes,
    /// Whether the file ends right after them.
    pub end: bool,
}

/// A file that is being written. Dropped without [`publish`](Self::publish), it leaves nothing.
pub trait Sink: fmt::Debug + Send + 'static {
    /// The file that will be there, as the operator knows it. For logs, never for a peer.
    fn path(&self) -> &str;

    /// Appends `octets`.
    ///
    /// # Errors
    /// [`Failure::DiskFull`], [`Failure::TooLarge`] or
    /// another [`Fault`]; the upload is then over.
    fn write(&mut self, octets: &[u8]) -> Result<(), Fault>;

    /// Makes the file appear under its name, whole and (unless told otherwise) durable; never in
    /// place of another file unless overwriting was allowed. It is called once all of the upload
    /// was written, and never for less.
    ///
    /// # Errors
    /// [`Failure::Exists`] when another upload won the name, or another [`Fault`];
    /// nothing is left then.
    fn publish(self: Box<Self>) -> Result<(), Fault>;

    /// Keeps what was written of an upload whose sender stopped half way, where that is asked for
    /// ([`OnAbort::Keep`](crate::transfer::OnAbort::Keep)): under a name that shows that the file
    /// isn't whole, and in place of no other file. Returns that name's path, as the operator knows
    /// it, for the log.
    ///
    /// The stores of this library call it [`NAME.partial`](Name::of_partial). Unless a sink says
    /// otherwise nothing is kept. A sink that forwards to another forwards this call too.
    ///
    /// # Errors
    /// A [`Fault`] that says to the operator why nothing is kept; nothing is left then.
    fn publish_partial(self: Box<Self>) -> Result<String, Fault> {
        Err(Fault::new(Failure::Cancelled, "this store keeps nothing of an upload that isn't whole"))
    }
}
