//! The actix `System` of a program, whose end waits for no thread.

use std::sync::Arc;

use actix::{System, SystemRunner};
use tokio::runtime::Runtime;

/// A `System` that can be dropped while a thread of its pool hangs. Dropping tokio's runtime would
/// wait for that thread without a limit; here the thread keeps running until the process ends.
pub(super) struct ProgramSystem {
    // Dropped in this order: the last reference to the runtime is the one that doesn't wait.
    pub(super) runner: SystemRunner,
    _runtime: Unwaited,
}

struct Unwaited(Option<Arc<Runtime>>);

impl ProgramSystem {
    pub(super) fn new(runtime: Runtime) -> Self {
        let runtime = Arc::new(runtime);
        let shared = Arc::clone(&runtime);
        Self { runner: System::with_tokio_rt(|| shared), _runtime: Unwaited(Some(runtime)) }
    }
}

impl Drop for Unwaited {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
