//! The transfers that have ended.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::observe::Report;

/// The reports of the last transfers that ended, [`limits::HISTORY_MAX`] at most. It is outside of any actor: whoever ends a transfer writes
/// it down, which wakes no other thread, and the registry reads it when it is asked.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Report>>);

impl History {
    /// One more has ended.
    pub(crate) fn push(&self, report: Report) {
        let mut reports = self.lock();
        let oldest = if reports.len() >= limits::HISTORY_MAX { reports.pop_front() } else { None };
        reports.push_back(report);
        drop(reports);
        drop(oldest);
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Vec<Report> {
        self.lock().iter().cloned().collect()
    }

    /// A panic elsewhere leaves it whole: each change is a single step.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
