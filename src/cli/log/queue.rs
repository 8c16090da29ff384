//! The queue before the thread that writes the log, and that thread's pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use slog::{Drain, Never, OwnedKVList, Record, b, o, record};
use slog_async::{AsyncCore, AsyncGuard};

use crate::limits;

/// Lines that wait to be written by a thread of their own. What finds no room is dropped, and counted in a line.
pub(super) struct Queue {
    core: AsyncCore,
    waiting: Arc<AtomicUsize>,
    lost: AtomicUsize,
}

/// Writes the lines that wait, and rests when there are none.
///
/// A thread that waits for each line must be woken for each, which costs those who serve more than the line itself; and on a small
/// machine it takes their processor at once. While it rests, lines come together that it then writes without being woken.
struct Paced<D> {
    drain: D,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// A queue before `drain`, in which `waiting` counts the lines: those that wait, and the one that is being written. The guard, when it
    /// is dropped, waits until all is written.
    pub(super) fn new<D>(drain: D, waiting: Arc<AtomicUsize>) -> (Self, AsyncGuard)
    where
        D: Drain<Ok = (), Err = Never> + Send + 'static,
    {
        let paced = Paced { drain, waiting: Arc::clone(&waiting) };
        let core = AsyncCore::custom(paced).chan_size(limits::LOG_LINES_QUEUED).thread_name("log".into());
        let (core, guard) = core.build_with_guard();
        (Self { core, waiting, lost: AtomicUsize::new(0) }, guard)
    }

    /// Whether there was room.
    fn push(&self, record: &Record<'_>, values: &OwnedKVList) -> bool {
        // Counted before it can be written: the count never misses a line that waits.
        let place = Place::take(&self.waiting);
        let pushed = self.core.log(record, values).is_ok();
        if pushed {
            std::mem::forget(place);
        }
        pushed
    }

    fn report_lost(&self, values: &OwnedKVList) {
        // Nearly always nothing, for which a look is cheaper.
        if self.lost.load(Ordering::Relaxed) == 0 {
            return;
        }
        let count = self.lost.swap(0, Ordering::Relaxed);
        let text = format_args!("slog-async: logger dropped messages due to channel overflow");
        if count > 0 && !self.push(&record!(slog::Level::Error, "", &text, b!("count" => count)), values) {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// A line's place in the count, given back when dropped: a value that is put into words may panic.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drain for Queue {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        self.report_lost(values);
        if !self.push(record, values) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.report_lost(&o!().into());
    }
}

impl<D: Drain<Ok = (), Err = Never>> Drain for Paced<D> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        self.drain.log(record, values)?;
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            thread::sleep(limits::LOG_REST);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
