//! How often, and how soon, an actor is started again.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// How many restarts a permanent actor gets in how long a time (OTP's restart intensity), and how long it pauses before each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts that are put up with (5 by default, [`limits::RESTARTS_MAX`])...
    pub restarts_max: usize,
    /// ...within this time (10 seconds by default, [`limits::RESTARTS_WITHIN`]).
    pub within: Duration,
    /// Pause before the first (10 ms by default, [`limits::RESTART_PAUSE`]); it doubles with each
    /// further one within that time.
    pub pause: Duration,
    /// What it doubles up to (one second by default, [`limits::RESTART_PAUSE_MAX`]). Each pause is
    /// then made shorter or longer by up to its half, so that what broke together doesn't start
    /// together.
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
    /// As often as it ends, after pauses that grow to one second ([`limits::RESTART_PAUSE_MAX`]):
    /// for an actor that a client's request may make panic, lest whoever repeats that request end
    /// the server.
    #[must_use]
    pub fn endless() -> Self {
        Self { restarts_max: usize::MAX, ..Self::default() }
    }
}

/// The restarts of one actor.
#[derive(Debug)]
pub(super) struct Restarts {
    limit: RestartLimit,
    /// When it ended lately.
    exits: VecDeque<Instant>,
}

impl Restarts {
    pub(super) fn new(limit: RestartLimit) -> Self {
        Self { limit, exits: VecDeque::new() }
    }

    /// Counts an exit: the pause before the next life, or `None` if that was the last.
    pub(super) fn after_exit(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.exits.push_back(now);
        while self.exits.front().is_some_and(|&at| now - at > self.limit.within) {
            self.exits.pop_front();
        }
        let restarts = self.exits.len();
        (restarts <= self.limit.restarts_max).then(|| {
            let doublings = u32::try_from(restarts - 1).unwrap_or(u32::MAX).min(16);
            jittered(self.limit.pause.saturating_mul(1 << doublings).min(self.limit.pause_max))
        })
    }
}

/// From half of it to half as much again.
fn jittered(pause: Duration) -> Duration {
    (pause / 2).saturating_add(pause.mul_f64(fastrand::f64()))
}
