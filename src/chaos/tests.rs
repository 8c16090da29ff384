use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, System};

use super::{Chaos, Fault, Part, Plan, PlanError, Storm};
use crate::limits;

const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);

fn storm(points: &[&str], fault: Fault, every: Duration) -> Storm {
    Storm { points: points.iter().map(|&point| point.to_owned()).collect(), fault, every }
}

fn seeded(seed: u64) -> Chaos {
    let chaos = Chaos::default();
    chaos.set_seed(seed);
    chaos
}

fn passes(chaos: &Chaos, owner: &str, subject: &str, count: usize) -> Vec<bool> {
    let now = Instant::now();
    (0..count).map(|_| chaos.pass(owner, "handle", subject, now).is_some()).collect()
}

#[test]
fn a_plan_skips_and_then_repeats_as_asked() {
    let chaos = Chaos::default();
    chaos.plan(Plan { skip: 2, times: 3, ..Plan::once("session.handle", Fault::Stop) }).unwrap();
    let pass = || chaos.pass("session", "handle", "any", Instant::now());
    let seen: Vec<_> = std::iter::repeat_with(pass).take(7).map(|it| it.is_some()).collect();
    assert_eq!(seen, [false, false, true, true, true, false, false]);
    assert_eq!(chaos.hits(), BTreeMap::from([("session.handle".to_owned(), 3)]));
    assert_eq!(chaos.planned(), 0);
}

#[test]
fn a_plan_for_one_subject_spares_the_others() {
    let chaos = Chaos::default();
    let subject = Some("x".to_owned());
    chaos.plan(Plan { subject, skip: 1, ..Plan::once("session.handle", Fault::Panic) }).unwrap();
    assert_eq!(passes(&chaos, "session", "y", 3), [false; 3]);
    assert_eq!(passes(&chaos, "reader", "x", 3), [false; 3]);
    assert_eq!(passes(&chaos, "session", "x", 3), [false, true, false]);
}

#[test]
fn plans_for_the_same_point_take_their_turns() {
    let chaos = Chaos::default();
    let delay = Fault::Delay(Duration::from_secs(1));
    for fault in [Fault::Panic, delay] {
        chaos.plan(Plan::once("reader.handle", fault)).unwrap();
    }
    let now = Instant::now();
    let seen: Vec<_> = (0..3).map(|_| chaos.pass("reader", "handle", "", now)).collect();
    assert_eq!(seen, [Some(Fault::Panic), Some(delay), None]);
}

#[test]
fn a_bare_name_covers_a_life_or_every_call() {
    let hit = |name: &str, owner, step| {
        let chaos = Chaos::default();
        chaos.plan(Plan::once(name, Fault::Panic)).unwrap();
        chaos.pass(owner, step, "", Instant::now()).is_some()
    };
    for step in ["handle", "started", "future", "scheduled"] {
        assert!(hit("listener", "listener", step), "{step}");
    }
    assert!(!hit("listener", "listener", "restarting") && !hit("listener", "listener", "drop"));
    assert!(!hit("session", "session_supervisor", "handle") && !hit("store.open", "store", "fetch"));
    assert!(hit("store", "store", "publish") && hit("observer", "observer", "observe"));
}

#[test]
fn what_can_not_happen_is_refused() {
    let refused = |point: &str, fault| Chaos::default().plan(Plan::once(point, fault)).unwrap_err();
    for unknown in
        ["", "sesion", "session.", "session.handel", "session.restarting", "store.handle", "x.open"]
    {
        assert_eq!(refused(unknown, Fault::Panic), PlanError::UnknownPoint(unknown.to_owned()));
    }
    for seam in ["store", "store.open", "link.send", "observer", "session.drop"] {
        assert_eq!(refused(seam, Fault::Stop), PlanError::NothingStops(seam.to_owned()));
    }
    let chaos = Chaos::default();
    let never = PlanError::Never("reader".to_owned());
    assert_eq!(chaos.plan(Plan { times: 0, ..Plan::once("reader", Fault::Panic) }), Err(never.clone()));
    assert_eq!(chaos.storm(storm(&["reader"], Fault::Panic, Duration::ZERO)), Err(never));
    assert_eq!(chaos.storm(storm(&[], Fault::Panic, TICK)), Err(PlanError::Never(String::new())));
    for _ in 0..limits::CHAOS_PLANS_MAX {
        chaos.plan(Plan::once("reader", Fault::Panic)).unwrap();
    }
    assert_eq!(chaos.plan(Plan::once("reader", Fault::Panic)), Err(PlanError::TooMany));
    assert_eq!(chaos.storm(storm(&["reader"], Fault::Panic, TICK)), Err(PlanError::TooMany));
    chaos.calm();
    assert_eq!((chaos.planned(), chaos.pass("reader", "handle", "", Instant::now())), (0, None));
}

/// The passes at which a storm struck, as (tick, actor).
fn struck(seed: u64, ticks: u32, passes_a_tick: usize) -> Vec<(u32, &'static str)> {
    let (chaos, begun, mut struck) = (seeded(seed), Instant::now(), Vec::new());
    chaos.storm(storm(&["session", "reader"], Fault::Panic, TICK)).unwrap();
    for tick in 0..ticks {
        for _ in 0..passes_a_tick {
            for actor in ["session", "reader"] {
                if chaos.pass(actor, "handle", "any", begun + TICK * tick).is_some() {
                    struck.push((tick, actor));
                }
            }
        }
    }
    struck
}

#[test]
fn a_storm_strikes_once_a_tick_as_its_seed_says() {
    let strikes = struck(7, 100, 20);
    let ticks: Vec<_> = strikes.iter().map(|(tick, _)| *tick).collect();
    assert_eq!(ticks, (0..100).collect::<Vec<_>>());
    let sessions = strikes.iter().filter(|(_, actor)| *actor == "session").count();
    assert!((25..75).contains(&sessions), "{sessions} of 100");
    assert_eq!(strikes, struck(7, 100, 20));
    assert_ne!(strikes, struck(8, 100, 20));
}

#[test]
fn strikes_that_find_nobody_do_not_pile_up() {
    let chaos = seeded(7);
    chaos.storm(storm(&["session", "reader"], Fault::Panic, TICK)).unwrap();
    let begun = Instant::now();
    for tick in 0..100 {
        assert_eq!(chaos.pass("listener", "handle", "", begun + TICK * tick), None);
    }
    let now = begun + TICK * 99;
    let strikes = (0..100).filter(|_| chaos.pass("session", "handle", "", now).is_some()).count();
    assert_eq!(strikes, 1);
}

#[test]
fn the_text_of_the_environment_is_understood() {
    let chaos: Chaos = " seed=42 ; session.handle[a=b]=panic skip 1 times 2; restarts = 1000 within 1s;\
                        store.open=delay 20ms;"
        .parse()
        .unwrap();
    assert_eq!((chaos.seed(), chaos.planned()), (42, 2));
    assert_eq!(chaos.restarts(), Some((1000, Some(Duration::from_secs(1)))));
    let seen: Vec<_> = (0..4).map(|_| chaos.pass("session", "handle", "a=b", Instant::now())).collect();
    assert_eq!(seen, [None, Some(Fault::Panic), Some(Fault::Panic), None]);
    assert_eq!(
        chaos.pass("store", "open", "any", Instant::now()),
        Some(Fault::Delay(Duration::from_millis(20)))
    );
    let storms: Chaos = "session|reader=panic every 5ms; listener | registry=stop every 1s".parse().unwrap();
    assert_eq!(storms.planned(), 2);
    assert_eq!("".parse::<Chaos>().unwrap().planned(), 0);
}

#[test]
fn a_wrong_text_is_refused_with_its_statement() {
    for wrong in [
        "session.handle",
        "session.handle=",
        "session.handle=explode",
        "session.handle=panic twice",
        "session.handle=panic skip",
        "session.handle=panic skip -1",
        "session.handle=panic times 1 times 2",
        "session.handle=delay 5",
        "session.handle=delay ms",
        "session.handle[x=panic",
        "session|reader=panic",
        "session[x]=panic every 5ms",
        "session=panic every 5ms times 3",
        "seed=x",
        "seed=1 2",
        "restarts=5 in 3s",
        "restarts=5 within 3",
    ] {
        let text = format!("reader=panic; {wrong}");
        assert_eq!(text.parse::<Chaos>().unwrap_err(), PlanError::Syntax(wrong.to_owned()));
    }
    let unknown = "sesion.handle=panic".parse::<Chaos>().unwrap_err();
    assert_eq!(unknown, PlanError::UnknownPoint("sesion.handle".to_owned()));
    assert!("session.handle=panic times 0".parse::<Chaos>().is_err());
}

/// An actor that spawns and schedules nothing, like an idle reader.
struct Idle {
    part: Part,
    _end: mpsc::Sender<()>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Nudge;

impl Actor for Idle {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.part.started(ctx);
    }
}

impl Handler<Nudge> for Idle {
    type Result = ();

    fn handle(&mut self, _: Nudge, ctx: &mut Self::Context) {
        self.part.at("handle", ctx);
    }
}

/// Starts an idle reader of `x`, then plans. Returns whether it ended while it had an address.
fn ends(before: Option<Plan>, after: Option<Plan>) -> (bool, BTreeMap<String, u64>) {
    let chaos = Chaos::default();
    before.into_iter().for_each(|plan| chaos.plan(plan).unwrap());
    let (end, ended) = mpsc::channel();
    let ended = System::new().block_on(async {
        let idle = Idle { part: chaos.part("reader", "x"), _end: end }.start();
        let _ = idle.send(Nudge).await;
        after.into_iter().for_each(|plan| chaos.plan(plan).unwrap());
        let until = Instant::now() + PATIENCE;
        while idle.connected() && chaos.planned() > 0 && Instant::now() < until {
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
        let ends = !idle.connected();
        drop(idle);
        let until = Instant::now() + PATIENCE;
        while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            assert!(Instant::now() < until, "the actor lives on without an address");
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
        ends
    });
    (ended, chaos.hits())
}

#[test]
fn an_idle_actor_meets_its_planned_fault() {
    for point in ["reader.started", "reader.handle", "reader.future", "reader.scheduled"] {
        for fault in [Fault::Panic, Fault::Stop] {
            let mut plan = Plan { subject: Some("x".to_owned()), ..Plan::once(point, fault) };
            let hits = BTreeMap::from([(point.to_owned(), 1)]);
            assert_eq!(ends(Some(plan.clone()), None), (true, hits.clone()), "{point} {fault:?}");
            if matches!(point, "reader.future" | "reader.scheduled") {
                plan.skip = 3;
                assert_eq!(ends(None, Some(plan)), (true, hits), "{point} {fault:?}, planned later");
            }
        }
    }
}

#[test]
fn the_timer_passes_nothing_for_a_bare_name() {
    let chaos = Chaos::default();
    // The actor itself passes `started`.
    chaos.plan(Plan { skip: 1, ..Plan::once("reader", Fault::Panic) }).unwrap();
    System::new().block_on(async {
        let idle = Idle { part: chaos.part("reader", "x"), _end: mpsc::channel().0 }.start();
        actix::clock::sleep(4 * limits::CHAOS_PASS_EVERY).await;
        assert!(idle.connected());
    });
    assert_eq!(chaos.hits(), BTreeMap::new());
}

#[test]
fn an_actor_without_a_plan_for_it_lives() {
    assert_eq!(ends(None, None), (false, BTreeMap::new()));
    let others = Plan { subject: Some("y".to_owned()), ..Plan::once("reader.handle", Fault::Panic) };
    let delay = Plan::once("reader.future", Fault::Delay(Duration::from_millis(1)));
    assert!(!ends(Some(delay), None).0);
    let chaos = Chaos::default();
    chaos.plan(others).unwrap();
    assert_eq!(chaos.pass("reader", "handle", "x", Instant::now()), None);
}

#[test]
fn a_panic_in_drop_waits_for_an_end_that_is_no_panic() {
    let chaos = Chaos::default();
    chaos.plan(Plan::once("session.drop", Fault::Panic)).unwrap();
    let part = chaos.part("session", "x");
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _part = part;
        panic!("the first");
    }));
    assert!(unwound.is_err() && chaos.hits().is_empty());
    let part = chaos.part("session", "x");
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(part)));
    assert_eq!(dropped.unwrap_err().downcast_ref::<String>().unwrap(), "chaos at session.drop");
}

#[test]
fn an_actor_and_its_children_share_the_subject() {
    let chaos = Chaos::default();
    let subject = Some("x".to_owned());
    for point in ["reader.started", "store.open"] {
        chaos.plan(Plan { subject: subject.clone(), ..Plan::once(point, Fault::Panic) }).unwrap();
    }
    let session = chaos.part("session", "x");
    let seam = session.child("reader").seam("store");
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| seam.at("open"))).is_err());
    chaos.seam("store", "").at("open");
    assert_eq!(chaos.planned(), 1);
}
