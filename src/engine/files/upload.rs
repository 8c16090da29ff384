//! The state of an upload, held outside of any actor.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::source_handle::drop_in_pool;
use crate::engine::lock;
use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::{Name, Sink};

/// An upload: the requests of its sessions, the progress of its jobs, and the file. It outlives
/// every session and writer: one that replaces another misses no progress, sees none twice, and
/// finds all slabs that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Upload(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The name, and the announced size.
    wanted: Option<(Name, Option<u64>)>,
    /// Slabs that no job has taken.
    slabs: VecDeque<Bytes>,
    appended: u64,
    publication: Publication,
    /// The path of the file, once the upload may begin.
    created: Option<String>,
    /// The path of a kept partial upload.
    kept: Option<String>,
    stored: u64,
    /// The written slabs that the session knows of.
    known_stored: u64,
    /// Why the upload failed. Nothing of the file is left.
    fault: Option<Fault>,
    /// The file, while no job runs.
    sink: Option<Box<dyn Sink>>,
    job: Option<CurrentJob>,
    jobs: u64,
    /// Number of writers so far. Only the last one starts jobs.
    writers: u64,
    session: Option<SessionAddr>,
}

/// How much of a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// The part that arrived before the sender stopped.
    Partial,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Publication {
    #[default]
    NotAsked,
    Asked(Extent),
    Begun,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct CurrentJob {
    number: u64,
    /// A job without a thread may wait for ever, in the pool of an arbiter that ended.
    runs: bool,
    /// When the next progress is due.
    due: Instant,
    /// The time limit of the current step.
    within: Duration,
}

#[derive(Debug)]
pub(crate) enum Step {
    Create { name: Name, claimed: Option<u64> },
    Write(VecDeque<Bytes>),
    Publish(Extent),
}

/// The part for sessions.
impl Upload {
    pub(crate) fn set_session(&self, session: SessionAddr) {
        self.state().session = Some(session);
    }

    /// Requests the file, once. `claimed` is the size that the client announced.
    pub(crate) fn create(&self, name: &Name, claimed: Option<u64>) {
        self.state().wanted.get_or_insert_with(|| (name.clone(), claimed));
    }

    /// Appends a slab. `true` if the writer must be notified.
    pub(crate) fn append(&self, slab: Bytes) -> bool {
        let mut state = self.state();
        if state.fault.is_some() {
            return false;
        }
        if state.slabs.len() > limits::SLABS_WAITING_MAX {
            drop(state);
            self.close(Failure::Internal.into());
            return false;
        }
        state.slabs.push_back(slab);
        state.appended += 1;
        state.job.is_none()
    }

    /// Requests that the file is published once all slabs are written. Only the first request
    /// counts. `true` if the writer must be notified.
    pub(crate) fn publish(&self, extent: Extent) -> bool {
        let mut state = self.state();
        if state.publication == Publication::NotAsked {
            state.publication = Publication::Asked(extent);
        }
        state.job.is_none() && state.has_work()
    }

    pub(crate) fn created(&self) -> Option<String> {
        self.state().created.clone()
    }

    pub(crate) fn kept(&self) -> Option<String> {
        self.state().kept.clone()
    }

    /// How many slabs are written, and whether the file is published.
    pub(crate) fn done(&self) -> (u64, bool) {
        let mut state = self.state();
        state.known_stored = state.stored;
        (state.stored, state.publication == Publication::Done)
    }

    /// Whether slabs were written since the last call of [`done`](Self::done).
    pub(crate) fn has_stored(&self) -> bool {
        let state = self.state();
        state.stored > state.known_stored
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state().fault.clone()
    }

    /// Ends the upload with `fault`, unless it is published or has failed already. No further step
    /// begins, and the file is removed: at once, or when the running job looks at the state next. A
    /// publication that the store has begun may still complete.
    pub(crate) fn close(&self, fault: Fault) {
        let mut state = self.state();
        if state.publication == Publication::Done || state.fault.is_some() {
            return;
        }
        state.fault = Some(fault);
        state.slabs.clear();
        let sink = state.sink.take();
        state.notify_session();
        drop(state);
        if let Some(sink) = sink {
            // Dropping the sink may delete a file.
            drop_in_pool(sink);
        }
    }
}

/// The part for writers.
impl Upload {
    /// A number for a writer, which starts the jobs from now on. A running job continues; one that
    /// waits for a thread never runs.
    pub(crate) fn next_writer(&self) -> u64 {
        let mut state = self.state();
        state.job = state.job.filter(|job| job.runs);
        state.writers += 1;
        state.writers
    }

    /// A number for a job, if there is work, no job runs, and `writer` is the current writer.
    pub(crate) fn begin(&self, writer: u64) -> Option<u64> {
        let mut state = self.state();
        if writer != state.writers || state.job.is_some() || !state.has_work() {
            return None;
        }
        state.jobs += 1;
        let number = state.jobs;
        // The wait for a thread counts, because threads that hang may occupy the whole pool.
        state.job = Some(CurrentJob { runs: false, ..CurrentJob::within(number, limits::WRITE_WITHIN) });
        Some(number)
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let state = self.state();
        state.job.filter(|_| state.fault.is_none()).map(|job| job.due)
    }

    pub(crate) fn close_if_overdue(&self) {
        let job = self.state().job;
        if let Some(CurrentJob { within, .. }) = job.filter(|job| job.due <= Instant::now()) {
            self.close(Fault::new(Failure::Io, format_args!("no answer within {within:?}")));
        }
    }
}

/// The part for jobs.
impl Upload {
    /// The next step of `job`, with the file in `sink`. `None` ends the job: the upload takes the
    /// file back, or, if it is closed, leaves it in `sink` to be dropped.
    pub(crate) fn next_step(&self, job: u64, sink: &mut Option<Box<dyn Sink>>) -> Option<Step> {
        let mut state = self.state();
        state.job.take_if(|current| current.number == job)?;
        if state.fault.is_some() {
            return None;
        }
        *sink = sink.take().or_else(|| state.sink.take());
        let Some(step) = state.take_step() else {
            state.sink = sink.take();
            return None;
        };
        let is_last = matches!(step, Step::Publish(_));
        let within = if is_last { limits::PUBLISH_WITHIN } else { limits::WRITE_WITHIN };
        state.job = Some(CurrentJob::within(job, within));
        Some(step)
    }

    pub(crate) fn note_created(&self, path: String) {
        self.note(|state| state.created = Some(path));
    }

    /// Counts written slabs. The session checks the count itself whenever it receives blocks, so it
    /// is notified only if it may be holding back an ACK for [`limits::SLABS_UNSTORED_MAX`] slabs.
    pub(crate) fn note_stored(&self, slabs: u64) {
        let mut state = self.state();
        if state.fault.is_none() {
            state.stored += slabs;
            if state.appended - state.known_stored >= limits::SLABS_UNSTORED_MAX as u64 {
                state.notify_session();
            }
        }
    }

    pub(crate) fn note_published(&self, kept: Option<String>) {
        self.note(|state| (state.publication, state.kept) = (Publication::Done, kept));
    }

    fn note(&self, news: impl FnOnce(&mut State)) {
        let mut state = self.state();
        if state.fault.is_none() {
            news(&mut state);
            state.notify_session();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    fn has_work(&self) -> bool {
        let is_unasked = self.slabs.is_empty() && !matches!(self.publication, Publication::Asked(_));
        let is_created = self.created.is_some() || self.wanted.is_none();
        self.fault.is_none() && !(is_created && is_unasked)
    }

    fn take_step(&mut self) -> Option<Step> {
        if self.created.is_none() {
            return self.wanted.clone().map(|(name, claimed)| Step::Create { name, claimed });
        }
        if !self.slabs.is_empty() {
            return Some(Step::Write(std::mem::take(&mut self.slabs)));
        }
        let Publication::Asked(extent) = self.publication else { return None };
        self.publication = Publication::Begun;
        Some(Step::Publish(extent))
    }

    fn notify_session(&self) {
        if let Some(session) = &self.session {
            // Not `try_send`, because the session may wait for nothing else. There is one for each
            // message of the session.
            session.messages.do_send(SessionMessage::Written);
        }
    }
}

impl CurrentJob {
    fn within(number: u64, within: Duration) -> Self {
        Self { number, runs: true, due: Instant::now() + within, within }
    }
}
