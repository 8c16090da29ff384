//! The plans of one server, and the faults that have happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Restarts;
use super::plan::{Fault, Plan, PlanError, Storm, Target};
use crate::limits;

/// The planned faults of one server. Every actor of the server has a clone of this handle; nothing
/// is global.
///
/// Needs the feature `chaos`, which is off by default. The default has no plans. Parsing takes the
/// syntax of `STAGECOACH_CHAOS` (see CONTRIBUTING.md).
#[derive(Debug, Clone)]
pub struct Chaos(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The number of plans and storms. While it is 0, no pass takes the lock.
    planned: AtomicUsize,
    state: Mutex<State>,
    /// Wakes actors that have to pass a point for a plan.
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

/// A plan that is not finished.
#[derive(Debug)]
struct Armed {
    target: Target,
    subject: Option<String>,
    skip: u32,
    times: u32,
    fault: Fault,
    /// The storm of this strike.
    storm: Option<usize>,
}

/// A storm in progress.
#[derive(Debug)]
struct Blowing {
    targets: Vec<Target>,
    fault: Fault,
    every: Duration,
    /// When it strikes next; `None` for now.
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
    /// [`PlanError`]: there is no such point, the fault can't happen there, or there are
    /// [`limits::CHAOS_PLANS_MAX`] plans already.
    pub fn plan(&self, plan: Plan) -> Result<(), PlanError> {
        self.change(|state| state.plan(plan))
    }

    /// Plans a repeated fault.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn storm(&self, storm: &Storm) -> Result<(), PlanError> {
        self.change(|state| state.storm(storm))
    }

    /// Removes all plans and storms; the counts of [`hits`](Self::hits) stay.
    pub fn calm(&self) {
        self.change(|state| {
            state.armed.clear();
            state.storms.clear();
        });
    }

    /// How often faults have happened, by point.
    #[must_use]
    pub fn hits(&self) -> BTreeMap<String, u64> {
        self.state().hits.clone()
    }

    /// The number of unfinished plans and storms.
    #[must_use]
    pub fn planned(&self) -> usize {
        self.state().planned()
    }

    /// The seed of [storms](Self::storm): random unless it was [set](Self::set_seed).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.state().seed
    }

    /// Restarts the random numbers from this seed.
    pub fn set_seed(&self, seed: u64) {
        let mut state = self.state();
        (state.seed, state.chance) = (seed, fastrand::Rng::with_seed(seed));
    }

    /// Sets how often permanent actors of servers started from now on are restarted before the
    /// server gives up, and optionally the period. A short period also shortens the restart pauses.
    pub fn raise_restarts(&self, max: usize, within: Option<Duration>) {
        self.state().restarts = Some(Restarts { max, within });
    }

    pub(crate) fn restarts(&self) -> Option<Restarts> {
        self.state().restarts
    }

    /// Passes a point. Returns the fault that happens now.
    pub(super) fn pass(&self, owner: &'static str, step: &'static str, subject: &str) -> Option<Fault> {
        if self.0.planned.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.change(|state| state.pass(owner, step, subject, Instant::now()))
    }

    /// Whether a plan or a storm is for exactly this point.
    pub(super) fn waits_for(&self, owner: &str, step: &str, subject: &str) -> bool {
        self.0.planned.load(Ordering::Acquire) != 0 && self.state().waits_for(owner, step, subject)
    }

    pub(super) fn strikes(&self, owner: &str, subject: &str) -> bool {
        self.0.planned.load(Ordering::Acquire) != 0 && self.state().strikes(owner, subject)
    }

    /// Signals new plans that need a wake-up.
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
        // Nothing panics while it holds the lock.
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

    /// Counts a pass and returns the fault that happens at it: the first of those that are due.
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

    /// Every storm that is due picks one of its points without a pending strike.
    ///
    /// No thread does this: faults only happen at passes, so each pass checks the clock.
    fn blow(&mut self, now: Instant) {
        for (number, storm) in self.storms.iter_mut().enumerate() {
            if storm.next.is_some_and(|next| now < next) {
                continue;
            }
            // Missed strikes are not made up for.
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
        // Strikes of storms don't count: they are bounded by the points of the storms.
        let planned = self.armed.iter().filter(|armed| armed.storm.is_none()).count() + self.storms.len();
        if planned < limits::CHAOS_PLANS_MAX { Ok(()) } else { Err(PlanError::TooMany) }
    }
}

impl Armed {
    fn is_for(&self, subject: &str) -> bool {
        self.subject.as_deref().is_none_or(|own| own == subject)
    }
}
