//! Measures how long a call to an extension blocks its thread.

use std::time::Instant;

use crate::limits;

/// Calls an extension. A message for the operator comes with the answer if the call took longer
/// than [`limits::EXTENSION_CALL_WITHIN`].
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Option<String>) {
    // The system clock, because virtual time stands still during a call.
    let began = Instant::now();
    let answer = call();
    let took = began.elapsed();
    let slow = (took > limits::EXTENSION_CALL_WITHIN).then(|| {
        format!("it kept a thread that serves for {} ms: who has to wait is an actor", took.as_millis())
    });
    (answer, slow)
}
