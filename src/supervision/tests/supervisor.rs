//! Supervisors: reports, ordered ends, escalation.

use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::Duration;

use actix::{Addr, Arbiter, Context, MailboxError, System};
use tokio::sync::oneshot;
use tokio::time::{Instant, pause, sleep, timeout};

use super::{Fragile, Order, Script, broke_in};
use crate::limits;
use crate::supervision::{ChildReport, ChildSpec, Exit, Follows, RestartLimit, Supervisor};

mod mail;

const LIMIT: RestartLimit = RestartLimit {
    restarts_max: 2,
    within: Duration::from_secs(10),
    pause: Duration::from_millis(10),
    pause_max: Duration::from_secs(1),
};

const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<ChildReport>>>);

impl Reports {
    fn root() -> (Supervisor, Self) {
        let reports = Self::default();
        let told = reports.clone();
        let root = Supervisor::start("root", move |report| told.0.lock().unwrap().push(report.clone()));
        (root, reports)
    }

    fn all(&self) -> Vec<ChildReport> {
        self.0.lock().unwrap().clone()
    }

    /// The final ends, as (child, exit, gives up).
    fn ends(&self) -> Vec<(&'static str, Exit, bool)> {
        let reports = self.all().into_iter();
        let ends = reports.filter(|report| !matches!(report.follows, Follows::Restart { .. }));
        ends.map(|report| (report.child, report.exit, report.follows == Follows::GiveUp)).collect()
    }
}

fn make(script: &Script) -> impl FnOnce(&mut Context<Fragile>) -> Fragile + Send + 'static {
    let script = script.clone();
    move |_| {
        script.step("factory");
        Fragile(script)
    }
}

fn permanent(name: &'static str, script: &Script) -> ChildSpec<Fragile> {
    ChildSpec::permanent(name, make(script)).limit(LIMIT)
}

fn temporary(name: &'static str, script: &Script) -> ChildSpec<Fragile> {
    ChildSpec::temporary(name, make(script))
}

async fn end_of(supervisor: &Supervisor) -> Exit {
    timeout(LONG * 60, supervisor.ended()).await.unwrap_or_else(|_| panic!("{} goes on", supervisor.name()))
}

fn stopped(name: &'static str) -> (&'static str, Exit, bool) {
    (name, Exit::Normal, false)
}

async fn is_alive(child: &Addr<Fragile>) -> bool {
    child.send(Order::Step("alive")).await.is_ok()
}

fn dead_arbiter() -> actix_rt::ArbiterHandle {
    let arbiter = Arbiter::new();
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().unwrap();
    handle
}

#[actix::test]
async fn children_end_in_reverse_order_of_their_start() {
    pause();
    let (root, reports) = Reports::root();
    let scripts = [Script::default(), Script::default(), Script::default().staying()];
    let mut children = Vec::new();
    for (name, script) in ["first", "second", "third"].into_iter().zip(&scripts) {
        children.push(root.start_child(permanent(name, script).stop_within(LONG)));
    }
    assert!(is_alive(&children[2]).await);
    root.stop();
    scripts[2].reaches("stopping").await;
    sleep(LONG / 2).await;
    // It has not ended yet, so the others go on.
    assert!(is_alive(&children[2]).await && is_alive(&children[1]).await && is_alive(&children[0]).await);
    assert!(!scripts[1].steps().contains(&"stopping"));
    children[2].do_send(Order::Finish);
    let waiting = (root.ended(), root.clone());
    assert_eq!(end_of(&root).await, Exit::Normal);
    assert_eq!((waiting.0.await, end_of(&waiting.1).await), (Exit::Normal, Exit::Normal), "all are told");
    assert_eq!(reports.ends(), ["third", "second", "first"].map(stopped));
    assert_eq!(reports.all().len(), 3);
}

#[actix::test]
async fn a_child_that_is_slow_to_stop_is_terminated() {
    pause();
    let (root, reports) = Reports::root();
    let script = Script::default().staying();
    root.start_child(permanent("first", &Script::default()));
    let slow = root.start_child(temporary("slow", &script).stop_within(LONG));
    assert!(is_alive(&slow).await);
    let told = Instant::now();
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
    assert!((LONG..LONG + limits::TERMINATED_WITHIN).contains(&told.elapsed()), "{:?}", told.elapsed());
    assert_eq!(reports.ends(), [("slow", Exit::Killed, false), stopped("first")]);
    assert_eq!(script.steps(), ["factory", "started", "alive", "stopping", "dropped"]);
}

#[actix::test]
async fn a_child_whose_arbiter_is_blocked_holds_up_nobody() {
    let (root, reports) = Reports::root();
    let arbiter = Arbiter::new();
    let (release, released) = std_mpsc::channel::<()>();
    let (entered, has_entered) = oneshot::channel();
    root.start_child(permanent("first", &Script::default()));
    let child = root.start_child(permanent("blocked", &Script::default()).on(&arbiter.handle()));
    assert!(is_alive(&child).await);
    arbiter.spawn_fn(move || {
        entered.send(()).unwrap();
        let _ = released.recv();
    });
    has_entered.await.unwrap();
    pause();
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
    assert_eq!(reports.ends(), [stopped("first")]);
    drop(release);
    arbiter.stop();
    arbiter.join().unwrap();
}

#[actix::test]
async fn every_exit_is_reported_once_and_says_what_follows() {
    pause();
    let (root, reports) = Reports::root();
    let child = root.start_child(permanent("child", &Script::panicking([("message", 1)])));
    assert_eq!(child.send(Order::Step("message")).await, Err(MailboxError::Closed));
    assert!(is_alive(&child).await);
    child.do_send(Order::Stop);
    assert!(is_alive(&child).await);
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
    let all = reports.all();
    assert_eq!(
        all.iter().map(|report| &report.exit).collect::<Vec<_>>(),
        [&broke_in("message"), &Exit::Normal, &Exit::Normal]
    );
    let after_ms = |report: &ChildReport| match report.follows {
        Follows::Restart { after } => after.as_secs_f64() * 1000.0,
        Follows::End | Follows::GiveUp => panic!("{report:?}"),
    };
    assert!(
        (5.0..=15.0).contains(&after_ms(&all[0])) && (10.0..=30.0).contains(&after_ms(&all[1])),
        "{all:?}"
    );
    assert_eq!(all[2].follows, Follows::End);
}

#[actix::test]
async fn a_supervisor_gives_up_a_child_past_its_limit() {
    pause();
    let (root, reports) = Reports::root();
    root.start_child(permanent("registry", &Script::default()));
    let broken = root.start_child(permanent("listener", &Script::panicking([("message", 9)])));
    root.start_child(temporary("session", &Script::default()).mailbox(1)).do_send(Order::ScheduleMessage);
    (0..9).for_each(|_| broken.do_send(Order::Step("message")));
    let why = "the listener panicked: broke in message".to_owned();
    assert_eq!(end_of(&root).await, Exit::GaveUp(why));
    assert!(!broken.connected());
    let ends = [("listener", broke_in("message"), true), stopped("session"), stopped("registry")];
    assert_eq!(reports.ends(), ends);
    assert_eq!(reports.all().len(), LIMIT.restarts_max + ends.len());
}

#[actix::test]
async fn giving_up_reaches_the_root_and_stops_siblings() {
    pause();
    let (root, reports) = Reports::root();
    let beside = root.start_child(permanent("registry", &Script::default()));
    let middle = root.start_supervisor("arbiter");
    let inner = middle.start_supervisor("sessions");
    middle.start_child(permanent("cache", &Script::default()));
    let broken = inner.start_child(permanent("session", &Script::panicking([("message", 9)])));
    assert!(is_alive(&beside).await);
    (0..9).for_each(|_| broken.do_send(Order::Step("message")));
    let session = "the session panicked: broke in message".to_owned();
    let sessions = format!("the sessions gave up: {session}");
    let arbiter = format!("the arbiter gave up: {sessions}");
    assert_eq!(end_of(&root).await, Exit::GaveUp(arbiter));
    assert_eq!(end_of(&middle).await, Exit::GaveUp(sessions.clone()));
    assert_eq!(end_of(&inner).await, Exit::GaveUp(session.clone()));
    let ends = [
        ("session", broke_in("message"), true),
        ("sessions", Exit::GaveUp(session), true),
        stopped("cache"),
        ("arbiter", Exit::GaveUp(sessions), true),
        stopped("registry"),
    ];
    assert_eq!(reports.ends(), ends);
}

#[actix::test]
async fn a_stopped_nested_supervisor_ends_alone() {
    pause();
    let (root, reports) = Reports::root();
    let (first, nested) =
        (root.start_child(permanent("first", &Script::default())), root.start_supervisor("nested"));
    let inner = nested.start_child(permanent("inner", &Script::default()));
    assert!(is_alive(&inner).await);
    nested.stop();
    assert_eq!(end_of(&nested).await, Exit::Normal);
    assert_eq!(reports.ends(), [stopped("inner"), stopped("nested")]);
    // An unused supervisor ends too.
    drop(root.start_supervisor("unused"));
    sleep(LONG).await;
    assert!(is_alive(&first).await);
    let last = root.start_supervisor("last");
    assert!(is_alive(&last.start_child(permanent("inner of last", &Script::default()))).await);
    root.stop();
    assert_eq!((end_of(&root).await, end_of(&last).await), (Exit::Normal, Exit::Normal));
    let ends = ["inner", "nested", "unused", "inner of last", "last", "first"];
    assert_eq!(reports.ends(), ends.map(stopped));
}

#[actix::test]
async fn a_permanent_child_whose_arbiter_ends_is_given_up() {
    for dead in [true, false] {
        let (root, reports) = Reports::root();
        let first = root.start_child(permanent("first", &Script::default()));
        assert!(is_alive(&first).await);
        if dead {
            let child = root.start_child(permanent("child", &Script::default()).on(&dead_arbiter()));
            assert_eq!(end_of(&root).await, Exit::GaveUp("the child was killed".into()));
            assert!(!child.connected());
        } else {
            let arbiter = Arbiter::new();
            let child = root.start_child(permanent("child", &Script::default()).on(&arbiter.handle()));
            assert!(is_alive(&child).await);
            arbiter.stop();
            assert_eq!(end_of(&root).await, Exit::GaveUp("the child was killed".into()));
        }
        assert_eq!(reports.ends(), [("child", Exit::Killed, true), stopped("first")]);
    }
}

#[actix::test]
async fn the_end_of_a_temporary_child_is_only_reported() {
    pause();
    let (root, reports) = Reports::root();
    let beside = root.start_child(permanent("beside", &Script::default()));
    root.start_child(temporary("stops", &Script::default())).do_send(Order::Stop);
    root.start_child(temporary("panics", &Script::panicking([("message", 1)])))
        .do_send(Order::Step("message"));
    root.start_child(temporary("factory", &Script::panicking([("factory", 1)])));
    root.start_child(temporary("killed", &Script::default()).on(&dead_arbiter()));
    drop(root.start_child(temporary("unknown", &Script::default())));
    sleep(LONG).await;
    assert!(is_alive(&beside).await);
    let mut ends = reports.ends();
    ends.sort_by_key(|(child, ..)| *child);
    let due = [
        ("factory", broke_in("factory"), false),
        ("killed", Exit::Killed, false),
        ("panics", broke_in("message"), false),
        stopped("stops"),
        stopped("unknown"),
    ];
    assert_eq!(ends, due);
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
}

#[actix::test]
async fn a_permanent_child_that_can_not_be_made_is_given_up() {
    pause();
    let (root, reports) = Reports::root();
    root.start_child(permanent("child", &Script::panicking([("factory", 1)])));
    assert_eq!(end_of(&root).await, Exit::GaveUp("the child panicked: broke in factory".into()));
    assert_eq!(reports.ends(), [("child", broke_in("factory"), true)]);
}

#[actix::test]
async fn another_thread_can_start_and_stop_children() {
    let (root, reports) = Reports::root();
    let handle = root.clone();
    let started = std::thread::spawn(move || {
        let nested = handle.start_supervisor("nested");
        let first = nested.start_child(permanent("first", &Script::default()));
        let child = nested.start_child(permanent("second", &Script::default()));
        // Their lives may not have begun, but both already have messages.
        first.do_send(Order::Step("early"));
        child.do_send(Order::Step("early"));
        (first, child, nested)
    });
    let (first, second, nested) = actix_rt::task::spawn_blocking(|| started.join().unwrap()).await.unwrap();
    assert!(is_alive(&first).await && is_alive(&second).await);
    std::thread::spawn(move || root.stop());
    assert_eq!(end_of(&nested).await, Exit::Normal);
    assert_eq!(reports.ends()[..2], ["second", "first"].map(stopped));
}

#[actix::test]
async fn a_supervisor_that_has_ended_starts_nothing() {
    pause();
    let (root, reports) = Reports::root();
    root.stop();
    assert_eq!(end_of(&root).await, Exit::Normal);
    let script = Script::default();
    let child = root.start_child(permanent("late", &script));
    assert_eq!(child.send(Order::Step("late")).await, Err(MailboxError::Closed));
    assert_eq!(end_of(&root.start_supervisor("late supervisor")).await, Exit::Killed);
    assert!(reports.all().is_empty() && script.steps().is_empty());
}

#[actix::test]
async fn a_supervisor_that_is_stopping_starts_nothing() {
    pause();
    let (root, reports) = Reports::root();
    let script = Script::default().staying();
    let slow = root.start_child(permanent("slow", &script));
    assert!(is_alive(&slow).await);
    root.stop();
    script.reaches("stopping").await;
    let late = root.start_child(permanent("late", &Script::default()));
    assert_eq!(late.send(Order::Step("late")).await, Err(MailboxError::Closed));
    assert_eq!(end_of(&root.start_supervisor("late supervisor")).await, Exit::Killed);
    assert_eq!(end_of(&root).await, Exit::Normal);
    assert_eq!(reports.ends(), [("slow", Exit::Killed, false)]);
}

#[actix::test]
async fn one_who_panics_at_a_report_changes_nothing() {
    pause();
    let root = Supervisor::start("root", |report| panic!("can't hear of {}", report.child));
    let child = root.start_child(permanent("child", &Script::panicking([("message", 9)])));
    assert_eq!(child.send(Order::Step("message")).await, Err(MailboxError::Closed));
    assert!(is_alive(&child).await);
    (0..9).for_each(|_| child.do_send(Order::Step("message")));
    assert_eq!(end_of(&root).await, Exit::GaveUp("the child panicked: broke in message".into()));
}

#[actix::test]
async fn children_outlive_their_supervisors_handles() {
    pause();
    let (root, reports) = Reports::root();
    let script = Script::panicking([("scheduled", 1)]);
    root.start_child(permanent("child", &script)).do_send(Order::ScheduleMessage);
    let ended = root.ended();
    drop(root);
    assert!(timeout(LONG, ended).await.is_err(), "{:?}", reports.all());
    assert_eq!(script.steps()[2..], ["scheduled", "restarting", "started"]);
}

#[actix::test]
async fn children_end_with_their_supervisors_arbiter() {
    let (started, has_started) = std_mpsc::channel();
    let other = Arbiter::new();
    let (of_root, told) = (Arbiter::new(), Reports::default());
    let reports = told.clone();
    of_root.spawn_fn(move || {
        let root = Supervisor::start("root", move |report| told.0.lock().unwrap().push(report.clone()));
        started.send(root).unwrap();
    });
    let root = actix_rt::task::spawn_blocking(move || has_started.recv().unwrap()).await.unwrap();
    let child = root.start_child(permanent("child", &Script::default()).on(&other.handle()));
    assert!(is_alive(&child).await);
    of_root.stop();
    assert_eq!(end_of(&root).await, Exit::Killed);
    let gone = async {
        while reports.ends().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, gone).await.unwrap();
    assert_eq!(reports.ends(), [stopped("child")]);
    assert!(System::current().arbiter().spawn_fn(|| ()), "the rest goes on");
}

#[test]
fn an_arbiter_of_a_childs_own_ends_with_the_child() {
    System::new().block_on(async {
        let (root, reports) = Reports::root();
        let apart = root.starting_apart();
        let (tell, arbiters) = std_mpsc::channel();
        let start = |supervisor: &Supervisor, name| {
            let (tell, script) = (tell.clone(), Script::default());
            supervisor.start_child(ChildSpec::temporary(name, move |_| {
                tell.send(Arbiter::current()).unwrap();
                Fragile(script)
            }))
        };
        let nested = apart.start_supervisor("nested");
        let children = [start(&apart, "one"), start(&nested, "two")];
        for child in &children {
            assert!(is_alive(child).await);
        }
        let arbiters: Vec<_> = arbiters.try_iter().collect();
        assert!(arbiters.len() == 2 && arbiters.iter().all(actix_rt::ArbiterHandle::alive));
        root.stop();
        assert_eq!(end_of(&root).await, Exit::Normal);
        assert_eq!(reports.ends().len(), 3);
        let ended = async {
            while arbiters.iter().any(actix_rt::ArbiterHandle::alive) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, ended).await.expect("their threads end");
    });
}
