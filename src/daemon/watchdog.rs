//! Detects that the thread of listeners, registry and supervisors is blocked. Nothing on that
//! thread could detect it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use tokio::time::sleep;

use super::{RunError, StartError};
use crate::limits;

/// Counts as long as its thread runs tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Watchdog(Arc<AtomicU64>);

impl Watchdog {
    /// Counts up as long as it is polled.
    pub(super) async fn beat(self) {
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            sleep(limits::ARBITER_ASKED_EVERY / 2).await;
        }
    }

    /// Runs `life` on a thread of its own until it ends, or until the watchdog has begun to count
    /// and then stopped. In that case the thread is left running.
    ///
    /// What `life` returns besides its result is dropped on that thread. If that takes longer than
    /// [`limits::DROP_WITHIN`], the thread is left running too.
    ///
    /// # Errors
    /// Those of `life`; [`RunError::Escalated`] if it panicked or is blocked.
    pub(super) fn watch<T>(
        self,
        life: impl FnOnce() -> (Result<(), RunError>, T) + Send + 'static,
    ) -> Result<(), RunError> {
        let (end, ended) = mpsc::channel();
        let lived = move || {
            let (how, remains) = life();
            // If the server was given up, nobody receives this.
            let _ = end.send(how);
            drop(remains);
            drop(end);
        };
        thread::Builder::new().name("server".into()).spawn(lived).map_err(StartError::Runtime)?;
        let (mut heard, mut silent) = (0, 0);
        loop {
            match ended.recv_timeout(limits::ARBITER_ASKED_EVERY) {
                Ok(how) => {
                    // No message comes: the channel closes when everything is dropped.
                    let _ = ended.recv_timeout(limits::DROP_WITHIN);
                    return how;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RunError::Escalated("the server panicked".into()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let beats = self.0.load(Ordering::Relaxed);
            // Before the first count the server opens files and sockets, which has no time limit
            // here.
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
