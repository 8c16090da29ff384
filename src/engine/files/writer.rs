//! The actor that has a file written for one transfer, and made to appear when all of it is there.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::job::Job;
use super::upload::Upload;
use crate::chaos::Part;
use crate::engine::files::store_caller::StoreCaller;
use crate::limits;

/// Sees to it that an upload is worked on, by the pool of threads of the writer's arbiter, and that no call to the store takes too long.
///
/// All that the upload needs to go on stands in the [`Upload`], and its jobs report there: a writer that is gone has lost nothing, and
/// the next one, on whatever arbiter, takes up what is there.
#[derive(Debug)]
pub(crate) struct Writer {
    caller: StoreCaller,
    upload: Arc<Upload>,
    /// Its number among those of the upload, once it has started.
    number: u64,
    /// A [`Watch`] is under way.
    watching: bool,
    chaos: Part,
}

/// There is something to be done for the upload.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Work;

/// The session is gone, and so is the need for this writer. Another one may be at the upload.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Dismissed;

/// The moment has come at which the job that was at work should have got on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Watch;

impl Writer {
    pub(crate) fn new(caller: StoreCaller, upload: Arc<Upload>, chaos: Part) -> Self {
        Self { caller, upload, number: 0, watching: false, chaos }
    }

    /// Begins a job, if there is work and nobody is at it.
    fn work(&mut self, ctx: &mut Context<Self>) {
        // An actor that ends with its arbiter may be outside of the runtime. Its successor does the work.
        let Ok(runtime) = Handle::try_current() else { return };
        if let Some(job) = Job::begin(&self.caller, &self.upload, self.number) {
            runtime.spawn_blocking(move || job.run());
        }
        self.watch(ctx);
    }

    /// Sees to it that a message comes when the job at work is overdue, or earlier.
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
