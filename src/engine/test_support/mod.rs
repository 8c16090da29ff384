//! What the tests of actors and engine share.

mod stepped_store;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, System};

pub(crate) use self::stepped_store::SteppedStore;
use crate::chaos::{Chaos, Part};
use crate::engine::config::Config;
use crate::engine::service::Service;
use crate::observe::{Fact, Observer, Report};
use crate::store::Store;
use crate::supervision::{ChildExited, Exit};
use crate::transfer::Timeouts;

/// A writer's part, in which nothing is planned.
pub(crate) fn no_faults() -> Part {
    let chaos: Chaos = Default::default();
    chaos.part("writer", "")
}

/// Keeps the crashes and the reports that observers receive.
#[derive(Debug, Default)]
pub(crate) struct Crashes {
    crashes: Mutex<Vec<String>>,
    reports: Mutex<Vec<Report>>,
}

impl Crashes {
    pub(crate) fn all(&self) -> Vec<String> {
        self.crashes.lock().unwrap().clone()
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        self.reports.lock().unwrap().clone()
    }
}

impl Observer for Crashes {
    fn observe(&self, fact: &Fact<'_>) {
        match fact {
            Fact::Crashed { actor, transfer, panic } => {
                let crash = format!("{actor} of {}: {panic}", transfer.unwrap().0);
                self.crashes.lock().unwrap().push(crash);
            }
            Fact::Finished(report) => self.reports.lock().unwrap().push(report.clone().into_owned()),
            _ => {}
        }
    }
}

/// A service with this store and timeouts that never pass in a test, and the observer of its
/// crashes.
pub(crate) fn service(store: Arc<dyn Store>) -> (Arc<Service>, Arc<Crashes>) {
    let (crashes, hour) = (Arc::<Crashes>::default(), Duration::from_secs(3600));
    let timeouts = Timeouts { ack: hour, unproven: hour, idle: hour, dally: hour, fixed: false };
    let mut service = Service::new(Config { timeouts, ..Config::new(store) });
    service.observers.push(Arc::<Crashes>::clone(&crashes));
    (Arc::new(service), crashes)
}

/// Waits for a condition that other threads bring about.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "never so: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A parent that sends the exits of its children to the test.
pub(crate) struct Parent(pub(crate) Sender<Exit>);

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ChildExited> for Parent {
    type Result = ();

    fn handle(&mut self, ChildExited { exit, .. }: ChildExited, _: &mut Self::Context) {
        // The test may have ended.
        let _ = self.0.send(exit);
    }
}

/// Runs a test on an arbiter whose clock moves only when the test advances it.
pub(crate) fn in_virtual_time(test: impl Future<Output = ()>) {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(test);
}

/// Runs the tasks of the arbiter until the condition holds, while time stands still.
pub(crate) async fn turn_until(is_so: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    panic!("never so");
}

/// Advances the clock, and runs the tasks that wake.
pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
