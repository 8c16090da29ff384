//! A store that is an actor.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::{Later, Name, Sink, Slab, Source, Store};

/// What an actor calls a file that it has opened or created: any number, as long as no two that are in use are the same.
pub type FileId = u64;

/// Opens a file to be read.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<OpenedFile, Fault>")]
pub struct OpenFile(pub Name);

/// A file that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedFile {
    /// What [`FetchSlab`] and [`CloseFile`] will call it.
    pub file: FileId,
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

/// Nobody reads the file any more; or nobody writes it, and nothing of it is to be left.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseFile(pub FileId);

/// Prepares an upload, as [`Store::create`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<CreatedFile, Fault>")]
pub struct CreateFile {
    /// The name.
    pub name: Name,
    /// The size that the client announced.
    pub claimed: Option<u64>,
}

/// A file that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedFile {
    /// What [`AppendSlab`], [`PublishFile`] and [`CloseFile`] will call it.
    pub file: FileId,
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

/// Makes the file appear, as [`Sink::publish`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), Fault>")]
pub struct PublishFile(pub FileId);

/// A [`Store`] that asks an actor. No thread waits for what it reads; a client whose question isn't answered within [`limits::READ_WITHIN`] or [`limits::WRITE_WITHIN`], because the actor is slow,
/// full, stopped or panicked, gets ERROR 0, and nobody else notices.
#[derive(Debug, Clone)]
pub struct ActorStore {
    open: Recipient<OpenFile>,
    fetch: Recipient<FetchSlab>,
    close: Recipient<CloseFile>,
    writing: Option<Writing>,
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
        Self {
            open: actor.clone().recipient(),
            fetch: actor.clone().recipient(),
            close: actor.clone().recipient(),
            writing: None,
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
}

impl Store for ActorStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let OpenedFile { file, size, path } = wait(&self.open, OpenFile(name.clone()), limits::READ_WITHIN)?;
        Ok(self.source(file, size, path))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let (store, asking) = (self.clone(), self.open.send(OpenFile(name.clone())));
        Some(Box::pin(async move {
            let OpenedFile { file, size, path } = asking.await.map_err(no_answer)??;
            Ok(store.source(file, size, path))
        }))
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let writing = self.writing.as_ref().ok_or(Failure::ReadOnly)?;
        let question = CreateFile { name: name.clone(), claimed };
        let CreatedFile { file, path } = wait(&writing.create, question, limits::WRITE_WITHIN)?;
        let open = Open { file: Some(file), close: self.close.clone() };
        Ok(Box::new(ActorSink { open, path, writing: writing.clone() }))
    }
}

impl ActorStore {
    fn source(&self, file: FileId, size: Option<u64>, path: String) -> Arc<dyn Source> {
        let open = Open { file: Some(file), close: self.close.clone() };
        Arc::new(ActorSource { open, size, path, fetch: self.fetch.clone() })
    }
}

/// Tells the actor when a file is not wanted any more.
#[derive(Debug)]
struct Open {
    file: Option<FileId>,
    close: Recipient<CloseFile>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Whatever its mailbox: an actor that isn't told would keep the file for ever.
            self.close.do_send(CloseFile(file));
        }
    }
}

#[derive(Debug)]
struct ActorSource {
    open: Open,
    size: Option<u64>,
    path: String,
    fetch: Recipient<FetchSlab>,
}

impl ActorSource {
    fn question(&self, offset: u64, length: usize) -> FetchSlab {
        FetchSlab { file: self.open.file.unwrap_or_default(), offset, length }
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
        wait(&self.fetch, self.question(offset, length), limits::READ_WITHIN)
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let asking = self.fetch.send(self.question(offset, length));
        Some(Box::pin(async move { asking.await.map_err(no_answer)? }))
    }
}

#[derive(Debug)]
struct ActorSink {
    open: Open,
    path: String,
    writing: Writing,
}

impl Sink for ActorSink {
    fn path(&self) -> &str {
        &self.path
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let file = self.open.file.unwrap_or_default();
        let question = AppendSlab { file, octets: Bytes::copy_from_slice(octets) };
        wait(&self.writing.append, question, limits::WRITE_WITHIN)
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        let file = self.open.file.unwrap_or_default();
        wait(&self.writing.publish, PublishFile(file), limits::PUBLISH_WITHIN)?;
        // What is published is not to be taken back.
        self.open.file = None;
        Ok(())
    }
}

/// Waits for an answer, on a thread that may.
fn wait<M, T>(actor: &Recipient<M>, question: M, within: Duration) -> Result<T, Fault>
where
    M: Message<Result = Result<T, Fault>> + Send + 'static,
    T: Send + 'static,
{
    let runtime = Handle::try_current().map_err(no_answer)?;
    let asking = actor.send(question);
    runtime.block_on(async { timeout(within, asking).await }).map_err(no_answer)?.map_err(no_answer)?
}

fn no_answer(error: impl std::fmt::Display) -> Fault {
    Fault::new(Failure::Internal, format_args!("the store's actor did not answer: {error}"))
}
