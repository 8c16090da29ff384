//! The actor that has the file of one upload written and published.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::upload::{Extent, Step, Upload};
use crate::chaos::Part;
use crate::engine::files::StoreCaller;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::Sink;

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
    /// The time limit of the current job is being watched.
    watching: bool,
    chaos: Part,
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum WriterOrder {
    /// The upload has work to do.
    Work,
    /// The session has ended. Another writer may have taken over the upload.
    Stop,
}

impl Writer {
    pub(crate) fn new(caller: StoreCaller, upload: Arc<Upload>, chaos: Part) -> Self {
        Self { caller, upload, number: 0, watching: false, chaos }
    }

    /// Starts a job, if there is work and no job runs.
    fn work(&mut self, ctx: &mut Context<Self>) {
        // An actor that ends with its arbiter may be outside of the runtime. Its successor does the
        // work then.
        let Ok(runtime) = Handle::try_current() else { return };
        if let Some(number) = self.upload.begin(self.number) {
            let (caller, upload) = (self.caller.clone(), Arc::clone(&self.upload));
            runtime.spawn_blocking(move || run_job(&caller, &upload, number));
        }
        self.watch(ctx);
    }

    /// Closes the upload when the current job makes no progress in time.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        if self.watching {
            return;
        }
        let Some(due) = self.upload.due() else { return };
        self.watching = true;
        ctx.run_later(due.saturating_duration_since(Instant::now()), |writer, ctx| {
            writer.chaos.at("scheduled", ctx);
            writer.watching = false;
            writer.upload.close_if_overdue();
            writer.watch(ctx);
        });
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

impl Handler<WriterOrder> for Writer {
    type Result = ();

    fn handle(&mut self, order: WriterOrder, ctx: &mut Self::Context) {
        match order {
            WriterOrder::Work => {
                self.chaos.at("handle", ctx);
                self.work(ctx);
            }
            WriterOrder::Stop => ctx.stop(),
        }
    }
}

/// Does all pending work of an upload on this thread, whatever happens to the writer. One job runs
/// at a time.
fn run_job(caller: &StoreCaller, upload: &Upload, number: u64) {
    let mut sink = None;
    while let Some(step) = upload.next_step(number, &mut sink) {
        if let Err(fault) = take_step(caller, upload, step, &mut sink) {
            upload.close(fault);
        }
    }
    if let Some(sink) = sink {
        // The upload is closed, so nobody waits for the result.
        let _ = caller.call(move |_| {
            drop(sink);
            Ok(())
        });
    }
}

fn take_step(
    caller: &StoreCaller,
    upload: &Upload,
    step: Step,
    sink: &mut Option<Box<dyn Sink>>,
) -> Result<(), Fault> {
    // A step that needs the file is given only to a job that has the file.
    let missing = Failure::Internal;
    match step {
        Step::Create { name, claimed } => {
            let created = caller.call(|store| {
                caller.seam.at("create");
                store.create(&name, claimed)
            })?;
            let sink = sink.insert(created);
            upload.note_created(caller.call(|_| Ok(sink.path().to_owned()))?);
        }
        Step::Write(slabs) => {
            let sink = sink.as_mut().ok_or(missing)?;
            for slab in &slabs {
                if upload.fault().is_some() {
                    return Ok(());
                }
                // The sink stays outside of the closure, so that a panic doesn't drop it while
                // unwinding.
                caller.call(|_| {
                    caller.seam.at("write");
                    sink.write(slab)
                })?;
            }
            upload.note_stored(slabs.len() as u64);
        }
        Step::Publish(extent) => {
            let sink = sink.take().ok_or(missing)?;
            upload.note_published(caller.call(|_| {
                caller.seam.at("publish");
                match extent {
                    Extent::Whole => sink.publish().map(|()| None),
                    Extent::Partial => sink.publish_partial().map(Some),
                }
            })?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
