//! A supervisor holds a request when its arbiter hangs. The replacing arbiter answers the request.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::engine::{Engine, TIMEOUT};
use common::packet_trigger::PacketTrigger;
use common::panicking_store::{PanickingStore, StoreHandle};
use common::raw::{Packet, ack, rrq};
use stagecoach::chaos::{Fault, Plan};
use stagecoach::daemon::Capacity;

/// How long the thread hangs: longer than the server needs to notice, on a slow machine.
const HANGS: Duration = Duration::from_secs(20);

#[test]
fn a_request_on_a_hung_arbiter_is_answered_once() {
    let store = PanickingStore::default();
    store.files.lock().unwrap().insert("file".into(), vec![7; 1000]);
    let capacity = Capacity { arbiters: 1, ..Capacity::default() };
    let engine =
        Engine::with_capacity(Arc::new(StoreHandle(Arc::new(store))), PacketTrigger::default(), capacity);
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
    // The thread wakes, and has nothing left to do.
    client.expect_silence((began + HANGS).saturating_duration_since(Instant::now()) + Duration::from_secs(1));
    let facts = engine.settle();
    assert_eq!(facts.arbiters, ["arbiter 1 blocked: 0 moved, 0 ended"]);
    assert_eq!(facts.finished.len(), 1);
}
