//! The plans of one server, and what came of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Restarts;
use super::plan::{Fault, Plan, PlanError, Storm, Target};
use crate::limits;

/// The faults of one server: a handle that can be cloned, and that every actor of the server asks. There is nothing global.
///
/// It needs the feature `chaos`, which is off by default. The default has no plans. From a text, in
/// the syntax of `STAGECOACH_CHAOS` (see CONTRIBUTING.md), it is parsed.
#[derive(Debug, Clone)]
pub struct Chaos(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// How many plans and storms there are: while there is none, nobody waits for the lock.
    planned: AtomicUsize,
    state: Mutex<State>,
    /// Wakes who would not pass otherwise.
    news: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct State {
    armed: Vec<Armed>,
    storms: Vec<Blowing>,
    hits: BTreeMap<String, u64>,
    restarts: Option<Restarts>,
    chance: fastrand::Rng,
    seed: u64,
}

/// A plan that is not done.
#[derive(Debug)]
struct Armed {
    target: Target,
    subject: Option<String>,
    skip: u32,
    times: u32,
    fault: Fault,
    /// The storm that it belongs to.
    storm: Option<usize>,
}

/// A storm under way.
#[derive(Debug)]
struct Blowing {
    targets: Vec<Target>,
    fault: Fault,
    every: Duration,
    /// When it strikes next; at once if `None`.
    next: Option<Instant>,
}

impl Default for Chaos {
    fn default() -> Self {
        let state = State::new(fastrand::u64(..));
        Self(Arc::new(Inner {
            planned: AtomicUsize::new(0),
            state: Mutex::new(state),
            news: watch::Sender::new(()),
        }))
    }
}

impl Chaos {
    /// Plans a fault.
    ///
    /// # Errors
    /// [`PlanError`]: there is no such point, it can't happen there, or there are [`limits::CHAOS_PLANS_MAX`] plans already.
    pub fn plan(&self, plan: Plan) -> Result<(), PlanError> {
        self.change(|state| state.plan(plan))
    }

    /// Plans a fault that happens again and again.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn storm(&self, storm: &Storm) -> Result<(), PlanError> {
        self.change(|state| state.storm(storm))
    }

    /// Forgets every plan and storm; what was counted stays.
    pub fn calm(&self) {
        self.change(|state| {
            state.armed.clear();
            state.storms.clear();
        });
    }

    /// How often faults have happened, by the points at which they did.
    #[must_use]
    pub fn hits(&self) -> BTreeMap<String, u64> {
        self.state().hits.clone()
    }

    /// How many plans and storms are not done.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.state().planned()
    }

    /// What chance in [storms](Self::storm) starts from: drawn at random, unless it was [set](Self::set_seed).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.state().seed
    }

    /// Starts chance from here.
    pub fn set_seed(&self, seed: u64) {
        let mut state = self.state();
        (state.seed, state.chance) = (seed, fastrand::Rng::with_seed(seed));
    }

    /// From the next start of a server on, its permanent actors are started again so often before it gives itself up; within a
    /// time other than usual, if one is given. A short time keeps the pauses before the restarts short too.
    pub fn raise_restarts(&self, max: usize, within: Option<Duration>) {
        self.state().restarts = Some(Restarts { max, within });
    }

    pub(crate) fn restarts(&self) -> Option<Restarts> {
        self.state().restarts
    }

    /// Somebody passes a point: the fault that happens now.
    pub(super) fn pass(&self, owner: &'static str, step: &'static str, subject: &str) -> Option<Fault> {
        if self.0.planned.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.change(|state| state.pass(owner, step, subject, Instant::now()))
    }

    /// Whether a plan waits for passes of this very point.
    pub(super) fn waits_for(&self, owner: &str, step: &str, subject: &str) -> bool {
        self.0.planned.load(Ordering::Acquire) != 0 && self.state().waits_for(owner, step, subject)
    }

    /// Whether a fault is planned for that actor.
    pub(super) fn strikes(&self, owner: &str, subject: &str) -> bool {
        self.0.planned.load(Ordering::Acquire) != 0 && self.state().strikes(owner, subject)
    }

    /// Wakes when there is a plan that needs it.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = state.planned();
        let result = change(&mut state);
        let planned = state.planned();
        self.0.planned.store(planned, Ordering::Release);
        if planned > before && state.needs_waking() {
            self.0.news.send_replace(());
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it; and if it did, a test would want to know of its own panics.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            armed: Vec::new(),
            storms: Vec::new(),
            hits: BTreeMap::new(),
            restarts: None,
            chance: fastrand::Rng::with_seed(seed),
            seed,
        }
    }

    pub(super) fn plan(&mut self, plan: Plan) -> Result<(), PlanError> {
        let Plan { point, subject, skip, times, fault } = plan;
        let target = Target::new(&point, fault)?;
        if times == 0 {
            return Err(PlanError::Never(point));
        }
        self.room()?;
        self.armed.push(Armed { target, subject, skip, times, fault, storm: None });
        Ok(())
    }

    pub(super) fn storm(&mut self, storm: &Storm) -> Result<(), PlanError> {
        let targets: Result<Vec<_>, _> =
            storm.points.iter().map(|point| Target::new(point, storm.fault)).collect();
        let (targets, fault, every) = (targets?, storm.fault, storm.every);
        if targets.is_empty() || every.is_zero() {
            return Err(PlanError::Never(storm.points.join("|")));
        }
        self.room()?;
        self.storms.push(Blowing { targets, fault, every, next: None });
        Ok(())
    }

    /// Counts a pass, and says what happens at it: of several plans that are due, the first.
    pub(super) fn pass(&mut self, owner: &str, step: &str, subject: &str, now: Instant) -> Option<Fault> {
        self.blow(now);
        let mut happens = None;
        for armed in self.armed.iter_mut().filter(|armed| armed.is_for(subject)) {
            if !armed.target.covers(owner, step) {
                continue;
            }
            if armed.skip > 0 {
                armed.skip -= 1;
            } else if happens.is_none() {
                armed.times -= 1;
                happens = Some(armed.fault);
            }
        }
        if happens.is_some() {
            self.armed.retain(|armed| armed.times > 0);
            *self.hits.entry(format!("{owner}.{step}")).or_default() += 1;
        }
        happens
    }

    /// Each storm whose time has come chooses where to strike, among the points where none of its strikes is still waiting for a pass.
    ///
    /// No thread sees to that: a fault can only happen where somebody passes, so whoever passes looks at the clock.
    fn blow(&mut self, now: Instant) {
        for (number, storm) in self.storms.iter_mut().enumerate() {
            if storm.next.is_some_and(|next| now < next) {
                continue;
            }
            // What was missed is not made up for.
            storm.next = Some(now + storm.every);
            let waits = |target: &Target| {
                self.armed.iter().any(|armed| armed.storm == Some(number) && armed.target == *target)
            };
            let free: Vec<Target> = storm.targets.iter().copied().filter(|target| !waits(target)).collect();
            if let Some(target) = self.chance.choice(free) {
                let skip = self.chance.u32(..=limits::CHAOS_SKIP_MAX);
                let fault = storm.fault;
                self.armed.push(Armed { target, subject: None, skip, times: 1, fault, storm: Some(number) });
            }
        }
    }

    fn waits_for(&self, owner: &str, step: &str, subject: &str) -> bool {
        let armed = |armed: &Armed| armed.is_for(subject) && armed.target.is(owner, step);
        let storm = |storm: &Blowing| storm.targets.iter().any(|target| target.is(owner, step));
        self.armed.iter().any(armed) || self.storms.iter().any(storm)
    }

    fn strikes(&self, owner: &str, subject: &str) -> bool {
        self.armed.iter().any(|armed| armed.is_for(subject) && armed.target.owner == owner)
    }

    fn needs_waking(&self) -> bool {
        let mut storms = self.storms.iter().flat_map(|storm| &storm.targets);
        self.armed.iter().any(|armed| armed.target.needs_waking()) || storms.any(|it| it.needs_waking())
    }

    fn planned(&self) -> usize {
        self.armed.len() + self.storms.len()
    }

    fn room(&self) -> Result<(), PlanError> {
        // (The strikes of storms are as many as their points at most.)
        let planned = self.armed.iter().filter(|armed| armed.storm.is_none()).count() + self.storms.len();
        if planned < limits::CHAOS_PLANS_MAX { Ok(()) } else { Err(PlanError::TooMany) }
    }
}

impl Armed {
    fn is_for(&self, subject: &str) -> bool {
        self.subject.as_deref().is_none_or(|own| own == subject)
    }
}
