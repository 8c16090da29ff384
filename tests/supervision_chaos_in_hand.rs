//! A request that a supervisor has in hand when its arbiter hangs is answered by the arbiter that
//! takes its place.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::engine::{Engine, TIMEOUT};
use common::raw::{Packet, ack, rrq};
use common::shelf::{Shelf, Shelves};
use common::tripwire::Tripwire;
use stagecoach::chaos::{Fault, Plan};
use stagecoach::daemon::Capacity;

/// How long the thread hangs: longer than the server needs to see that, on a slow machine.
const HANGS: Duration = Duration::from_secs(20);

#[test]
fn a_request_on_a_hung_arbiter_is_answered_once() {
    let shelf = Shelf::default();
    shelf.files.lock().unwrap().insert("file".into(), vec![7; 1000]);
    let capacity = Capacity { arbiters: 1, ..Capacity::default() };
    let engine = Engine::with_capacity(Arc::new(Shelves(Arc::new(shelf))), Tripwire::default(), capacity);
    engine.chaos.plan(Plan::once("link.open", Fault::Delay(HANGS))).unwrap();
    let (mut client, began) = (engine.client(), Instant::now());
    client.send(&rrq("file", "octet", &[TIMEOUT]));
    let (answer, from) = client.receive(HANGS * 2).expect("an answer");
    assert!(began.elapsed() < HANGS, "answered by whoever woke up: {answer:?}");
    assert!(matches!(answer, Packet::Oack(_)), "{answer:?}");
    client.latch(from);
    client.send(&ack(0));
    assert_eq!(client.expect_data(1).len(), 512);
    client.send(&ack(1));
    assert_eq!(client.expect_data(2).len(), 488);
    client.send(&ack(2));
    // The thread wakes, and finds that nothing is left for it.
    client.expect_silence((began + HANGS).saturating_duration_since(Instant::now()) + Duration::from_secs(1));
    let facts = engine.settle();
    assert_eq!(facts.arbiters, ["arbiter 1 blocked: 0 moved, 0 ended"]);
    assert_eq!(facts.finished.len(), 1);
}
