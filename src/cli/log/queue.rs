//! The queue of log lines, and the thread that writes them.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Lines;
use crate::limits;

/// Log lines that wait for the writing thread, so that logging never blocks on a file, a terminal
/// or a pipe. Lines that do not fit are dropped and counted; one line then reports the count.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lines that were dropped after `text`.
    lost: usize,
    /// Whether the thread sleeps and must be woken.
    asleep: bool,
    closed: bool,
    ended: bool,
}

impl Queue {
    /// Creates the queue and starts the thread that writes its lines to `lines`.
    pub(super) fn start(mut lines: Lines<impl Write + Send + 'static>) -> io::Result<Arc<Self>> {
        let queue = Arc::<Self>::default();
        let emptied = Arc::clone(&queue);
        let thread = thread::Builder::new().name("log".into());
        thread.spawn(move || emptied.write_all_to(&mut lines))?;
        Ok(queue)
    }

    /// Appends a whole line if there is room. Once the log is closed, the line is discarded.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        // Once a line is dropped, every later one is too until the thread has caught up. The report
        // of the count then stands where the lines would be.
        if waiting.lost > 0 || waiting.text.len() + line.len() > limits::LOG_OCTETS_QUEUED {
            waiting.lost += 1;
        } else {
            waiting.text.extend_from_slice(line);
        }
        if std::mem::take(&mut waiting.asleep) {
            drop(waiting);
            self.changed.notify_one();
        }
    }

    /// Waits until every line is written, or the thread is stuck. Later lines are discarded.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.changed.notify_one();
        let _ = self.changed.wait_timeout_while(waiting, limits::LOG_CLOSE_MAX, |waiting| !waiting.ended);
    }

    /// Writes all waiting lines together, then rests before it looks for more.
    ///
    /// A thread that waits for each line must be woken for each line. That costs the logging thread
    /// more than the line itself, and on a small machine the writer then takes its processor.
    /// During the rest, lines collect without waking the thread.
    fn write_all_to(&self, lines: &mut Lines<impl Write>) {
        let mut text = Vec::new();
        while let Some(lost) = self.take(&mut text) {
            lines.pass_on(&text, lost);
            // `asleep` is false here, so that no line wakes the thread.
            let rest = limits::LOG_REST;
            let _ = self.changed.wait_timeout_while(self.lock(), rest, |waiting| !waiting.closed);
        }
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// Waits for lines and moves them into `text`. Returns how many lines were dropped after them,
    /// or `None` when the log is closed.
    fn take(&self, text: &mut Vec<u8>) -> Option<usize> {
        text.clear();
        text.shrink_to(limits::LOG_OCTETS_KEPT);
        let mut waiting = self.lock();
        while waiting.text.is_empty() && waiting.lost == 0 {
            if waiting.closed {
                return None;
            }
            waiting.asleep = true;
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.text, text);
        Some(std::mem::take(&mut waiting.lost))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic under the lock can only be a failed allocation, which leaves the lines intact.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
