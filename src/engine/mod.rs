//! What the actors drive: the state of transfers, the loop that waits for their sockets, and the
//! files that they read and write. Nothing here knows the actors above.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) mod admission;
pub(crate) mod config;
pub(crate) mod driver;
pub(crate) mod extensions;
pub(crate) mod files;
pub(crate) mod messages;
pub(crate) mod packet_summary;
pub(crate) mod poll_loop;
pub(crate) mod service;
#[cfg(test)]
pub(crate) mod test_support;
pub(crate) mod transfers;
pub(crate) mod window_memory;

/// Locks what a panic in another thread leaves consistent, because each change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
