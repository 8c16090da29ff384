//! Calls to the store: what may wait for a disk, on threads that may wait; and what panics there hurts nobody else.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::chaos::Seam;
use crate::engine::service::Service;
use crate::error::{Failure, Fault};
use crate::observe::{Fact, TransferId};
use crate::store::{Later, Store};
use crate::supervision::caught;

/// Calls the store for one transfer.
#[derive(Debug, Clone)]
pub(crate) struct StoreCaller {
    service: Arc<Service>,
    store: Arc<dyn Store>,
    transfer: TransferId,
    /// Where faults are planned for it.
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

    /// Makes a call, here and now. A panic ends the call alone; the observers are told its text, and nobody else.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&Arc<dyn Store>) -> Result<T, Fault>) -> Result<T, Fault> {
        caught(|| call(&self.store)).unwrap_or_else(|panic| {
            let (transfer, panic) = (Some(self.transfer), &*panic);
            self.service.observe(&Fact::Crashed { actor: "store", transfer, panic });
            Err(Fault::new(Failure::Internal, "the store panicked"))
        })
    }

    /// Makes a call in the arbiter's bounded pool of threads ([`limits::BLOCKING_THREADS`](crate::limits::BLOCKING_THREADS)), and waits for
    /// its end no longer than `limit`. A thread that hangs in it is lost to the pool until it returns.
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
            Err(_) => Err(self.late(limit)),
        }
    }

    /// Waits for an answer that needs no thread; a panic of it counts as [`call`](Self::call)'s.
    pub(crate) async fn wait_within<T>(&self, limit: Duration, later: Later<T>) -> Result<T, Fault> {
        match timeout(limit, AssertUnwindSafe(later).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => self.call(|_| resume_unwind(panic)),
            Err(_) => Err(self.late(limit)),
        }
    }

    fn late(&self, limit: Duration) -> Fault {
        let why = format!("it gave no answer within {limit:?}");
        self.service.observe(&Fact::Misbehaved {
            extension: "store",
            transfer: Some(self.transfer),
            why: &why,
        });
        Fault::new(Failure::Io, format_args!("no answer within {limit:?}"))
    }
}

/// A call that was made in the pool. One that no thread has begun when nobody waits for it any more
/// is never made: while a disk hangs, each request that comes again would leave one more in the
/// queue.
struct Called<T>(JoinHandle<T>);

impl<T> Drop for Called<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
