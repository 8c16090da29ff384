//! A registry that panics while transfers begin and end comes back with the right list.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::engine::Engine;
use common::packet_trigger::PacketTrigger;
use common::panicking_store::{PanickingStore, StoreHandle};
use common::raw::{Client, ack, rrq};
use stagecoach::chaos::{Fault, Plan};
use stagecoach::daemon::Capacity;
use stagecoach::supervision::RestartLimit;

fn engine() -> Engine {
    let store = PanickingStore::default();
    store.files.lock().unwrap().insert("file".into(), vec![7; 1000]);
    let pause = Duration::from_millis(1);
    let restarts = RestartLimit::new(1000, Duration::from_secs(10)).pausing(pause, pause);
    let capacity = Capacity { arbiters: 2, restarts, ..Capacity::default() };
    Engine::with_capacity(Arc::new(StoreHandle(Arc::new(store))), PacketTrigger::default(), capacity)
}

/// A transfer that has begun, and waits for its second ACK.
fn begin(engine: &Engine) -> Client {
    let mut client = engine.client();
    client.send(&rrq("file", "octet", &[]));
    client.expect_data(1);
    client
}

fn finish(mut client: Client) {
    client.send(&ack(1));
    client.expect_new_data(2);
    client.send(&ack(2));
}

#[test]
fn a_crashing_registry_lists_each_transfer_once() {
    let engine = engine();
    let mut live = Vec::new();
    for round in 0..20_u32 {
        // The panic is at a question of this round or the next: before its transfers begin, while
        // they are live, or after some have ended.
        let plan = Plan { skip: round % 3, ..Plan::once("registry.handle", Fault::Panic) };
        engine.chaos.plan(plan).unwrap();
        engine.registry();
        live.extend((0..5).map(|_| begin(&engine)));
        engine.registry();
        live.drain(..3).for_each(finish);
        expect_exactly(&engine, &live);
    }
    expect_exactly(&engine, &live);
    let crashes = engine.facts().crashed;
    assert!(crashes.iter().filter(|crash| crash.starts_with("registry")).count() >= 15, "{crashes:?}");
    live.into_iter().for_each(finish);
    let finished = engine.settle().finished.len();
    assert_eq!(engine.registry().history.len(), finished, "transfers are forgotten");
}

/// Waits until the registry lists exactly these transfers. The last ACKs of others may still be on
/// their way.
fn expect_exactly(engine: &Engine, live: &[Client]) {
    let expected: BTreeSet<u16> = live.iter().map(Client::port).collect();
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let listed = engine.registry().live;
        let peers: BTreeSet<u16> = listed.iter().map(|transfer| transfer.report.peer.port()).collect();
        assert_eq!(peers.len(), listed.len(), "one is there twice");
        assert!(peers.is_superset(&expected), "{:?} are missing", expected.difference(&peers));
        if peers == expected {
            return;
        }
        assert!(Instant::now() < until, "{:?} are there still", peers.difference(&expected));
    }
}
