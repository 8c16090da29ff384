use std::sync::mpsc;

use actix::{Actor, Arbiter, Context, Handler};

use super::*;

struct Alive;

impl Actor for Alive {
    type Context = Context<Self>;
}

impl Handler<Ping> for Alive {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

#[test]
fn blocked_and_ended_arbiters_count_as_silent() {
    actix::System::new().block_on(async {
        let arbiters: Vec<Arbiter> = (0..3).map(|_| Arbiter::new()).collect();
        let actors: Vec<Recipient<Ping>> = arbiters
            .iter()
            .map(|arbiter| Alive::start_in_arbiter(&arbiter.handle(), |_| Alive).recipient())
            .collect();
        assert_eq!(silent(&actors, Duration::from_secs(30)).await, 0);
        let (release, released) = mpsc::channel::<()>();
        let (tell, is_blocked) = mpsc::channel();
        // Blocks until the sender is dropped.
        arbiters[0].spawn_fn(move || {
            tell.send(()).unwrap();
            assert!(released.recv().is_err());
        });
        is_blocked.recv().unwrap();
        assert_eq!(silent(&actors, Duration::from_secs(3)).await, 1);
        arbiters[1].stop();
        while actors[1].connected() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(silent(&actors, Duration::from_secs(3)).await, 2);
        drop(release);
        assert_eq!(silent(&actors, Duration::from_secs(30)).await, 1);
    });
}

#[test]
fn a_panic_of_several_lines_is_one_status() {
    let words = words_for(&Stage::Ended(Err("left: 1\nMAINPID=1\r".into()))).unwrap();
    assert_eq!(words, "STATUS=gave up: left: 1 MAINPID=1 ");
}

#[test]
fn a_long_drain_asks_the_manager_for_time() {
    let words = words_for(&Stage::Draining {
        transfers: 2,
        within: Duration::from_secs(600),
        extensions_within: Duration::ZERO,
    })
    .unwrap();
    let allowed = words.strip_prefix("EXTEND_TIMEOUT_USEC=").and_then(|rest| rest.split_once('\n'));
    let allowed: u64 = allowed.unwrap().0.parse().unwrap();
    assert!(allowed > 600_000_000, "{words}");
}

/// The manager is asked for the sum of the times that the parts of the end may take.
#[test]
fn the_manager_is_asked_for_the_time_of_the_whole_end() {
    let allowed = |stage| {
        let words = words_for(&stage).unwrap();
        let allowed = words.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
        Duration::from_micros(allowed.unwrap().parse().unwrap())
    };
    let own_actors = limits::STOP_WITHIN + limits::STOP_WITHIN;
    let end = own_actors + limits::NOTIFY_WITHIN + limits::DROP_WITHIN + limits::LOG_CLOSE_MAX;
    let (within, extensions_within) = (Duration::from_secs(7), Duration::from_secs(31));
    assert!(
        allowed(Stage::Draining { transfers: 2, within, extensions_within })
            >= within + extensions_within + end
    );
    assert!(allowed(Stage::Stopping { extensions_within }) >= extensions_within + end);
}
