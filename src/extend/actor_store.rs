//! A store that is an actor.

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

/// The number of a file that an actor has open, chosen by the server: no two files of a process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl FileId {
    /// (Of the process, not of the store: stores may share an actor.)
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Opens a file to be read. Unless that is refused, a [`CloseFile`] follows in any case.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<OpenedFile, Fault>")]
pub struct OpenFile {
    /// What it will be called.
    pub file: FileId,
    /// The name.
    pub name: Name,
}

/// A file that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedFile {
    /// Octets, if that is known.
    pub size: Option<u64>,
    /// What the log calls it.
    pub path: String,
}

/// Reads up to `length` octets at `offset`: fewer only at the end, which [`Slab::end`] tells.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Slab, Fault>")]
pub struct FetchSlab {
    /// The file.
    pub file: FileId,
    /// From where on.
    pub offset: u64,
    /// How many at most.
    pub length: usize,
}

/// Prepares an upload, as [`Store::create`]. Unless that is refused, a [`PublishFile`] or a
/// [`CloseFile`] follows. After a [`PublishFile`] that succeeded no [`CloseFile`] follows; after one
/// that failed it does.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<CreatedFile, Fault>")]
pub struct CreateFile {
    /// What it will be called.
    pub file: FileId,
    /// The name.
    pub name: Name,
    /// The size that the client announced.
    pub claimed: Option<u64>,
}

/// A file that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedFile {
    /// What the log calls it.
    pub path: String,
}

/// Appends octets to it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), Fault>")]
pub struct AppendSlab {
    /// The file.
    pub file: FileId,
    /// The octets.
    pub octets: Bytes,
}

/// Makes the file appear, as [`Sink::publish`]. After a [`PublishFile`] that succeeded no
/// [`CloseFile`] follows; after one that failed, or was not answered in time, it does.
/// Of an upload that isn't whole the actor keeps nothing, also with
/// [`OnAbort::Keep`](crate::transfer::OnAbort::Keep): it is sent a [`CloseFile`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), Fault>")]
pub struct PublishFile(pub FileId);

/// Nobody reads the file any more; or nobody writes it, and nothing of it is to be left. After a
/// [`PublishFile`] that succeeded no [`CloseFile`] follows; after one that failed it does.
///
/// It may be one that the actor doesn't know: its client has given up while the actor was opening it. Who takes its time to open a file remembers its number before, and looks
/// afterwards whether it is still wanted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CloseFile {
    /// The file.
    pub file: FileId,
    /// Another may be opened once this has been read.
    _place: Option<OwnedSemaphorePermit>,
}

impl CloseFile {
    /// For tests of an actor.
    #[must_use]
    pub fn new(file: FileId) -> Self {
        Self { file, _place: None }
    }
}

/// A [`Store`] that asks an actor. No thread waits for what it reads. A client whose question isn't
/// answered [in time](Self::within), because the actor is slow, full, stopped or panicked, is left
/// without an answer, and its next request asks again; an upload, and a transfer that has begun,
/// gets ERROR 0. Nobody else notices. A permanent actor of a tree
/// ([`Builder::start_child`](crate::daemon::Builder::start_child)) that has panicked is not waited
/// for while it [pauses](limits::RESTART_PAUSE) before it starts again, unless that takes less than
/// 50 ms ([`limits::EXTENSION_RESTART_WITHIN`]). Of one store an actor has 65,536 files
/// ([`limits::ACTOR_FILES_MAX`]) to care for at most, those included whose [`CloseFile`] it hasn't
/// read: beyond that there is none for a client either, since the server is busy.
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
///     fn handle(&mut self, OpenFile { file, name }: OpenFile, _: &mut Self::Context) -> Self::Result {
///         let octets = Bytes::from(name.to_string());
///         let opened = OpenedFile { size: Some(octets.len() as u64), path: format!("echo:{name}") };
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
///         Ok(Slab { bytes: octets.slice(start..stop), end: stop == octets.len() })
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
    /// A store that takes no uploads.
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

    /// A store that takes them too.
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

    /// The actor may take so long for an answer; 30 seconds ([`limits::READ_WITHIN`]) at most,
    /// which is also what it has unless this says otherwise. (To publish a file it has five
    /// minutes, [`limits::PUBLISH_WITHIN`].)
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

    /// A file that is to be opened.
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

/// A file that the actor has been asked for. It is told when nobody wants it any more.
#[derive(Debug)]
struct Entry {
    file: FileId,
    close: Recipient<CloseFile>,
    /// `None`: there is nothing to be closed.
    place: Option<OwnedSemaphorePermit>,
}

impl Entry {
    /// The actor's answer whether there is to be such a file.
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
            // Whatever its mailbox: an actor that isn't told would keep the file for ever.
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

    /// The actor is sent a message.
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
        // What is published is not to be taken back.
        self.entry.place = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
