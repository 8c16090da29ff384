//! Reloading, on a thread that serves nobody.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use slog::{Logger, warn};
use tokio::sync::watch;

use crate::store::Directory;
use crate::supervision::caught;

/// What is called for a reload, and what is reported of it. It may wait for as long as a file
/// makes it wait: a FIFO opens when somebody reads it, and a dead network file system never
/// answers.
pub(super) struct Reloads(Arc<Shared>);

struct Shared {
    reload: Mutex<Box<dyn Fn() -> io::Result<()> + Send>>,
    log: Logger,
    failed: &'static str,
    /// Why the last call failed; `None` if it didn't.
    failure: watch::Sender<Option<String>>,
    /// Orders that no call has answered yet; there is a thread while there are any.
    ordered: AtomicU64,
}

impl Reloads {
    /// Opens the log anew.
    pub(super) fn of_log(
        reload: impl Fn() -> io::Result<()> + Send + 'static,
        log: &Logger,
        failure: watch::Sender<Option<String>>,
    ) -> Self {
        Self::new(reload, log, "can't reopen the log file: going on with the old one", failure)
    }

    /// Looks whether the root's path names another directory. What comes of it the directory tells.
    pub(super) fn of_root(directory: Option<Arc<Directory>>, log: &Logger) -> Self {
        let look = move || {
            directory.iter().for_each(|directory| directory.follow());
            Ok(())
        };
        let failed = "can't look whether the root was replaced";
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

    /// Has it called soon. However many orders come while a call waits, one more call follows.
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
        // (There is one caller at a time.)
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
