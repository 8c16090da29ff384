//! The blocking work of an upload, done by a thread that may block.

use std::sync::Arc;

use crate::engine::files::store_caller::StoreCaller;
use crate::engine::files::upload::{Extent, Step, Upload};
use crate::error::{Failure, Fault};
use crate::store::Sink;

/// Does all pending work of an upload, whatever happens to the writer that started the job. One job
/// runs at a time.
#[derive(Debug)]
pub(crate) struct Job {
    caller: StoreCaller,
    upload: Arc<Upload>,
    /// The file, while the job runs.
    sink: Option<Box<dyn Sink>>,
    number: u64,
}

impl Job {
    /// A job, if there is work, no other job runs, and `writer` is the current writer.
    pub(crate) fn begin(caller: &StoreCaller, upload: &Arc<Upload>, writer: u64) -> Option<Self> {
        let number = upload.begin(writer)?;
        Some(Self { caller: caller.clone(), upload: Arc::clone(upload), sink: None, number })
    }

    pub(crate) fn run(mut self) {
        while let Some(step) = self.upload.next_step(self.number, &mut self.sink) {
            if let Err(fault) = self.take(step) {
                self.upload.close(fault);
            }
        }
        if let Some(sink) = self.sink.take() {
            // The upload is closed, so nobody waits for the result.
            let _ = self.caller.call(move |_| {
                drop(sink);
                Ok(())
            });
        }
    }

    fn take(&mut self, step: Step) -> Result<(), Fault> {
        // A step that needs the file is given only to a job that has the file.
        let missing = Failure::Internal;
        match step {
            Step::Create { name, claimed } => {
                let sink = self.caller.call(|store| {
                    self.caller.seam.at("create");
                    store.create(&name, claimed)
                })?;
                let sink = self.sink.insert(sink);
                let path = self.caller.call(|_| Ok(sink.path().to_owned()))?;
                self.upload.note_created(path);
            }
            Step::Write(slabs) => {
                let sink = self.sink.as_mut().ok_or(missing)?;
                for slab in &slabs {
                    if self.upload.fault().is_some() {
                        return Ok(());
                    }
                    // The sink stays outside of the closure, so that a panic doesn't drop it while
                    // unwinding.
                    self.caller.call(|_| {
                        self.caller.seam.at("write");
                        sink.write(slab)
                    })?;
                }
                self.upload.note_stored(slabs.len() as u64);
            }
            Step::Publish(extent) => {
                let sink = self.sink.take().ok_or(missing)?;
                let kept = self.caller.call(|_| {
                    self.caller.seam.at("publish");
                    match extent {
                        Extent::Whole => sink.publish().map(|()| None),
                        Extent::Partial => sink.publish_partial().map(Some),
                    }
                })?;
                self.upload.note_published(kept);
            }
        }
        Ok(())
    }
}
