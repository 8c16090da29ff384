//! Calls to the store. Blocking calls run on threads that may block, and a panic ends only its
//! call.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::chaos::Seam;
use crate::engine::service::Service;
use crate::error::{Failure, Fault};
use crate::observe::TransferId;
use crate::store::{Later, Store};
use crate::supervision::caught;

/// Calls the store for one transfer.
#[derive(Debug, Clone)]
pub(crate) struct StoreCaller {
    service: Arc<Service>,
    store: Arc<dyn Store>,
    transfer: TransferId,
    /// Where tests plan faults of the store.
    pub(crate) seam: Seam,
}

impl StoreCaller {
    pub(crate) fn new(
        service: &Arc<Service>,
        store: &Arc<dyn Store>,
        transfer: TransferId,
        seam: Seam,
    ) -> Self {
        Self { service: Arc::clone(service), store: Arc::clone(store), transfer, seam }
    }

    /// Makes a call on this thread. A panic ends only the call, and is reported to the observers.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&Arc<dyn Store>) -> Result<T, Fault>) -> Result<T, Fault> {
        caught(|| call(&self.store)).unwrap_or_else(|panic| {
            self.service.crashed("store", Some(self.transfer), &panic);
            Err(Fault::new(Failure::Internal, "the store panicked"))
        })
    }

    /// Makes a call in the arbiter's pool of [`BLOCKING_THREADS`](crate::limits::BLOCKING_THREADS),
    /// and waits for at most `limit`. A thread whose call hangs is lost until the call returns.
    pub(crate) async fn call_within<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce(&Arc<dyn Store>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let caller = self.clone();
        let mut called = Called(tokio::task::spawn_blocking(move || caller.call(call)));
        match timeout(limit, &mut called.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if error.is_panic() => Err(Failure::Internal.into()),
            Ok(Err(_)) => Err(Failure::ShuttingDown.into()),
            Err(_) => Err(self.on_timeout(limit)),
        }
    }

    /// Waits for an answer that needs no thread. A panic counts as a panic of [`call`](Self::call).
    pub(crate) async fn wait_within<T>(&self, limit: Duration, later: Later<T>) -> Result<T, Fault> {
        match timeout(limit, AssertUnwindSafe(later).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => self.call(|_| resume_unwind(panic)),
            Err(_) => Err(self.on_timeout(limit)),
        }
    }

    fn on_timeout(&self, limit: Duration) -> Fault {
        let why = format!("no answer within {limit:?}");
        self.service.misbehaved("store", Some(self.transfer), &format!("it gave {why}"));
        Fault::new(Failure::Io, why)
    }
}

/// A call in the thread pool. Dropping this cancels a call that no thread has started: while a disk
/// hangs, each repeated request would otherwise leave one more call in the queue.
struct Called<T>(JoinHandle<T>);

impl<T> Drop for Called<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
