//! Actors that panic, and what goes on afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, Handler, MailboxError,
    Message, Recipient, Running, Supervised, WrapFuture,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, pause, sleep, timeout};

use super::{ChildExited, Exit, start_temporary};

mod permanent;
mod supervisor;

/// Says at which steps an actor panics, and how often; records the steps that it took.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    panics_left: HashMap<&'static str, usize>,
    steps: Vec<(&'static str, Instant)>,
    stays: bool,
}

impl Script {
    fn panicking<const N: usize>(at: [(&'static str, usize); N]) -> Self {
        let script = Self::default();
        script.0.lock().unwrap().panics_left = at.into();
        script
    }

    fn staying(self) -> Self {
        self.0.lock().unwrap().stays = true;
        self
    }

    fn step(&self, step: &'static str) {
        let mut state = self.0.lock().unwrap();
        state.steps.push((step, Instant::now()));
        let left = state.panics_left.get_mut(step).filter(|left| **left > 0).map(|left| *left -= 1);
        drop(state);
        assert!(left.is_none(), "broke in {step}");
    }

    fn steps(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().steps.iter().map(|(step, _)| *step).collect()
    }

    async fn reaches(&self, step: &str) {
        let reached = async {
            while !self.steps().contains(&step) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), reached)
            .await
            .unwrap_or_else(|_| panic!("{step} of {:?}", self.steps()));
    }

    fn pauses_ms(&self, step: &str) -> Vec<u128> {
        let state = self.0.lock().unwrap();
        let at: Vec<Instant> =
            state.steps.iter().filter(|(name, _)| *name == step).map(|(_, at)| *at).collect();
        at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }
}

struct Fragile(Script);

#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
enum Order {
    Step(&'static str),
    /// Later messages wait this long.
    Wait(Duration),
    SpawnFuture,
    ScheduleMessage,
    Stop,
    /// Stop refusing to stop.
    Finish,
}

impl Actor for Fragile {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.0.step("started");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.0.step("stopping");
        if self.0.0.lock().unwrap().stays { Running::Continue } else { Running::Stop }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.0.step("stopped");
    }
}

impl Supervised for Fragile {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.0.step("restarting");
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        // A second panic during unwinding would abort the process.
        self.0.step(if std::thread::panicking() { "dropped while unwinding" } else { "dropped" });
    }
}

impl Handler<Order> for Fragile {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Step(step) => self.0.step(step),
            Order::Wait(time) => ctx.wait(sleep(time).into_actor(self)),
            Order::SpawnFuture => {
                ctx.spawn(async {}.into_actor(self).map(|(), fragile, _| fragile.0.step("spawned")));
            }
            Order::ScheduleMessage => {
                ctx.notify_later(Order::Step("scheduled"), Duration::from_secs(1));
            }
            Order::Stop => ctx.stop(),
            Order::Finish => {
                self.0.0.lock().unwrap().stays = false;
                ctx.stop();
            }
        }
    }
}

/// Passes on the reports that it gets.
struct Parent(mpsc::UnboundedSender<ChildExited>);

impl Actor for Parent {
    type Context = Context<Self>;
}

impl Handler<ChildExited> for Parent {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) {
        self.0.send(exited).unwrap();
    }
}

fn parent() -> (Recipient<ChildExited>, mpsc::UnboundedReceiver<ChildExited>) {
    let (sender, exits) = mpsc::unbounded_channel();
    (Parent(sender).start().recipient(), exits)
}

/// The only report; fails if there is none, or another.
async fn only<T: std::fmt::Debug>(mut reports: mpsc::UnboundedReceiver<T>) -> T {
    let report = timeout(Duration::from_secs(60), reports.recv()).await.expect("a report").expect("a report");
    let further = timeout(Duration::from_millis(300), reports.recv()).await;
    assert!(!matches!(further, Ok(Some(_))), "a second report: {further:?}");
    report
}

fn broke_in(step: &str) -> Exit {
    Exit::Panicked(format!("broke in {step}"))
}

fn temporary(script: &Script, parent: Recipient<ChildExited>) -> Addr<Fragile> {
    let script = script.clone();
    start_temporary(7, 16, parent, move |_| {
        script.step("factory");
        Fragile(script)
    })
}

/// Starts a temporary actor, sends it orders, and returns what its parent gets.
async fn exit_after(script: &Script, orders: &[Order]) -> Exit {
    let (parent, exits) = parent();
    let actor = temporary(script, parent);
    orders.iter().for_each(|order| actor.do_send(*order));
    let ChildExited { id, exit } = only(exits).await;
    assert_eq!(id, 7);
    assert!(!actor.connected());
    exit
}

#[actix::test]
async fn a_parent_hears_once_of_a_child_that_stops() {
    pause();
    let script = Script::default();
    assert_eq!(exit_after(&script, &[Order::Stop]).await, Exit::Normal);
    assert_eq!(script.steps(), ["factory", "started", "stopping", "stopped", "dropped"]);
}

#[actix::test]
async fn a_parent_hears_once_of_an_unreferenced_child() {
    pause();
    let (script, (parent, exits)) = (Script::default(), parent());
    drop(temporary(&script, parent));
    assert_eq!(only(exits).await.exit, Exit::Normal);
}

#[actix::test]
async fn a_parent_hears_once_of_a_panic_wherever_it_happens() {
    pause();
    let neighbour = temporary(&Script::default(), parent().0);
    let cases: [(&'static str, &[Order]); 8] = [
        ("factory", &[]),
        ("started", &[]),
        ("message", &[Order::Step("message")]),
        ("spawned", &[Order::SpawnFuture]),
        ("scheduled", &[Order::ScheduleMessage]),
        ("stopping", &[Order::Stop]),
        ("stopped", &[Order::Stop]),
        ("dropped", &[Order::Stop]),
    ];
    for (step, orders) in cases {
        let script = Script::panicking([(step, 1)]);
        assert_eq!(exit_after(&script, orders).await, broke_in(step));
        assert_eq!(neighbour.send(Order::Step("undisturbed")).await, Ok(()), "after {step}");
    }
}

#[actix::test]
async fn a_second_panic_during_the_drop_ends_nothing_else() {
    pause();
    let script = Script::panicking([("message", 1), ("dropped", 1)]);
    assert_eq!(exit_after(&script, &[Order::Step("message")]).await, broke_in("message"));
    assert_eq!(script.steps(), ["factory", "started", "message", "dropped"]);
}

#[actix::test]
async fn nothing_of_an_actor_runs_after_its_panic() {
    pause();
    let script = Script::panicking([("message", 1)]).staying();
    let exit = exit_after(&script, &[Order::Step("message"), Order::Step("next")]).await;
    assert_eq!(exit, broke_in("message"));
    assert_eq!(script.steps(), ["factory", "started", "message", "dropped"]);
}

#[actix::test]
async fn a_panic_without_a_text_is_reported_too() {
    struct Wordless;
    impl Actor for Wordless {
        type Context = Context<Self>;
        fn started(&mut self, _: &mut Self::Context) {
            std::panic::panic_any(7);
        }
    }
    pause();
    let (parent, exits) = parent();
    let actor = start_temporary(1, 16, parent, |_| Wordless);
    assert_eq!(only(exits).await.exit, Exit::Panicked("a panic without a text".into()));
    assert!(!actor.connected());
}

#[actix::test]
async fn a_parent_hears_once_of_a_child_whose_arbiter_ends() {
    let (script, (parent, exits)) = (Script::default(), parent());
    let arbiter = Arbiter::new();
    let (sender, receiver) = oneshot::channel();
    let for_child = script.clone();
    arbiter.spawn_fn(move || assert!(sender.send(temporary(&for_child, parent)).is_ok()));
    let actor = receiver.await.unwrap();
    assert_eq!(actor.send(Order::Step("message")).await, Ok(()));
    arbiter.stop();
    assert_eq!(only(exits).await, ChildExited { id: 7, exit: Exit::Killed });
    assert_eq!(actor.send(Order::Step("late")).await, Err(MailboxError::Closed));
    // After the runtime has ended, nothing of the actor ran except its drop.
    assert_eq!(script.steps(), ["factory", "started", "message", "dropped"]);
}
