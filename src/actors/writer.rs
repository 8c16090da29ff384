//! The actor that writes a file for one transfer, and makes it appear when all of it is there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::fut::ready;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use bytes::Bytes;

use super::blocking;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::{Name, Sink, Store};

/// Writes a file for one transfer, whose sessions may change. Every call to the store is made by the arbiter's pool of threads, one at a time.
#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<dyn Store>,
    ledger: Arc<Ledger>,
    /// The file, while no job has it.
    sink: HeldSink,
    /// Slabs that no job has taken yet.
    slabs: VecDeque<Bytes>,
    publish: bool,
}

/// Prepares the upload. [`Ledger::created`] tells when it is done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Create {
    pub(super) name: Name,
    /// The size that the client announced.
    pub(super) claimed: Option<u64>,
}

/// Appends a slab. [`Ledger::done`] tells when it is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Append(pub(super) Bytes);

/// Makes the file appear once all slabs are written. [`Ledger::done`] tells when it is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Publish;

/// There is news in the ledger.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Written;

/// What a writer has done so far. It stands here, outside of any actor, so that a session that takes another's place misses nothing and
/// takes in nothing twice.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Path of the file, once the upload may begin.
    created: Option<String>,
    /// Slabs that are written.
    stored: u64,
    /// The file is there.
    published: bool,
    /// The upload is over, and nothing is left of it.
    fault: Option<Fault>,
    /// Who wants to know.
    session: Option<Recipient<Written>>,
}

impl Ledger {
    /// News go to `session` from now on.
    pub(super) fn set_session(&self, session: Recipient<Written>) {
        self.entries().session = Some(session);
    }

    /// Path of the file, once the upload may begin.
    pub(super) fn created(&self) -> Option<String> {
        self.entries().created.clone()
    }

    /// How many slabs are written, and whether the file is there.
    pub(super) fn done(&self) -> (u64, bool) {
        let entries = self.entries();
        (entries.stored, entries.published)
    }

    /// Why the upload is over.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.entries().fault.clone()
    }

    /// The upload is over.
    pub(super) fn close(&self, fault: Fault) {
        self.fail(fault);
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.note(|entries| entries.fault = Some(fault));
    }

    fn note(&self, news: impl FnOnce(&mut Entries)) {
        let mut entries = self.entries();
        news(&mut entries);
        if let Some(session) = &entries.session {
            // Not `try_send`: the session may wait for nothing else. There are few of them, one for each message of the session.
            session.do_send(Written);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    pub(super) fn new(store: Arc<dyn Store>, ledger: Arc<Ledger>) -> Self {
        Self { store, ledger, sink: HeldSink::default(), slabs: VecDeque::new(), publish: false }
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
                writer.ledger.note(|entries| match published {
                    Ok(()) => entries.published = true,
                    Err(fault) => entries.fault = Some(fault),
                });
                ready(())
            }));
            return;
        }
        let slabs = std::mem::take(&mut self.slabs);
        let count = slabs.len() as u64;
        let writing = blocking::run(move || {
            slabs.iter().try_for_each(|slab| sink.write(slab))?;
            Ok(sink)
        });
        ctx.spawn(writing.into_actor(self).then(move |written, writer, ctx| {
            match written {
                Ok(sink) => {
                    writer.sink.0 = Some(sink);
                    writer.ledger.note(|entries| entries.stored += count);
                    writer.work(ctx);
                }
                Err(fault) => writer.ledger.fail(fault),
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
            match created {
                Ok(sink) => {
                    let path = sink.path().to_owned();
                    writer.sink.0 = Some(sink);
                    writer.ledger.note(|entries| entries.created = Some(path));
                }
                Err(fault) => writer.ledger.fail(fault),
            }
            ready(())
        }));
    }
}

impl Handler<Append> for Writer {
    type Result = ();

    fn handle(&mut self, Append(slab): Append, ctx: &mut Self::Context) {
        if self.slabs.len() > limits::SLABS_UNSTORED_MAX {
            return self.ledger.fail(Failure::Internal.into());
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
