//! Lines that wait for the thread that writes the log, and that thread's pace.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Lines;
use crate::limits;

/// Lines that wait to be written by a thread of their own: whoever logs waits for no file, terminal or pipe. What finds no room is dropped,
/// and counted in a line.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    come: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lines that would have come after it.
    lost: usize,
    /// The thread must be woken.
    asleep: bool,
    closed: bool,
}

/// Ends the log when it is dropped: waits until all is written, or the thread gets no further.
pub(super) struct Closing {
    queue: Arc<Queue>,
    /// Nothing comes, but it ends with the thread.
    ended: Receiver<Infallible>,
}

impl Queue {
    /// A queue before `lines`, and the thread that empties it.
    ///
    /// # Errors
    /// There can be no further thread.
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

    /// Appends a whole line, if there is room. After the end it is for nobody.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        // After one that is lost all are, until the thread comes: then their number stands where they would.
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

    /// Writes the lines that wait, all of them together, and rests before it looks again.
    ///
    /// A thread that waits for each line must be woken for each, which costs those who serve more than the line itself; and on a small
    /// machine it takes their processor at once. While it rests, lines come together that it then writes without being woken.
    fn write_all_to<W: Write>(&self, lines: &mut Lines<W>) {
        let mut text = Vec::new();
        while let Some(lost) = self.take(&mut text) {
            // What can't be written is counted there, and told of when there is room again.
            let _ = lines.pass_on(&text);
            if lost > 0 {
                let _ = lines.tell_of("found no room in its queue", lost);
            }
            self.rest();
        }
    }

    /// Waits for lines, and puts them in the place of what is in `text`. Returns how many were lost after them; nothing at the end.
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

    /// Until the end of the rest, or of the log.
    fn rest(&self) {
        let not_closed = |waiting: &mut Waiting| !waiting.closed;
        // Nobody is asleep here, so that no line wakes it.
        let _ = self.come.wait_timeout_while(self.lock(), limits::LOG_REST, not_closed);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic meanwhile, for want of memory, leaves lines as good as before.
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
