//! A store behind an actor.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::step::ask;
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::store::{Later, Name, Sink, Slab, Source, Store};

/// The number of an open file, chosen by the server. No two files of a process share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

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
/// [`CloseFile`] follows.
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
/// [`CloseFile`] follows. The actor keeps no incomplete upload, even with
/// [`OnAbort::Keep`](crate::transfer::OnAbort::Keep).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), Fault>")]
pub struct PublishFile(pub FileId);

/// Closes a file. A file that was being written must leave nothing behind. This message follows a
/// failed [`PublishFile`], but not a successful one.
///
/// A client can give up while the actor opens the file. An actor that opens files asynchronously
/// should note the number first, and check afterwards whether the file is still wanted.
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
/// If the actor doesn't answer [in time](Self::within), has stopped or panicked, or is in a
/// [restart pause](crate::extend::Step::asking) of 50 ms or more, a read gets no answer and the
/// client asks again. An upload, and a transfer that has begun, get ERROR 0. Other clients are not
/// affected.
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
    reading: Arc<Reading>,
    /// `None` if the store refuses uploads.
    writing: Option<Arc<Writing>>,
    within: Duration,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Reading {
    open: Recipient<OpenFile>,
    fetch: Recipient<FetchSlab>,
    close: Recipient<CloseFile>,
}

#[derive(Debug)]
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
        let reading = Reading {
            open: actor.clone().recipient(),
            fetch: actor.clone().recipient(),
            close: actor.clone().recipient(),
        };
        let places = Arc::new(Semaphore::new(limits::ACTOR_FILES_MAX));
        Self { reading: Arc::new(reading), writing: None, within: limits::READ_WITHIN, places }
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
        Self { writing: Some(Arc::new(writing)), ..Self::for_reading(actor) }
    }

    /// Sets how long the actor may take to answer. The default of 30 seconds is also the maximum.
    /// Publishing a file may always take five minutes.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { within: time.min(limits::READ_WITHIN), ..self }
    }

    async fn ask_to_open(self, name: Name) -> Result<Arc<dyn Source>, Fault> {
        let mut entry = self.enter()?;
        let question = OpenFile { file: entry.file, name };
        let OpenedFile { size, path } = entry.answer(&self.reading.open, question).await?;
        Ok(Arc::new(ActorSource { entry, size, path }))
    }

    /// Reserves a place for a file.
    fn enter(&self) -> Result<Entry, Fault> {
        // Not a part of the store: stores may share an actor.
        static LAST_FILE: AtomicU64 = AtomicU64::new(0);
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| {
            let detail = "the store's actor has too many files open";
            Fault::limited(Failure::Busy, Limit::ActorFiles, detail)
        })?;
        let file = FileId(LAST_FILE.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(Entry { file, store: self.clone(), place: Some(place) })
    }
}

impl Store for ActorStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        block_on(self.clone().ask_to_open(name.clone()))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        Some(Box::pin(self.clone().ask_to_open(name.clone())))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let writing = self.writing.clone().ok_or(Failure::ReadOnly)?;
        let mut entry = self.enter()?;
        let question = CreateFile { file: entry.file, name: name.clone(), claimed };
        let CreatedFile { path } = block_on(entry.answer(&writing.create, question))?;
        Ok(Box::new(ActorSink { entry, path, writing }))
    }
}

/// A file that the actor was asked for. When it is dropped, the actor gets a [`CloseFile`].
#[derive(Debug)]
struct Entry {
    file: FileId,
    store: ActorStore,
    /// `None` if there is nothing to close.
    place: Option<OwnedSemaphorePermit>,
}

impl Entry {
    /// The actor's answer to a request for the file.
    async fn answer<M, T>(&mut self, actor: &Recipient<M>, question: M) -> Result<T, Fault>
    where
        M: Message<Result = Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        let answer = ask(actor, question, self.store.within).await.map_err(no_answer)?;
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
            self.store.reading.close.do_send(CloseFile { file: self.file, _place: Some(place) });
        }
    }
}

#[derive(Debug)]
struct ActorSource {
    entry: Entry,
    size: Option<u64>,
    path: String,
}

impl ActorSource {
    fn ask(&self, offset: u64, length: usize) -> impl Future<Output = Result<Slab, Fault>> + use<> {
        let Entry { file, store, .. } = &self.entry;
        let asking = ask(&store.reading.fetch, FetchSlab { file: *file, offset, length }, store.within);
        async move { asking.await.map_err(no_answer)? }
    }
}

impl Source for ActorSource {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        block_on(self.ask(offset, length))
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        Some(Box::pin(self.ask(offset, length)))
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
    writing: Arc<Writing>,
}

impl Sink for ActorSink {
    fn path(&self) -> &str {
        &self.path
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let Entry { file, store, .. } = &self.entry;
        let question = AppendSlab { file: *file, octets: Bytes::copy_from_slice(octets) };
        let asking = ask(&self.writing.append, question, store.within);
        block_on(async { asking.await.map_err(no_answer)? })
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        let asking = ask(&self.writing.publish, PublishFile(self.entry.file), limits::PUBLISH_WITHIN);
        block_on(async { asking.await.map_err(no_answer)? })?;
        // A published file must not be closed.
        self.entry.place = None;
        Ok(())
    }
}

fn block_on<T>(asking: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    Handle::try_current().map_err(no_answer)?.block_on(asking)
}

fn no_answer(why: impl Display) -> Fault {
    Fault::new(Failure::Internal, format_args!("the store's actor did not answer: {why}"))
}

#[cfg(test)]
mod tests;
