//! Reloading, on a thread that serves no client.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use slog::{Logger, warn};
use tokio::sync::watch;

use super::current::Current;
use crate::supervision::caught;

/// A function to call for a reload, and the result of its last call. The function may block for any
/// time: opening a FIFO waits for a reader, and a dead network file system never answers.
pub(super) struct Reloads(Arc<Shared>);

struct Shared {
    reload: Mutex<Box<dyn Fn() -> io::Result<()> + Send>>,
    log: Logger,
    failed: &'static str,
    /// Why the last call failed; `None` if it succeeded.
    failure: watch::Sender<Option<String>>,
    /// Orders without a call yet. While there are any, a thread runs.
    ordered: AtomicU64,
}

impl Reloads {
    /// Reopens the log.
    pub(super) fn of_log(
        reload: impl Fn() -> io::Result<()> + Send + 'static,
        log: &Logger,
        failure: watch::Sender<Option<String>>,
    ) -> Self {
        Self::new(reload, log, "can't reopen the log file: going on with the old one", failure)
    }

    /// Checks whether the root's path names another directory. The directory itself reports a
    /// change.
    pub(super) fn of_root(current: Current, log: &Logger) -> Self {
        let look = move || {
            current.directory().iter().for_each(|directory| directory.follow());
            Ok(())
        };
        let failed = "can't check whether the root was replaced";
        Self::new(look, log, failed, watch::Sender::new(None))
    }

    fn new(
        reload: impl Fn() -> io::Result<()> + Send + 'static,
        log: &Logger,
        failed: &'static str,
        failure: watch::Sender<Option<String>>,
    ) -> Self {
        let reload = Mutex::new(Box::new(reload) as Box<_>);
        let (log, ordered) = (log.clone(), AtomicU64::new(0));
        Self(Arc::new(Shared { reload, log, failed, failure, ordered }))
    }

    /// Calls the function soon. However many orders arrive during a call, one more call follows.
    pub(super) fn order(&self) {
        let shared = Arc::clone(&self.0);
        if shared.ordered.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let spawned = thread::Builder::new().name("reload".into()).spawn(move || shared.answer_orders());
        if let Err(error) = spawned {
            self.0.ordered.store(0, Ordering::Release);
            self.0.on_failed(&error);
        }
    }
}

impl Shared {
    fn answer_orders(&self) {
        loop {
            let ordered = self.ordered.load(Ordering::Acquire);
            self.call();
            if self.ordered.compare_exchange(ordered, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    fn call(&self) {
        // Only one thread calls it at a time.
        let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        match caught(&*reload).unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(()) => drop(self.failure.send_if_modified(|failure| failure.take().is_some())),
            Err(error) => self.on_failed(&error),
        }
    }

    fn on_failed(&self, error: &io::Error) {
        warn!(self.log, "{}", self.failed; "why" => %error);
        self.failure.send_replace(Some(error.to_string()));
    }
}

#[cfg(test)]
mod tests;
