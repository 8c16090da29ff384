//! A store behind an actor.

mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::waiting::{Waiting, runtime};
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::store::{Later, Name, Sink, Slab, Source, Store};
use crate::supervision::Pauses;

/// The number of an open file, chosen by the server. No two files of a process share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl FileId {
    /// Unique in the process, not only in the store: stores may share an actor.
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Opens a file for reading. Unless the actor refuses, a [`CloseFile`] always follows.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<OpenedFile, Fault>")]
#[non_exhaustive]
pub struct OpenFile {
    /// The file's number from now on.
    pub file: FileId,
    /// The name.
    pub name: Name,
}

impl OpenFile {
    /// For tests of an actor.
    #[must_use]
    pub fn new(file: FileId, name: Name) -> Self {
        Self { file, name }
    }
}

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenedFile {
    /// Its size in octets, if known.
    pub size: Option<u64>,
    /// The path that the log shows.
    pub path: String,
}

impl OpenedFile {
    /// A file of this size, if it is known, under this name for logs.
    #[must_use]
    pub fn new(size: Option<u64>, path: impl Into<String>) -> Self {
        Self { size, path: path.into() }
    }
}

/// Reads up to `length` octets at `offset`. Fewer are allowed only at the end of the file, which
/// [`Slab::end`] marks.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Slab, Fault>")]
#[non_exhaustive]
pub struct FetchSlab {
    /// The file.
    pub file: FileId,
    /// The offset of the first octet.
    pub offset: u64,
    /// The most octets to return.
    pub length: usize,
}

impl FetchSlab {
    /// For tests of an actor.
    #[must_use]
    pub fn new(file: FileId, offset: u64, length: usize) -> Self {
        Self { file, offset, length }
    }
}

/// Prepares an upload, as [`Store::create`] does. Unless the actor refuses, a [`PublishFile`] or a
/// [`CloseFile`] follows. A [`CloseFile`] also follows a failed [`PublishFile`], but not a
/// successful one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<CreatedFile, Fault>")]
#[non_exhaustive]
pub struct CreateFile {
    /// The file's number from now on.
    pub file: FileId,
    /// The name.
    pub name: Name,
    /// The size that the client announced.
    pub claimed: Option<u64>,
}

impl CreateFile {
    /// For tests of an actor.
    #[must_use]
    pub fn new(file: FileId, name: Name, claimed: Option<u64>) -> Self {
        Self { file, name, claimed }
    }
}

/// A file that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedFile {
    /// The path that the log shows.
    pub path: String,
}

impl CreatedFile {
    /// A file under this name for logs.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

/// Appends octets to a file.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Fault>")]
#[non_exhaustive]
pub struct AppendSlab {
    /// The file.
    pub file: FileId,
    /// The octets.
    pub octets: Bytes,
}

impl AppendSlab {
    /// For tests of an actor.
    #[must_use]
    pub fn new(file: FileId, octets: Bytes) -> Self {
        Self { file, octets }
    }
}

/// Publishes the file, as [`Sink::publish`] does. If it fails or is not answered in time, a
/// [`CloseFile`] follows; after a success none does. The actor keeps no incomplete upload, even
/// with [`OnAbort::Keep`](crate::transfer::OnAbort::Keep): it gets a [`CloseFile`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), Fault>")]
pub struct PublishFile(pub FileId);

/// Closes a file. A file that was being written must leave nothing behind. No [`CloseFile`] follows
/// a successful [`PublishFile`]; one does follow a failed one.
///
/// The actor may not know the number yet: a client can give up while the actor opens the file. An
/// actor that opens files asynchronously should note the number first, and check afterwards whether
/// the file is still wanted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct CloseFile {
    /// The file.
    pub file: FileId,
    /// Released once this message has been handled: another file may then be opened.
    _place: Option<OwnedSemaphorePermit>,
}

impl CloseFile {
    /// Creates the message in a test of an actor.
    #[must_use]
    pub fn new(file: FileId) -> Self {
        Self { file, _place: None }
    }
}

/// A [`Store`] whose files an actor provides. Waiting for the actor blocks no thread.
///
/// A client whose question is not answered [in time](Self::within), because the actor is slow,
/// full, stopped or has panicked, gets no answer, and its next request asks the actor again. An
/// upload, and a transfer that has begun, get ERROR 0. Other clients are not affected.
///
/// After a panic, a permanent actor of a tree
/// ([`Builder::start_child`](crate::daemon::Builder::start_child)) pauses before it restarts.
/// Questions do not wait for a pause of 50 ms or more.
///
/// An actor has at most 65,536 open files of one store, including those whose [`CloseFile`] it has
/// not handled. Beyond that the store refuses clients as busy.
///
/// ```
/// use std::collections::HashMap;
/// use actix::prelude::*;
/// use bytes::Bytes;
/// use stagecoach::Stagecoach;
/// use stagecoach::error::{Failure, Fault};
/// use stagecoach::extend::{ActorStore, CloseFile, FetchSlab, FileId, OpenFile, OpenedFile};
/// use stagecoach::store::Slab;
///
/// /// Under every name there is the name itself.
/// #[derive(Default)]
/// struct Echo(HashMap<FileId, Bytes>);
///
/// impl Actor for Echo {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<OpenFile> for Echo {
///     type Result = Result<OpenedFile, Fault>;
///
///     fn handle(&mut self, OpenFile { file, name, .. }: OpenFile, _: &mut Self::Context) -> Self::Result {
///         let octets = Bytes::from(name.to_string());
///         let opened = OpenedFile::new(Some(octets.len() as u64), format!("echo:{name}"));
///         self.0.insert(file, octets);
///         Ok(opened)
///     }
/// }
///
/// impl Handler<FetchSlab> for Echo {
///     type Result = Result<Slab, Fault>;
///
///     fn handle(&mut self, fetch: FetchSlab, _: &mut Self::Context) -> Self::Result {
///         let octets = self.0.get(&fetch.file).ok_or(Failure::Internal)?;
///         let start = octets.len().min(fetch.offset as usize);
///         let stop = octets.len().min(start + fetch.length);
///         Ok(Slab::new(octets.slice(start..stop), stop == octets.len()))
///     }
/// }
///
/// impl Handler<CloseFile> for Echo {
///     type Result = ();
///
///     fn handle(&mut self, CloseFile { file, .. }: CloseFile, _: &mut Self::Context) {
///         self.0.remove(&file);
///     }
/// }
///
/// # System::new().block_on(async {
/// let builder = Stagecoach::builder().store(ActorStore::for_reading(&Echo::default().start()));
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct ActorStore {
    open: Recipient<OpenFile>,
    fetch: Recipient<FetchSlab>,
    close: Recipient<CloseFile>,
    writing: Option<Writing>,
    waiting: Waiting,
    places: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
struct Writing {
    create: Recipient<CreateFile>,
    append: Recipient<AppendSlab>,
    publish: Recipient<PublishFile>,
}

impl ActorStore {
    /// Creates a store that refuses uploads.
    #[must_use]
    pub fn for_reading<A>(actor: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<OpenFile> + Handler<FetchSlab> + Handler<CloseFile>,
    {
        let open = actor.clone().recipient();
        let pauses = Pauses::of(&open);
        Self {
            open,
            fetch: actor.clone().recipient(),
            close: actor.clone().recipient(),
            writing: None,
            waiting: Waiting { within: limits::READ_WITHIN, pauses },
            places: Arc::new(Semaphore::new(limits::ACTOR_FILES_MAX)),
        }
    }

    /// Creates a store that accepts uploads.
    #[must_use]
    pub fn new<A>(actor: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<OpenFile>
            + Handler<FetchSlab>
            + Handler<CloseFile>
            + Handler<CreateFile>
            + Handler<AppendSlab>
            + Handler<PublishFile>,
    {
        let writing = Writing {
            create: actor.clone().recipient(),
            append: actor.clone().recipient(),
            publish: actor.clone().recipient(),
        };
        Self { writing: Some(writing), ..Self::for_reading(actor) }
    }

    /// Sets how long the actor may take to answer. The default of 30 seconds is also the maximum.
    /// Publishing a file may always take five minutes.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        let waiting = Waiting { within: time.min(limits::READ_WITHIN), ..self.waiting };
        Self { waiting, ..self }
    }

    async fn ask_to_open(self, name: Name) -> Result<Arc<dyn Source>, Fault> {
        let mut entry = self.enter()?;
        let question = OpenFile { file: entry.file, name };
        let OpenedFile { size, path } = entry.answer(&self.open, question, self.waiting.clone()).await?;
        Ok(Arc::new(ActorSource { entry, size, path, fetch: self.fetch, waiting: self.waiting }))
    }

    /// Reserves a place for a file.
    fn enter(&self) -> Result<Entry, Fault> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| {
            let detail = "the store's actor has too many files open";
            Fault::limited(Failure::Busy, Limit::ActorFiles, detail)
        })?;
        Ok(Entry { file: FileId::next(), close: self.close.clone(), place: Some(place) })
    }
}

impl Store for ActorStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        runtime()?.block_on(self.clone().ask_to_open(name.clone()))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        Some(Box::pin(self.clone().ask_to_open(name.clone())))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let writing = self.writing.clone().ok_or(Failure::ReadOnly)?;
        let mut entry = self.enter()?;
        let question = CreateFile { file: entry.file, name: name.clone(), claimed };
        let CreatedFile { path } =
            runtime()?.block_on(entry.answer(&writing.create, question, self.waiting.clone()))?;
        Ok(Box::new(ActorSink { entry, path, writing, waiting: self.waiting.clone() }))
    }
}

/// A file that the actor was asked for. When it is dropped, the actor gets a [`CloseFile`].
#[derive(Debug)]
struct Entry {
    file: FileId,
    close: Recipient<CloseFile>,
    /// `None` if there is nothing to close.
    place: Option<OwnedSemaphorePermit>,
}

impl Entry {
    /// The actor's answer to a request for the file.
    async fn answer<M, T>(&mut self, actor: &Recipient<M>, question: M, waiting: Waiting) -> Result<T, Fault>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        let answer = waiting.answer(actor.send(question)).await?;
        if answer.is_err() {
            self.place = None;
        }
        answer
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // This ignores the mailbox's capacity: without the message, the actor would keep the
            // file forever.
            self.close.do_send(CloseFile { file: self.file, _place: Some(place) });
        }
    }
}

#[derive(Debug)]
struct ActorSource {
    entry: Entry,
    size: Option<u64>,
    path: String,
    fetch: Recipient<FetchSlab>,
    waiting: Waiting,
}

impl Source for ActorSource {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.waiting.clone().wait(&self.fetch, FetchSlab { file: self.entry.file, offset, length })
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let asking = self.fetch.send(FetchSlab { file: self.entry.file, offset, length });
        let waiting = self.waiting.clone();
        Some(Box::pin(async move { waiting.answer(asking).await? }))
    }

    /// Dropping only sends a message.
    fn drops_at_once(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct ActorSink {
    entry: Entry,
    path: String,
    writing: Writing,
    waiting: Waiting,
}

impl Sink for ActorSink {
    fn path(&self) -> &str {
        &self.path
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let question = AppendSlab { file: self.entry.file, octets: Bytes::copy_from_slice(octets) };
        self.waiting.clone().wait(&self.writing.append, question)
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        let waiting = Waiting { within: limits::PUBLISH_WITHIN, ..self.waiting };
        waiting.wait(&self.writing.publish, PublishFile(self.entry.file))?;
        // A published file must not be closed.
        self.entry.place = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
