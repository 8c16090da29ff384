//! The plans of one server, and the faults that have happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::plan::{Fault, Plan, PlanError, Storm, check};
use crate::limits;

/// The planned faults of one server. Every actor of the server has a clone of this handle; nothing
/// is global.
///
/// Needs the feature `chaos`, which is off by default. The default has no plans. Parsing takes the
/// syntax of `STAGECOACH_CHAOS` (see CONTRIBUTING.md).
#[derive(Debug, Clone)]
pub struct Chaos {
    state: Arc<Mutex<State>>,
    /// The number of plans and storms.
    planned: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// The unfinished plans, each with its storm if it is a strike of one.
    plans: Vec<(Plan, Option<usize>)>,
    /// Each with the time of its next strike; `None` for now.
    storms: Vec<(Storm, Option<Instant>)>,
    hits: BTreeMap<String, u64>,
    restarts: Option<(usize, Option<Duration>)>,
    random: fastrand::Rng,
    seed: u64,
}

impl Default for Chaos {
    fn default() -> Self {
        let chaos = Self { state: Arc::default(), planned: watch::Sender::default() };
        chaos.set_seed(fastrand::u64(..));
        chaos
    }
}

impl Chaos {
    /// Plans a fault.
    ///
    /// # Errors
    /// [`PlanError`]: there is no such point, the fault can't happen there, or there are
    /// [`limits::CHAOS_PLANS_MAX`] plans already.
    pub fn plan(&self, plan: Plan) -> Result<(), PlanError> {
        check(&plan.point, plan.fault)?;
        if plan.times == 0 {
            return Err(PlanError::Never(plan.point));
        }
        self.add(|state| state.plans.push((plan, None)))
    }

    /// Plans a repeated fault.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn storm(&self, storm: Storm) -> Result<(), PlanError> {
        storm.points.iter().try_for_each(|point| check(point, storm.fault))?;
        if storm.points.is_empty() || storm.every.is_zero() {
            return Err(PlanError::Never(storm.points.join("|")));
        }
        self.add(|state| state.storms.push((storm, None)))
    }

    /// Removes all plans and storms; the counts of [`hits`](Self::hits) stay.
    pub fn calm(&self) {
        self.change(|state| {
            state.plans.clear();
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
        *self.planned.borrow()
    }

    /// The seed of [storms](Self::storm): random unless it was [set](Self::set_seed).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.state().seed
    }

    /// Restarts the random numbers from this seed.
    pub fn set_seed(&self, seed: u64) {
        let mut state = self.state();
        (state.seed, state.random) = (seed, fastrand::Rng::with_seed(seed));
    }

    /// Sets how often permanent actors of servers started from now on are restarted before the
    /// server gives up, and optionally the period. A short period also shortens the restart pauses.
    pub fn raise_restarts(&self, max: usize, within: Option<Duration>) {
        self.state().restarts = Some((max, within));
    }

    pub(crate) fn restarts(&self) -> Option<(usize, Option<Duration>)> {
        self.state().restarts
    }

    /// Passes a point. Returns the fault that happens now: the first of those that are due.
    pub(super) fn pass(&self, owner: &str, step: &str, subject: &str, now: Instant) -> Option<Fault> {
        // Without plans no pass takes the lock of the state.
        (self.planned() > 0).then(|| self.change(|state| state.pass(owner, step, subject, now)))?
    }

    pub(super) fn strikes(&self, owner: &str, subject: &str) -> bool {
        self.planned() > 0 && self.state().plans.iter().any(|(plan, _)| plan.concerns(owner, subject))
    }

    /// Whether a plan or a storm names exactly this point.
    pub(super) fn names(&self, owner: &str, step: &str) -> bool {
        let state = self.state();
        let is_named = |point: &String| point.split_once('.') == Some((owner, step));
        state.plans.iter().any(|(plan, _)| is_named(&plan.point))
            || state.storms.iter().any(|(storm, _)| storm.points.iter().any(is_named))
    }

    /// Waits until something is planned.
    pub(super) async fn wait_for_plan(self) {
        // There is no error: this handle has a sender.
        let _ = self.planned.subscribe().wait_for(|planned| *planned > 0).await;
    }

    fn add(&self, add: impl FnOnce(&mut State)) -> Result<(), PlanError> {
        self.change(|state| {
            let has_room = state.planned() < limits::CHAOS_PLANS_MAX;
            has_room.then(|| add(state)).ok_or(PlanError::TooMany)
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let planned = state.planned();
        self.planned.send_if_modified(|before| std::mem::replace(before, planned) != planned);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pass(&mut self, owner: &str, step: &str, subject: &str, now: Instant) -> Option<Fault> {
        self.strike(now);
        let mut happens = None;
        for (plan, _) in self.plans.iter_mut().filter(|(plan, _)| plan.covers(owner, step, subject)) {
            if plan.skip > 0 {
                plan.skip -= 1;
            } else if happens.is_none() {
                plan.times -= 1;
                happens = Some(plan.fault);
            }
        }
        if happens.is_some() {
            self.plans.retain(|(plan, _)| plan.times > 0);
            *self.hits.entry(format!("{owner}.{step}")).or_default() += 1;
        }
        happens
    }

    /// Every storm that is due picks one of its points without a pending strike.
    ///
    /// No thread does this: faults only happen at passes, so each pass checks the clock.
    fn strike(&mut self, now: Instant) {
        for (number, (storm, next)) in self.storms.iter_mut().enumerate() {
            if next.is_some_and(|next| now < next) {
                continue;
            }
            // Missed strikes are not made up for.
            *next = Some(now + storm.every);
            let is_pending = |point: &String| {
                self.plans.iter().any(|(plan, of)| *of == Some(number) && plan.point == *point)
            };
            let free: Vec<_> = storm.points.iter().filter(|point| !is_pending(point)).collect();
            if let Some(point) = self.random.choice(free) {
                let skip = self.random.u32(..=limits::CHAOS_SKIP_MAX);
                self.plans.push((Plan { skip, ..Plan::once(point, storm.fault) }, Some(number)));
            }
        }
    }

    fn planned(&self) -> usize {
        // Strikes of storms don't count: they are bounded by the points of the storms.
        self.plans.iter().filter(|(_, storm)| storm.is_none()).count() + self.storms.len()
    }
}
