//! A sign of life from the thread that listeners, registry and supervisors share: nobody inside the server could tell that it is blocked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use tokio::time::sleep;

use super::{RunError, StartError};
use crate::limits;

/// Counts as long as its thread gets round to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Watchdog(Arc<AtomicU64>);

impl Watchdog {
    /// Beats for as long as it is polled.
    pub(super) async fn beat(self) {
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            sleep(limits::ARBITER_ASKED_EVERY / 2).await;
        }
    }

    /// Runs `life` in a thread of its own until it ends, or until the watchdog has begun to beat and then stopped: the thread is left behind.
    ///
    /// What `life` returns beside its end is dropped on that thread, which is left behind too if
    /// that takes longer than [`limits::DROP_WITHIN`].
    ///
    /// # Errors
    /// Those of `life`; [`RunError::Escalated`] if it panicked, or is blocked.
    pub(super) fn watch<T>(
        self,
        life: impl FnOnce() -> (Result<(), RunError>, T) + Send + 'static,
    ) -> Result<(), RunError> {
        let (end, ended) = mpsc::channel();
        let lived = move || {
            let (how, remains) = life();
            // Nobody waits any more if it was given up.
            let _ = end.send(how);
            drop(remains);
            drop(end);
        };
        thread::Builder::new().name("server".into()).spawn(lived).map_err(StartError::Runtime)?;
        let (mut heard, mut silent) = (0, 0);
        loop {
            match ended.recv_timeout(limits::ARBITER_ASKED_EVERY) {
                Ok(how) => {
                    // (Nothing more comes: the channel is closed when all is dropped.)
                    let _ = ended.recv_timeout(limits::DROP_WITHIN);
                    return how;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RunError::Escalated("the server panicked".into()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let beats = self.0.load(Ordering::Relaxed);
            // (Before the first beat it opens files and sockets, which takes the time that it takes.)
            silent = if beats == heard && beats > 0 { silent + 1 } else { 0 };
            heard = beats;
            if silent >= limits::SERVER_SILENCE_MAX {
                return Err(RunError::Escalated("the arbiter of the listeners is blocked".into()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
