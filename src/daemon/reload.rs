//! Reloading, on a thread that serves nobody.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use slog::{Logger, info, warn};

use crate::store::Directory;
use crate::supervision::caught;

/// What is called for a reload, and what is logged of it. It may wait for as long as a file makes it
/// wait: a FIFO opens when somebody reads it, and a dead network file system never answers.
pub(super) struct Reloads(Arc<Shared>);

struct Shared {
    reload: Mutex<Box<dyn Fn() -> io::Result<()> + Send>>,
    log: Logger,
    /// Logged when it was called; nothing, if `None`.
    done: Option<&'static str>,
    failed: &'static str,
    /// Orders that no call has answered yet; there is a thread while there are any.
    ordered: AtomicU64,
}

impl Reloads {
    /// Opens the log anew.
    pub(super) fn of_log(reload: impl Fn() -> io::Result<()> + Send + 'static, log: &Logger) -> Self {
        let failed = "can't reopen the log file: going on with the old one";
        Self::new(reload, log, Some("log reopened"), failed)
    }

    /// Looks whether the root's path names another directory. What comes of it the directory tells.
    pub(super) fn of_root(directory: Option<Arc<Directory>>, log: &Logger) -> Self {
        let look = move || {
            directory.iter().for_each(|directory| directory.follow());
            Ok(())
        };
        Self::new(look, log, None, "can't look whether the root was replaced")
    }

    fn new(
        reload: impl Fn() -> io::Result<()> + Send + 'static,
        log: &Logger,
        done: Option<&'static str>,
        failed: &'static str,
    ) -> Self {
        let reload = Mutex::new(Box::new(reload) as Box<_>);
        Self(Arc::new(Shared { reload, log: log.clone(), done, failed, ordered: AtomicU64::new(0) }))
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
            Ok(()) => self.done.iter().for_each(|done| info!(self.log, "{done}")),
            Err(error) => self.on_failed(&error),
        }
    }

    fn on_failed(&self, error: &io::Error) {
        warn!(self.log, "{}", self.failed; "why" => %error);
    }
}

#[cfg(test)]
mod tests;
