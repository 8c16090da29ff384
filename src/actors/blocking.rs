//! Calls to the store: what may wait for a disk, on threads that may wait; and what panics there hurts nobody else.

use std::sync::Arc;
use std::time::Duration;

use super::service::Service;
use crate::chaos::Seam;
use crate::error::{Failure, Fault};
use crate::observe::{Fact, TransferId};
use crate::store::Store;
use crate::supervision::caught;

/// Calls the store for one transfer.
#[derive(Debug, Clone)]
pub(super) struct StoreCaller {
    service: Arc<Service>,
    transfer: TransferId,
    /// Where faults are planned for it.
    pub(super) seam: Seam,
}

impl StoreCaller {
    pub(super) fn new(service: &Arc<Service>, transfer: TransferId, seam: Seam) -> Self {
        Self { service: Arc::clone(service), transfer, seam }
    }

    /// Makes a call, here and now. A panic ends the call alone; the observers are told its text, and nobody else.
    pub(super) fn call<T>(&self, call: impl FnOnce(&Arc<dyn Store>) -> Result<T, Fault>) -> Result<T, Fault> {
        caught(|| call(&self.service.store)).unwrap_or_else(|panic| {
            let (transfer, panic) = (Some(self.transfer), &*panic);
            self.service.observe(&Fact::Crashed { actor: "store", transfer, panic });
            Err(Fault::new(Failure::Internal, "the store panicked"))
        })
    }

    /// Makes a call in the arbiter's bounded pool of threads ([`limits::BLOCKING_THREADS`](crate::limits::BLOCKING_THREADS)), and waits for
    /// its end no longer than `limit`. A thread that hangs in it is lost to the pool until it returns.
    pub(super) async fn call_within<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce(&Arc<dyn Store>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let caller = self.clone();
        let called = tokio::task::spawn_blocking(move || caller.call(call));
        match tokio::time::timeout(limit, called).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) if error.is_panic() => Err(Failure::Internal.into()),
            Ok(Err(_)) => Err(Failure::ShuttingDown.into()),
            Err(_) => Err(Fault::new(Failure::Io, format_args!("no answer within {limit:?}"))),
        }
    }
}

#[cfg(test)]
mod tests;
