//! The actor that writes a file for one session, and makes it appear when all of it is there.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::fut::ready;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use bytes::Bytes;

use super::blocking;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::{Name, Sink, Store};

/// Writes a file for one session. Every call to the store is made by the arbiter's pool of threads, one at a time.
#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<dyn Store>,
    session: Recipient<Written>,
    /// The file, while no job has it.
    sink: HeldSink,
    /// Slabs that no job has taken yet.
    slabs: VecDeque<Bytes>,
    publish: bool,
}

/// Prepares the upload. Answered by [`Written::Created`] or [`Written::Failed`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Create {
    pub(super) name: Name,
    /// The size that the client announced.
    pub(super) claimed: Option<u64>,
}

/// Appends a slab. Answered by [`Written::Stored`] or [`Written::Failed`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Append(pub(super) Bytes);

/// Makes the file appear once all slabs are written. Answered by [`Written::Published`] or [`Written::Failed`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Publish;

/// What a writer answers its session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Written {
    /// The upload may begin.
    Created { path: String },
    /// So many slabs are written.
    Stored(usize),
    /// The file is there.
    Published,
    /// The upload is over, and nothing is left of it.
    Failed(Fault),
}

/// The file being written. To drop it may mean to remove it from a disk, which is nothing for an arbiter's thread.
#[derive(Debug, Default)]
struct HeldSink(Option<Box<dyn Sink>>);

impl Drop for HeldSink {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(sink));
        }
    }
}

impl Writer {
    pub(super) fn new(store: Arc<dyn Store>, session: Recipient<Written>) -> Self {
        Self { store, session, sink: HeldSink::default(), slabs: VecDeque::new(), publish: false }
    }

    fn answer(&self, answer: Written) {
        // At most `SLABS_UNSTORED_MAX` slabs are under way, so there is room; if the session is gone, nobody waits.
        let _ = self.session.try_send(answer);
    }

    /// Starts the next job, if there is work and no job has the file.
    fn work(&mut self, ctx: &mut Context<Self>) {
        if self.slabs.is_empty() && !self.publish {
            return;
        }
        let Some(mut sink) = self.sink.0.take() else { return };
        if self.slabs.is_empty() {
            self.publish = false;
            let publishing = blocking::run(move || sink.publish()).into_actor(self);
            ctx.spawn(publishing.then(|published, writer, _| {
                writer.answer(published.map_or_else(Written::Failed, |()| Written::Published));
                ready(())
            }));
            return;
        }
        let slabs = std::mem::take(&mut self.slabs);
        let count = slabs.len();
        let writing = blocking::run(move || {
            slabs.iter().try_for_each(|slab| sink.write(slab))?;
            Ok(sink)
        });
        ctx.spawn(writing.into_actor(self).then(move |written, writer, ctx| {
            match written {
                Ok(sink) => {
                    writer.sink.0 = Some(sink);
                    writer.answer(Written::Stored(count));
                    writer.work(ctx);
                }
                Err(fault) => writer.answer(Written::Failed(fault)),
            }
            ready(())
        }));
    }
}

impl Actor for Writer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX_SESSION);
    }
}

impl Handler<Create> for Writer {
    type Result = ();

    fn handle(&mut self, Create { name, claimed }: Create, ctx: &mut Self::Context) {
        let store = Arc::clone(&self.store);
        let creating = blocking::run(move || store.create(&name, claimed)).into_actor(self);
        ctx.spawn(creating.then(|created, writer, _| {
            let answer = created.map(|sink| {
                let path = sink.path().to_owned();
                writer.sink.0 = Some(sink);
                Written::Created { path }
            });
            writer.answer(answer.unwrap_or_else(Written::Failed));
            ready(())
        }));
    }
}

impl Handler<Append> for Writer {
    type Result = ();

    fn handle(&mut self, Append(slab): Append, ctx: &mut Self::Context) {
        if self.slabs.len() > limits::SLABS_UNSTORED_MAX {
            return self.answer(Written::Failed(Failure::Internal.into()));
        }
        self.slabs.push_back(slab);
        self.work(ctx);
    }
}

impl Handler<Publish> for Writer {
    type Result = ();

    fn handle(&mut self, _: Publish, ctx: &mut Self::Context) {
        self.publish = true;
        self.work(ctx);
    }
}
