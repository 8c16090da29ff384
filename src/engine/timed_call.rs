//! How long a call to an extension keeps the thread that serves.

use std::time::Instant;

use crate::limits;

/// Calls an extension. With the answer comes what is said of the extension, if the call kept the
/// thread for longer than [`limits::EXTENSION_CALL_WITHIN`].
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Option<String>) {
    // (The clock of the system: virtual time stands still during a call.)
    let began = Instant::now();
    let answer = call();
    let took = began.elapsed();
    let kept_thread = (took > limits::EXTENSION_CALL_WITHIN).then(|| {
        format!("it kept a thread that serves for {} ms: who has to wait is an actor", took.as_millis())
    });
    (answer, kept_thread)
}
