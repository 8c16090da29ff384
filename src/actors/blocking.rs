//! Work that may wait for a disk, on threads that may wait.

use std::time::Duration;

use crate::error::{Failure, Fault};

/// Runs `job` in the arbiter's bounded pool of threads ([`limits::BLOCKING_THREADS`](crate::limits::BLOCKING_THREADS)). A panic in
/// it ends the job alone.
pub(super) async fn run<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(Fault::new(Failure::Internal, error)),
        Err(_) => Err(Failure::ShuttingDown.into()),
    }
}

/// The same, but waits for the end of `job` no longer than `limit`. A thread that hangs in it is lost to the pool until it returns.
pub(super) async fn run_within<T: Send + 'static>(
    limit: Duration,
    job: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let late = |_| Err(Fault::new(Failure::Io, format_args!("no answer within {limit:?}")));
    tokio::time::timeout(limit, run(job)).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests;
