//! The actor that has the file of one upload written and published.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::job::Job;
use super::upload::Upload;
use crate::chaos::Part;
use crate::engine::files::store_caller::StoreCaller;
use crate::limits;

/// Starts the jobs of an upload in the thread pool of its arbiter, and enforces the time limits of
/// the store.
///
/// The [`Upload`] holds all progress, and its jobs report there. A writer that ends loses nothing,
/// and the next one continues, on any arbiter.
#[derive(Debug)]
pub(crate) struct Writer {
    caller: StoreCaller,
    upload: Arc<Upload>,
    /// Number of this writer among those of the upload, once started.
    number: u64,
    /// A [`Watch`] is scheduled.
    watching: bool,
    chaos: Part,
}

/// The upload has work to do.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Work;

/// The session has ended, and this writer is no longer needed. Another writer may have taken over
/// the upload.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Dismissed;

/// The next progress of the current job is due.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Watch;

impl Writer {
    pub(crate) fn new(caller: StoreCaller, upload: Arc<Upload>, chaos: Part) -> Self {
        Self { caller, upload, number: 0, watching: false, chaos }
    }

    /// Starts a job, if there is work and no job runs.
    fn work(&mut self, ctx: &mut Context<Self>) {
        // An actor that ends with its arbiter may be outside of the runtime. Its successor does the
        // work then.
        let Ok(runtime) = Handle::try_current() else { return };
        if let Some(job) = Job::begin(&self.caller, &self.upload, self.number) {
            runtime.spawn_blocking(move || job.run());
        }
        self.watch(ctx);
    }

    /// Schedules a [`Watch`] for the time limit of the current job.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        if self.watching {
            return;
        }
        if let Some(due) = self.upload.due() {
            self.watching = true;
            ctx.notify_later(Watch, due.saturating_duration_since(Instant::now()));
        }
    }
}

impl Actor for Writer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.chaos.started(ctx);
        ctx.set_mailbox_capacity(limits::MAILBOX_SESSION);
        self.number = self.upload.next_writer();
        self.work(ctx);
    }
}

impl Handler<Work> for Writer {
    type Result = ();

    fn handle(&mut self, _: Work, ctx: &mut Self::Context) {
        self.chaos.at("handle", ctx);
        self.work(ctx);
    }
}

impl Handler<Dismissed> for Writer {
    type Result = ();

    fn handle(&mut self, _: Dismissed, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Watch> for Writer {
    type Result = ();

    fn handle(&mut self, _: Watch, ctx: &mut Self::Context) {
        self.chaos.at("scheduled", ctx);
        self.watching = false;
        self.upload.close_if_overdue();
        self.watch(ctx);
    }
}

#[cfg(test)]
mod tests;
