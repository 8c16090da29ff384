//! Planned faults and the points where they can happen.

use std::time::Duration;

use crate::limits;

/// Actors and seams, with their points.
const POINTS: [(&str, &[&str]); 10] = [
    ("session", TEMPORARY),
    ("reader", TEMPORARY),
    ("writer", TEMPORARY),
    ("listener", PERMANENT),
    ("registry", PERMANENT),
    ("session_supervisor", PERMANENT),
    ("arbiter_supervisor", PERMANENT),
    ("store", &["open", "open_cached", "fetch", "fetch_cached", "create", "write", "publish"]),
    ("observer", &["observe"]),
    ("link", &["open", "send", "receive"]),
];
const TEMPORARY: &[&str] = &["handle", "started", "future", "scheduled", "drop"];
const PERMANENT: &[&str] = &["handle", "started", "future", "scheduled", "restarting", "drop"];

/// A fault planned for a point. Needs the feature `chaos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `session.handle`, `store.open`, ... A bare name such as `session` means any point of a
    /// session but `restarting` and `drop`, or any call at a seam.
    pub point: String,
    /// The file name of the request; `None` for any. Only sessions, readers, writers, `store` and
    /// `link` have subjects.
    pub subject: Option<String>,
    /// How many passes of the point are skipped first.
    pub skip: u32,
    /// How often the fault happens after that.
    pub times: u32,
    /// The fault.
    pub fault: Fault,
}

/// What happens at a point. Needs the feature `chaos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A panic with the text `chaos at POINT`.
    Panic,
    /// The actor stops.
    Stop,
    /// The thread sleeps for this long.
    Delay(Duration),
}

/// A fault that happens again and again. Each time, a random one of the points fails after a random
/// number of passes. Needs the feature `chaos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    /// As in [`Plan::point`].
    pub points: Vec<String>,
    /// The fault.
    pub fault: Fault,
    /// The interval between faults.
    pub every: Duration,
}

/// Why a fault can't be planned. Each text is one sentence. Needs the feature `chaos`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is no such point.
    #[error(
        "there is no point {0:?}: write one such as session.handle or store.open, or a name such as reader"
    )]
    UnknownPoint(String),
    /// No actor could be stopped at this point.
    #[error("no actor can stop at {0:?}: plan a panic or a delay there")]
    NothingStops(String),
    /// The fault would never happen.
    #[error("{0:?} would never happen: it needs a point, and a count and an interval above 0")]
    Never(String),
    /// The maximum of plans is reached.
    #[error("there are already {} plans, the maximum", limits::CHAOS_PLANS_MAX)]
    TooMany,
    /// The text is not a plan.
    #[error(
        "{0:?} is not a plan: write one such as session.handle[name]=panic skip 3 times 1, or session|reader=panic every 5ms"
    )]
    Syntax(String),
}

impl Plan {
    /// The fault happens once, at the next pass, for any subject.
    #[must_use]
    pub fn once(point: &str, fault: Fault) -> Self {
        Self { point: point.to_owned(), subject: None, skip: 0, times: 1, fault }
    }

    /// Whether passing this point counts for the plan.
    pub(super) fn covers(&self, owner: &str, step: &str, subject: &str) -> bool {
        let is_planned = match self.point.split_once('.') {
            Some(point) => point == (owner, step),
            None => self.point == owner && !["restarting", "drop"].contains(&step),
        };
        is_planned && self.is_for(subject)
    }

    /// Whether the plan is for any point of this owner.
    pub(super) fn concerns(&self, owner: &str, subject: &str) -> bool {
        self.point.split('.').next() == Some(owner) && self.is_for(subject)
    }

    fn is_for(&self, subject: &str) -> bool {
        self.subject.as_deref().is_none_or(|own| own == subject)
    }
}

/// Checks that `fault` can happen at the point.
pub(super) fn check(point: &str, fault: Fault) -> Result<(), PlanError> {
    let (owner, step) = point.split_once('.').map_or((point, None), |(owner, step)| (owner, Some(step)));
    let steps = steps_of(owner).filter(|steps| step.is_none_or(|step| steps.contains(&step)));
    let steps = steps.ok_or_else(|| PlanError::UnknownPoint(point.to_owned()))?;
    // Only actors handle messages; seams can't be stopped.
    if fault == Fault::Stop && (!steps.contains(&"handle") || step == Some("drop")) {
        return Err(PlanError::NothingStops(point.to_owned()));
    }
    Ok(())
}

pub(super) fn is_point(owner: &str, step: &str) -> bool {
    steps_of(owner).is_some_and(|steps| steps.contains(&step))
}

fn steps_of(owner: &str) -> Option<&'static [&'static str]> {
    POINTS.iter().find(|(known, _)| *known == owner).map(|(_, steps)| *steps)
}
