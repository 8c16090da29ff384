//! How often an actor is restarted, and after which pause.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// How often a permanent actor may be restarted (OTP's restart intensity), and how long it pauses
/// before each restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartLimit {
    /// The most restarts (5 by default)...
    pub restarts_max: usize,
    /// ...within this time (10 seconds by default).
    pub within: Duration,
    /// The pause before the first restart (10 ms by default). It doubles with each further restart
    /// within that time.
    pub pause: Duration,
    /// The longest pause (one second by default). Each pause is made shorter or longer by up to
    /// half of it, so that actors that failed together don't restart together.
    pub pause_max: Duration,
}

impl Default for RestartLimit {
    fn default() -> Self {
        Self {
            restarts_max: limits::RESTARTS_MAX,
            within: limits::RESTARTS_WITHIN,
            pause: limits::RESTART_PAUSE,
            pause_max: limits::RESTART_PAUSE_MAX,
        }
    }
}

impl RestartLimit {
    /// So many restarts within this time, after the usual pauses.
    #[must_use]
    pub fn new(restarts_max: usize, within: Duration) -> Self {
        Self { restarts_max, within, ..Self::default() }
    }

    /// No limit on restarts, with pauses of up to one second. Use it for an actor that a client's
    /// request can make panic: otherwise the client could end the server by repeating the request.
    #[must_use]
    pub fn endless() -> Self {
        Self { restarts_max: usize::MAX, ..Self::default() }
    }

    /// Pauses for so long before the first restart, and for `max` at most before a later one.
    #[must_use]
    pub fn pausing(self, pause: Duration, max: Duration) -> Self {
        Self { pause, pause_max: max, ..self }
    }
}

#[derive(Debug)]
pub(super) struct Restarts {
    limit: RestartLimit,
    exits: VecDeque<Instant>,
}

impl Restarts {
    pub(super) fn new(limit: RestartLimit) -> Self {
        Self { limit, exits: VecDeque::new() }
    }

    /// Counts an exit. Returns the pause before the restart, or `None` if there is none.
    pub(super) fn after_exit(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.exits.push_back(now);
        while self.exits.front().is_some_and(|&at| now - at > self.limit.within) {
            self.exits.pop_front();
        }
        let restarts = self.exits.len();
        (restarts <= self.limit.restarts_max).then(|| {
            let doublings = u32::try_from(restarts - 1).unwrap_or(u32::MAX).min(16);
            let pause = self.limit.pause.saturating_mul(1 << doublings).min(self.limit.pause_max);
            // The jitter: from half to one and a half times as long.
            (pause / 2).saturating_add(pause.mul_f64(fastrand::f64()))
        })
    }
}
