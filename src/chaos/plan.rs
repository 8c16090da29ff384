//! Planned faults and the points where they can happen.

use std::time::Duration;

use crate::limits;

/// Actors, by the names in their points.
const ACTORS: [&str; 7] =
    ["session", "reader", "writer", "listener", "registry", "session_supervisor", "arbiter_supervisor"];
const PERMANENT: [&str; 4] = ["listener", "registry", "session_supervisor", "arbiter_supervisor"];
/// The points that an actor's bare name stands for.
const LIVING: [&str; 4] = [HANDLE, STARTED, FUTURE, SCHEDULED];
const SEAMS: [(&str, &[&str]); 3] = [
    ("store", &["open", "open_cached", "fetch", "fetch_cached", "create", "write", "publish"]),
    ("observer", &["observe"]),
    ("link", &["open", "send", "receive"]),
];

const HANDLE: &str = "handle";
pub(super) const STARTED: &str = "started";
pub(super) const FUTURE: &str = "future";
pub(super) const SCHEDULED: &str = "scheduled";
const RESTARTING: &str = "restarting";
pub(super) const DROP: &str = "drop";

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

impl Plan {
    /// The fault happens once, at the next pass, for any subject.
    #[must_use]
    pub fn once(point: &str, fault: Fault) -> Self {
        Self { point: point.to_owned(), subject: None, skip: 0, times: 1, fault }
    }
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

/// One point, or the points of a bare name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) owner: &'static str,
    step: Option<&'static str>,
}

impl Target {
    /// The point of that name, if `fault` can happen there.
    pub(super) fn new(point: &str, fault: Fault) -> Result<Self, PlanError> {
        let (owner, step) = point.split_once('.').map_or((point, None), |(owner, step)| (owner, Some(step)));
        let unknown = || PlanError::UnknownPoint(point.to_owned());
        let (owner, steps) = steps_of(owner).ok_or_else(unknown)?;
        let step = match step {
            None => None,
            Some(step) => Some(*steps.iter().find(|known| **known == step).ok_or_else(unknown)?),
        };
        if fault == Fault::Stop && (is_seam(owner) || step == Some(DROP)) {
            return Err(PlanError::NothingStops(point.to_owned()));
        }
        Ok(Self { owner, step })
    }

    /// Whether passing this point counts for the target.
    pub(super) fn covers(self, owner: &str, step: &str) -> bool {
        let any = || is_seam(owner) || LIVING.contains(&step);
        self.owner == owner && self.step.map_or_else(any, |own| own == step)
    }

    pub(super) fn is(self, owner: &str, step: &str) -> bool {
        self.owner == owner && self.step == Some(step)
    }

    /// Whether the point is only passed if an actor is woken for it.
    pub(super) fn needs_waking(self) -> bool {
        matches!(self.step, Some(FUTURE | SCHEDULED))
    }
}

/// Whether the lists above contain the point.
pub(super) fn is_point(owner: &str, step: &str) -> bool {
    steps_of(owner).is_some_and(|(_, steps)| steps.contains(&step))
}

fn is_seam(owner: &str) -> bool {
    SEAMS.iter().any(|(seam, _)| *seam == owner)
}

fn steps_of(owner: &str) -> Option<(&'static str, Vec<&'static str>)> {
    if let Some((seam, calls)) = SEAMS.iter().find(|(seam, _)| *seam == owner) {
        return Some((seam, calls.to_vec()));
    }
    let actor = *ACTORS.iter().find(|actor| **actor == owner)?;
    let restarting = PERMANENT.contains(&actor).then_some(RESTARTING);
    Some((actor, LIVING.into_iter().chain([DROP]).chain(restarting).collect()))
}
