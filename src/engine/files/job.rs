//! What a thread that may wait does for an upload.

use std::sync::Arc;

use crate::engine::files::store_caller::StoreCaller;
use crate::engine::files::upload::{Extent, Step, Upload};
use crate::error::{Failure, Fault};
use crate::store::Sink;

/// Does all that there is to do for an upload, whatever becomes of the writer that began it. There is one at a time.
#[derive(Debug)]
pub(crate) struct Job {
    caller: StoreCaller,
    upload: Arc<Upload>,
    /// The file, while the job is at work.
    sink: Option<Box<dyn Sink>>,
    number: u64,
}

impl Job {
    /// A job, if there is work, no other job is at it, and this `writer` has to see to it.
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
            // The upload is closed: whatever goes wrong here, nobody waits for it.
            let _ = self.caller.call(move |_| {
                drop(sink);
                Ok(())
            });
        }
    }

    fn take(&mut self, step: Step) -> Result<(), Fault> {
        // (A step that needs the file is never given to a job that hasn't got it.)
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
                    // The file stays outside of what may panic: it is not dropped while unwinding.
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
