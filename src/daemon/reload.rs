//! Reloading, on a thread that serves nobody.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use slog::{Logger, info, warn};

use crate::supervision::caught;

/// What is called to open the log anew. It may wait for as long as the file makes it wait: a FIFO
/// opens when somebody reads it, and a dead network file system never answers.
pub(super) struct Reloads(Arc<Shared>);

struct Shared {
    reload: Mutex<Box<dyn Fn() -> io::Result<()> + Send>>,
    log: Logger,
    /// Orders that no call has answered yet; there is a thread while there are any.
    ordered: AtomicU64,
}

impl Reloads {
    pub(super) fn new(reload: impl Fn() -> io::Result<()> + Send + 'static, log: &Logger) -> Self {
        let reload = Mutex::new(Box::new(reload) as Box<_>);
        Self(Arc::new(Shared { reload, log: log.clone(), ordered: AtomicU64::new(0) }))
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
            failed(&self.0.log, &error);
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
            Ok(()) => info!(self.log, "log reopened"),
            Err(error) => failed(&self.log, &error),
        }
    }
}

fn failed(log: &Logger, error: &io::Error) {
    warn!(log, "can't reopen the log file: going on with the old one"; "why" => %error);
}

#[cfg(test)]
mod tests;
