//! An upload as it stands outside of any actor.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::engine::messages::{SessionAddr, SessionMessage};
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::{Name, Sink};

/// An upload: what its sessions ask for, what its jobs have done so far, and the file itself. So it outlives every session and every
/// writer: one that takes another's place misses nothing, takes in nothing twice, and finds all that isn't written yet.
#[derive(Debug, Default)]
pub(crate) struct Upload(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The name and the size that the client announced.
    wanted: Option<(Name, Option<u64>)>,
    /// Slabs that no job has taken yet.
    slabs: VecDeque<Bytes>,
    /// Slabs so far.
    appended: u64,
    publication: Publication,
    /// Path of the file, once the upload may begin.
    created: Option<String>,
    /// Path of what was kept of an upload that isn't whole.
    kept: Option<String>,
    /// Slabs that are written.
    stored: u64,
    /// Of those, slabs that the session has asked about.
    told: u64,
    /// The upload is over, and nothing is left of it.
    fault: Option<Fault>,
    /// The file, while no job is at work.
    sink: SinkHandle,
    /// The job at work.
    job: Option<AtWork>,
    /// Jobs so far.
    jobs: u64,
    /// Writers so far. The last one begins jobs.
    writers: u64,
    /// Who wants to know.
    session: Option<SessionAddr>,
}

/// How much of a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// What came until the sender stopped.
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
struct AtWork {
    number: u64,
    /// It has a thread. One that hasn't may wait for ever, in the pool of an arbiter that ended.
    runs: bool,
    /// When it should have told of itself,
    due: Instant,
    /// which is so long after it did so last.
    within: Duration,
}

/// What a job does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Creates the file.
    Create { name: Name, claimed: Option<u64> },
    /// Writes to it.
    Write(VecDeque<Bytes>),
    /// Makes it appear.
    Publish(Extent),
}

/// The file being written. To drop it may mean to remove it from a disk, which is nothing for an arbiter's thread.
#[derive(Debug, Default)]
struct SinkHandle(Option<Box<dyn Sink>>);

/// What sessions do.
impl Upload {
    /// News go to `session` from now on.
    pub(crate) fn set_session(&self, session: SessionAddr) {
        self.state().session = Some(session);
    }

    /// Asks for the file, once. `claimed` is the size that the client announced. [`created`](Self::created) tells when it is done.
    pub(crate) fn create(&self, name: &Name, claimed: Option<u64>) {
        self.state().wanted.get_or_insert_with(|| (name.clone(), claimed));
    }

    /// Gives the next octets. [`done`](Self::done) tells when they are written. `true` if a writer has to hear of it.
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

    /// Asks for the file to appear once all slabs are written; to ask again changes nothing. [`done`](Self::done) tells when it is there.
    /// `true` if a writer has to hear of it.
    pub(crate) fn publish(&self, extent: Extent) -> bool {
        let mut state = self.state();
        if state.publication == Publication::NotAsked {
            state.publication = Publication::Asked(extent);
        }
        state.job.is_none() && state.has_work()
    }

    /// Path of the file, once the upload may begin.
    pub(crate) fn created(&self) -> Option<String> {
        self.state().created.clone()
    }

    /// Path of what was kept of the upload, if it isn't whole.
    pub(crate) fn kept(&self) -> Option<String> {
        self.state().kept.clone()
    }

    /// How many slabs are written, and whether the file is there.
    pub(crate) fn done(&self) -> (u64, bool) {
        let mut state = self.state();
        state.told = state.stored;
        (state.stored, state.publication == Publication::Done)
    }

    /// Whether slabs are written that [`done`](Self::done) has not told of yet.
    pub(crate) fn has_stored(&self) -> bool {
        let state = self.state();
        state.stored > state.told
    }

    /// Why the upload is over.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state().fault.clone()
    }

    /// Ends the upload, unless the file is there. Anybody may, from any thread: from now on nothing is begun for it, and nothing is left
    /// of it, at once or when the job that is at work looks again. Only what the store is about to publish may still appear.
    pub(crate) fn close(&self, fault: Fault) {
        let mut state = self.state();
        if state.publication == Publication::Done || state.fault.is_some() {
            return;
        }
        state.fault = Some(fault);
        state.slabs.clear();
        let sink = std::mem::take(&mut state.sink);
        state.tell_session();
        drop(state);
        drop(sink);
    }
}

/// What writers do.
impl Upload {
    /// A number for a writer, which begins the jobs from now on. A job that runs goes on; one that still waits for a thread never will run.
    pub(crate) fn next_writer(&self) -> u64 {
        let mut state = self.state();
        state.job = state.job.filter(|job| job.runs);
        state.writers += 1;
        state.writers
    }

    /// A number for a job, if there is work, nobody is at it, and this `writer` has to see to it.
    pub(crate) fn begin(&self, writer: u64) -> Option<u64> {
        let mut state = self.state();
        if writer != state.writers || state.job.is_some() || !state.has_work() {
            return None;
        }
        state.jobs += 1;
        let number = state.jobs;
        // The wait for a thread counts: threads that hang may have all of the pool.
        state.job = Some(AtWork { runs: false, ..AtWork::within(number, limits::WRITE_WITHIN) });
        Some(number)
    }

    /// When the job at work should have got on.
    pub(crate) fn due(&self) -> Option<Instant> {
        let state = self.state();
        state.job.filter(|_| state.fault.is_none()).map(|job| job.due)
    }

    /// Ends the upload if the store has taken too long.
    pub(crate) fn close_if_overdue(&self) {
        let job = self.state().job;
        if let Some(AtWork { within, .. }) = job.filter(|job| job.due <= Instant::now()) {
            self.close(Fault::new(Failure::Io, format_args!("no answer within {within:?}")));
        }
    }
}

/// What jobs do.
impl Upload {
    /// What this `job` is to do next, with the file in `sink`. At `None` it is at work no more. The file is taken back if the upload goes on;
    /// what is left in `sink` is the job's to drop.
    pub(crate) fn next_step(&self, job: u64, sink: &mut Option<Box<dyn Sink>>) -> Option<Step> {
        let mut state = self.state();
        state.job.take_if(|at_work| at_work.number == job)?;
        if state.fault.is_some() {
            return None;
        }
        if sink.is_none() {
            *sink = state.sink.0.take();
        }
        let step = state.take_step();
        match &step {
            Some(Step::Publish(_)) => state.job = Some(AtWork::within(job, limits::PUBLISH_WITHIN)),
            Some(_) => state.job = Some(AtWork::within(job, limits::WRITE_WITHIN)),
            None => state.sink.0 = sink.take(),
        }
        step
    }

    /// The file is being written, at this path.
    pub(crate) fn note_created(&self, path: String) {
        self.note(|state| state.created = Some(path));
    }

    /// So many more slabs are written. The session looks for that by itself whenever it takes blocks: it is woken only if, for all it knows, so
    /// many are not written that it lets its peer wait.
    pub(crate) fn note_stored(&self, slabs: u64) {
        let mut state = self.state();
        if state.fault.is_none() {
            state.stored += slabs;
            if state.appended - state.told >= limits::SLABS_UNSTORED_MAX as u64 {
                state.tell_session();
            }
        }
    }

    /// The file is there, or what came of it is `kept` at another path.
    pub(crate) fn note_published(&self, kept: Option<String>) {
        self.note(|state| (state.publication, state.kept) = (Publication::Done, kept));
    }

    fn note(&self, news: impl FnOnce(&mut State)) {
        let mut state = self.state();
        if state.fault.is_none() {
            news(&mut state);
            state.tell_session();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn tell_session(&self) {
        if let Some(session) = &self.session {
            // Not `try_send`: the session may wait for nothing else. There are few of them, one for each message of the session.
            session.do_send(SessionMessage::Written);
        }
    }
}

impl AtWork {
    fn within(number: u64, within: Duration) -> Self {
        Self { number, runs: true, due: Instant::now() + within, within }
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(sink));
        }
    }
}
