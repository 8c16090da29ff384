//! The queue of log lines, and the thread that writes them.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Lines;
use crate::limits;

/// Log lines that wait for the writing thread, so that logging never blocks on a file, a terminal
/// or a pipe. Lines that do not fit are dropped and counted; one line then reports the count.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    come: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lines that were dropped after `text`.
    lost: usize,
    /// Whether the thread sleeps and must be woken.
    asleep: bool,
    closed: bool,
}

/// Closes the log when dropped: waits until every line is written or the thread is stuck.
pub(super) struct Closing {
    queue: Arc<Queue>,
    /// Carries no message; it is disconnected when the thread ends.
    ended: Receiver<Infallible>,
}

impl Queue {
    /// Creates the queue and starts the thread that writes its lines to `lines`.
    ///
    /// # Errors
    /// The thread can't be started.
    pub(super) fn start<W>(mut lines: Lines<W>) -> io::Result<(Arc<Self>, Closing)>
    where
        W: Write + Send + 'static,
    {
        let queue = Arc::new(Self { waiting: Mutex::default(), come: Condvar::new() });
        let (running, ended) = channel();
        let emptied = Arc::clone(&queue);
        thread::Builder::new().name("log".into()).spawn(move || {
            let _running = running;
            emptied.write_all_to(&mut lines);
        })?;
        Ok((Arc::clone(&queue), Closing { queue, ended }))
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
            self.come.notify_one();
        }
    }

    /// Writes all waiting lines together, then rests before it looks for more.
    ///
    /// A thread that waits for each line must be woken for each line. That costs the logging thread
    /// more than the line itself, and on a small machine the writer then takes its processor.
    /// During the rest, lines collect without waking the thread.
    fn write_all_to<W: Write>(&self, lines: &mut Lines<W>) {
        let mut text = Vec::new();
        while let Some(lost) = self.take(&mut text) {
            // `lines` counts the lines that it can't write, and reports them when there is room
            // again.
            let _ = lines.pass_on(&text);
            if lost > 0 {
                let _ = lines.tell_of("found no room in its queue", lost);
            }
            self.rest();
        }
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
            waiting = self.come.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.text, text);
        Some(std::mem::take(&mut waiting.lost))
    }

    fn rest(&self) {
        let not_closed = |waiting: &mut Waiting| !waiting.closed;
        // `asleep` is false here, so that no line wakes the thread.
        let _ = self.come.wait_timeout_while(self.lock(), limits::LOG_REST, not_closed);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic under the lock can only be a failed allocation, which leaves the lines intact.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.come.notify_one();
        let _ = self.ended.recv_timeout(limits::LOG_CLOSE_MAX);
    }
}

#[cfg(test)]
mod tests;
