//! What is to happen where, and how often.

use std::time::Duration;

use crate::limits;

/// Actors, by the names that their points begin with.
const ACTORS: [&str; 7] =
    ["session", "reader", "writer", "listener", "registry", "session_supervisor", "arbiter_supervisor"];
/// Those of them that start again.
const PERMANENT: [&str; 4] = ["listener", "registry", "session_supervisor", "arbiter_supervisor"];
/// What an actor does while it lives: what its bare name stands for.
const LIVING: [&str; 4] = [HANDLE, STARTED, FUTURE, SCHEDULED];
/// Where others than actors are called, and the calls.
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

/// A fault that is to happen at a point. It needs the feature `chaos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `session.handle`, `store.open`, ... A name alone, such as `session`, is any point at which a session lives (not its
    /// `restarting` and `drop`), or any call at a seam.
    pub point: String,
    /// The file name of the request; any, if `None`. Only sessions, readers, writers, `store` and `link` have subjects.
    pub subject: Option<String>,
    /// So many passes of the point are left alone first.
    pub skip: u32,
    /// How often the fault then happens.
    pub times: u32,
    /// What happens.
    pub fault: Fault,
}

impl Plan {
    /// The fault at the next pass, once, whatever its subject.
    #[must_use]
    pub fn once(point: &str, fault: Fault) -> Self {
        Self { point: point.to_owned(), subject: None, skip: 0, times: 1, fault }
    }
}

/// What happens at a point. It needs the feature `chaos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A panic with the text `chaos at POINT`.
    Panic,
    /// The actor stops.
    Stop,
    /// The thread is blocked for so long.
    Delay(Duration),
}

/// A fault that happens again and again, for as long as there is somebody to pass: each time at one of the points, which chance
/// chooses, after as few passes as chance says. It needs the feature `chaos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    /// As [`Plan::point`].
    pub points: Vec<String>,
    /// What happens.
    pub fault: Fault,
    /// How often.
    pub every: Duration,
}

/// Why something can't be planned. Each is one sentence. It needs the feature `chaos`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is no such point.
    #[error(
        "there is no point {0:?}: write one such as session.handle or store.open, or a name such as reader"
    )]
    UnknownPoint(String),
    /// No actor is at hand there that could stop.
    #[error("nothing can stop at {0:?}: a panic or a delay can happen there")]
    NothingStops(String),
    /// It would never happen.
    #[error("{0:?} would never happen: it must be at one point at least, once at least, and not every 0 s")]
    Never(String),
    /// There are too many already.
    #[error("there are {} plans already: no more can be made", limits::CHAOS_PLANS_MAX)]
    TooMany,
    /// It can't be read.
    #[error(
        "{0:?} is no plan: write one such as session.handle[name]=panic skip 3 times 1, or session|reader=panic every 5ms"
    )]
    Syntax(String),
}

/// A point, or all of a name's.
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

    /// Whether a pass there is one of this.
    pub(super) fn covers(self, owner: &str, step: &str) -> bool {
        let any = || is_seam(owner) || LIVING.contains(&step);
        self.owner == owner && self.step.map_or_else(any, |own| own == step)
    }

    /// Whether it is this very point.
    pub(super) fn is(self, owner: &str, step: &str) -> bool {
        self.owner == owner && self.step == Some(step)
    }

    /// Whether nobody passes there unless somebody is woken for it.
    pub(super) fn needs_waking(self) -> bool {
        matches!(self.step, Some(FUTURE | SCHEDULED))
    }
}

/// Whether the closed lists above have it.
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
