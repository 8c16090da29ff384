//! Permanent actors: what restarts them, and what ends them.

use std::collections::HashSet;
use std::time::Duration;

use actix::{Addr, Arbiter, Context, MailboxError};
use tokio::sync::mpsc;
use tokio::time::{Instant, pause, sleep};

use super::{Fragile, Order, Script, broke_in, only};
use crate::supervision::restart::Restarts;
use crate::supervision::{Exit, Follows, Permanent, RestartLimit, Stopper, start_permanent};

const LIMIT: RestartLimit = RestartLimit {
    restarts_max: 4,
    within: Duration::from_secs(10),
    pause: Duration::from_millis(10),
    pause_max: Duration::from_secs(3600),
};

const LONG: Duration = Duration::from_secs(60);

struct Subject {
    actor: Addr<Fragile>,
    stopper: Stopper,
    ends: mpsc::UnboundedReceiver<Exit>,
}

fn permanent_on(arbiter: &actix_rt::ArbiterHandle, limit: RestartLimit, script: &Script) -> Subject {
    let (ended, ends) = mpsc::unbounded_channel();
    let script = script.clone();
    let make = move |_: &mut Context<Fragile>| {
        script.step("factory");
        Fragile(script)
    };
    let Permanent { addr: actor, stopper } =
        start_permanent(arbiter, limit, 16, make, move |exit, follows| {
            if follows == Follows::End {
                ended.send(exit.clone()).unwrap();
            }
        });
    Subject { actor, stopper, ends }
}

fn permanent(limit: RestartLimit, script: &Script) -> Subject {
    permanent_on(&Arbiter::current(), limit, script)
}

#[actix::test]
async fn an_actor_keeps_address_and_mail_after_a_panic() {
    pause();
    for (step, order) in [
        ("message", Order::Step("message")),
        ("spawned", Order::SpawnFuture),
        ("scheduled", Order::ScheduleMessage),
    ] {
        let script = Script::panicking([(step, 1)]);
        let Subject { actor, mut ends, .. } = permanent(LIMIT, &script);
        actor.do_send(order);
        while script.steps().last() != Some(&step) {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(actor.connected(), "after {step}");
        actor.do_send(Order::Step("waited"));
        assert_eq!(actor.send(Order::Step("waited longer")).await, Ok(()));
        let steps = ["factory", "started", step, "restarting", "started", "waited", "waited longer"];
        assert_eq!(script.steps(), steps);
        assert!(ends.try_recv().is_err(), "after {step}");
    }
}

#[actix::test]
async fn only_the_message_that_panicked_is_lost() {
    pause();
    let script = Script::panicking([("message", 1)]);
    let Subject { actor, ends: _ends, .. } = permanent(LIMIT, &script);
    let (lost, kept) = (actor.send(Order::Step("message")), actor.send(Order::Step("kept")));
    assert_eq!(futures_util::future::join(lost, kept).await, (Err(MailboxError::Closed), Ok(())));
}

#[actix::test]
async fn the_pause_doubles_with_every_panic_in_a_row() {
    pause();
    let script = Script::panicking([("started", 4)]);
    let Subject { actor, ends: _ends, .. } = permanent(LIMIT, &script);
    assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    let pauses = script.pauses_ms("started");
    let due = [10, 20, 40, 80];
    assert_eq!(pauses.len(), due.len());
    // Up to half as much jitter either way; and tokio's timers fire up to a millisecond late.
    let in_range = |(&paused, due): (&u128, u128)| (due / 2..due * 3 / 2 + 3).contains(&paused);
    assert!(pauses.iter().zip(due).all(in_range), "{pauses:?} ms");
}

#[test]
fn pauses_are_jittered_by_half_and_bounded() {
    let limit = RestartLimit { pause_max: Duration::from_millis(40), restarts_max: 8, ..LIMIT };
    let mut seen = HashSet::new();
    for _ in 0..100 {
        let mut restarts = Restarts::new(limit);
        for due_ms in [10, 20, 40, 40, 40, 40, 40, 40] {
            let (pause, due) = (restarts.after_exit().unwrap(), Duration::from_millis(due_ms));
            assert!((due / 2..=due * 3 / 2).contains(&pause), "{pause:?} for {due:?}");
            seen.insert(pause);
        }
        assert_eq!(restarts.after_exit(), None);
    }
    assert!(seen.len() > 400, "only {} different pauses of 800", seen.len());
    // The longest pause does not overflow.
    let forever = RestartLimit { pause: Duration::MAX, pause_max: Duration::MAX, ..LIMIT };
    assert!(Restarts::new(forever).after_exit().unwrap() >= Duration::MAX / 2);
}

#[actix::test]
async fn a_panic_in_restarting_counts_as_any_other() {
    pause();
    let script = Script::panicking([("message", 1), ("restarting", 2)]);
    let Subject { actor, ends: _ends, .. } = permanent(LIMIT, &script);
    actor.do_send(Order::Step("message"));
    assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    let steps =
        ["factory", "started", "message", "restarting", "restarting", "restarting", "started", "alive"];
    assert_eq!(script.steps(), steps);
    let pauses = script.pauses_ms("restarting");
    assert!(pauses[0] >= 10 && pauses[1] >= 20, "the pause doubles here too: {pauses:?} ms");
}

#[actix::test]
async fn an_actor_past_its_limit_is_reported_once() {
    pause();
    let Subject { actor: neighbour, ends: mut neighbour_ends, .. } = permanent(LIMIT, &Script::default());
    for step in ["started", "restarting", "message"] {
        let script = Script::panicking([("message", 1), (step, 99), ("dropped", 1)]);
        let Subject { actor, ends, .. } = permanent(LIMIT, &script);
        (0..9).for_each(|_| actor.do_send(Order::Step("message")));
        assert_eq!(only(ends).await, broke_in(step));
        assert!(!actor.connected());
        let steps = script.steps();
        let restarts = steps.iter().filter(|step| **step == "restarting").count();
        assert_eq!(restarts, LIMIT.restarts_max, "{steps:?}");
        // After the last panic, nothing of the actor ran except its drop.
        assert_eq!(steps[steps.len() - 2..], [step, "dropped"], "{steps:?}");
        assert_eq!(neighbour.send(Order::Step("undisturbed")).await, Ok(()), "after {step}");
    }
    assert!(neighbour_ends.try_recv().is_err());
}

#[actix::test]
async fn panics_of_long_ago_are_forgiven() {
    pause();
    let script = Script::panicking([("message", 9)]);
    let Subject { actor, mut ends, .. } = permanent(RestartLimit { restarts_max: 1, ..LIMIT }, &script);
    for _ in 0..9 {
        assert_eq!(actor.send(Order::Step("message")).await, Err(MailboxError::Closed));
        sleep(LIMIT.within + Duration::from_secs(1)).await;
    }
    assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    assert!(ends.try_recv().is_err());
    assert!(script.pauses_ms("restarting").iter().all(|&ms| ms < 12_000), "each pause is a first one");
}

#[actix::test]
async fn a_stop_without_an_order_is_a_counted_restart() {
    pause();
    let script = Script::default();
    let Subject { actor, ends, .. } = permanent(LIMIT, &script);
    for _ in 0..LIMIT.restarts_max {
        assert_eq!(actor.send(Order::Stop).await, Ok(()));
        assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    }
    let once = ["stopping", "stopped", "restarting", "started", "alive"];
    assert_eq!(script.steps()[2..7], once);
    actor.do_send(Order::Stop);
    assert_eq!(only(ends).await, Exit::Normal);
    assert_eq!(script.steps().iter().filter(|step| **step == "restarting").count(), LIMIT.restarts_max);
}

#[actix::test]
async fn an_unreferenced_actor_runs_until_its_stop() {
    pause();
    let script = Script::panicking([("scheduled", 1)]);
    let Subject { actor, stopper, mut ends } = permanent(LIMIT, &script);
    actor.do_send(Order::ScheduleMessage);
    drop(actor);
    script.reaches("restarting").await;
    sleep(LONG).await;
    assert!(ends.try_recv().is_err(), "{:?}", script.steps());
    stopper.stop(LONG);
    assert_eq!(only(ends).await, Exit::Normal);
    assert_eq!(script.steps()[5..], ["stopping", "stopped", "dropped"]);
}

#[actix::test]
async fn a_stopped_actor_drops_its_mail() {
    pause();
    let script = Script::default();
    let Subject { actor, stopper, ends } = permanent(LIMIT, &script);
    assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    actor.do_send(Order::Step("too late"));
    stopper.stop(LONG);
    assert_eq!(only(ends).await, Exit::Normal);
    assert!(!actor.connected());
    assert_eq!(script.steps(), ["factory", "started", "alive", "stopping", "stopped", "dropped"]);
}

#[actix::test]
async fn a_stopped_actor_may_finish_its_work_first() {
    pause();
    let script = Script::default().staying();
    let Subject { actor, stopper, mut ends } = permanent(LIMIT, &script);
    assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    stopper.stop(LONG);
    script.reaches("stopping").await;
    assert_eq!(actor.send(Order::Step("work")).await, Ok(()));
    sleep(LONG / 2).await;
    assert!(ends.try_recv().is_err());
    actor.do_send(Order::Finish);
    assert_eq!(only(ends).await, Exit::Normal);
    assert_eq!(script.steps()[2..], ["alive", "stopping", "work", "stopping", "stopped", "dropped"]);
}

#[actix::test]
async fn an_actor_that_takes_too_long_to_stop_is_terminated() {
    pause();
    let script = Script::default().staying();
    let Subject { actor, stopper, ends } = permanent(LIMIT, &script);
    assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
    let told = Instant::now();
    stopper.stop(LONG);
    // A second order with a longer time changes nothing, one with a shorter time does.
    stopper.stop(LONG * 2);
    script.reaches("stopping").await;
    stopper.stop(LONG / 4);
    assert_eq!(only(ends).await, Exit::Killed);
    assert!((LONG / 4..LONG / 2).contains(&told.elapsed()), "{:?}", told.elapsed());
    assert_eq!(script.steps()[2..], ["alive", "stopping", "dropped"]);
}

#[actix::test]
async fn a_panic_while_stopping_is_no_restart() {
    pause();
    for step in ["stopping", "stopped", "dropped"] {
        let script = Script::panicking([(step, 1)]);
        let Subject { actor, stopper, ends } = permanent(LIMIT, &script);
        assert_eq!(actor.send(Order::Step("alive")).await, Ok(()));
        stopper.stop(LONG);
        assert_eq!(only(ends).await, broke_in(step));
        assert!(!script.steps().contains(&"restarting"), "{step}");
    }
}

#[actix::test]
async fn an_actor_stopped_in_its_pause_just_ends() {
    pause();
    let script = Script::panicking([("message", 1)]);
    let limit = RestartLimit { pause: LONG * 60, ..LIMIT };
    let Subject { actor, stopper, ends } = permanent(limit, &script);
    assert_eq!(actor.send(Order::Step("message")).await, Err(MailboxError::Closed));
    sleep(Duration::from_millis(10)).await;
    let told = Instant::now();
    stopper.stop(LONG);
    assert_eq!(only(ends).await, Exit::Normal);
    assert!(told.elapsed() < LONG);
    assert_eq!(script.steps(), ["factory", "started", "message", "dropped"]);
}

#[actix::test]
async fn an_actor_can_be_stopped_before_it_began() {
    let script = Script::default();
    let arbiter = Arbiter::new();
    let Subject { stopper, ends, .. } = permanent_on(&arbiter.handle(), LIMIT, &script);
    stopper.stop(LONG);
    assert_eq!(only(ends).await, Exit::Normal);
    assert_eq!(script.steps(), ["factory", "started", "stopping", "stopped", "dropped"]);
}

#[actix::test]
async fn panics_in_factory_and_drop_are_reported() {
    pause();
    let Subject { ends, .. } = permanent(LIMIT, &Script::panicking([("factory", 1)]));
    assert_eq!(only(ends).await, broke_in("factory"));
    let Subject { stopper, ends, .. } = permanent(LIMIT, &Script::panicking([("dropped", 1)]));
    stopper.stop(LONG);
    assert_eq!(only(ends).await, broke_in("dropped"));
}

#[actix::test]
async fn permanent_actors_report_the_end_of_their_arbiter() {
    let arbiter = Arbiter::new();
    let (alive, breaking) = (Script::default(), Script::panicking([("message", 1)]));
    let Subject { actor, ends, .. } = permanent_on(&arbiter.handle(), LIMIT, &alive);
    assert_eq!(actor.send(Order::Step("message")).await, Ok(()));
    let long = RestartLimit { pause: Duration::from_secs(3600), ..LIMIT };
    let Subject { actor: broken, ends: broken_ends, .. } = permanent_on(&arbiter.handle(), long, &breaking);
    assert_eq!(broken.send(Order::Step("message")).await, Err(MailboxError::Closed));
    arbiter.stop();
    assert_eq!(only(ends).await, Exit::Killed);
    assert_eq!(only(broken_ends).await, Exit::Killed);
    // Nothing ran except their drop.
    assert_eq!(alive.steps(), ["factory", "started", "message", "dropped"]);
    assert_eq!(breaking.steps(), ["factory", "started", "message", "dropped"]);
}

#[actix::test]
async fn an_actor_for_an_arbiter_that_is_gone_is_reported() {
    let arbiter = Arbiter::new();
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().unwrap();
    let Subject { actor, ends, .. } = permanent_on(&handle, LIMIT, &Script::default());
    assert_eq!(only(ends).await, Exit::Killed);
    assert!(!actor.connected());
}
