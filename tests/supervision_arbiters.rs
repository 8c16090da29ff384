//! An arbiter that stops is replaced, and its transfers go on. An arbiter that hangs is replaced
//! too, and its clients get an ERROR.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::engine::{Engine, TIMEOUT};
use common::packet_trigger::{Gate, PacketTrigger, TriggerAction};
use common::panicking_store::{PanickingStore, StoreHandle};
use common::raw::{Client, Packet, ack, data, error, rrq, wrq};
use stagecoach::daemon::Capacity;
use stagecoach::error::Failure;
use stagecoach::observe::Outcome;

/// Longer than the server needs to notice that an arbiter hangs, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

const BLOCKS: u16 = 12;

fn content() -> Vec<u8> {
    (0..usize::from(BLOCKS) * 512 - 100).map(|offset| (offset % 251) as u8).collect()
}

fn one_arbiter() -> Capacity {
    Capacity { arbiters: 1, ..Capacity::default() }
}

fn store() -> Arc<PanickingStore> {
    let store = PanickingStore::default();
    store.files.lock().unwrap().insert("file".into(), content());
    Arc::new(store)
}

fn engine(store: &Arc<PanickingStore>, trigger: PacketTrigger) -> Engine {
    Engine::with_capacity(Arc::new(StoreHandle(Arc::clone(store))), trigger, one_arbiter())
}

/// A client in the middle of a transfer. The server's timer is too slow to affect the test.
struct Transfer {
    client: Client,
    windowsize: u16,
    /// The octets that were read, or the octets to write.
    content: Vec<u8>,
    /// Blocks that arrived or were acknowledged.
    block: u16,
    /// How often each packet arrived.
    times: HashMap<String, usize>,
}

impl Transfer {
    fn options(windowsize: u16) -> Vec<(&'static str, &'static str)> {
        if windowsize == 1 { vec![TIMEOUT] } else { vec![TIMEOUT, ("windowsize", "4")] }
    }

    fn begin(
        engine: &Engine,
        request: impl Fn(&str, &str, &[(&str, &str)]) -> Vec<u8>,
        windowsize: u16,
    ) -> Self {
        let mut client = engine.client();
        client.send(&request("file", "octet", &Self::options(windowsize)));
        client.expect_oack();
        Self { client, windowsize, content: Vec::new(), block: 0, times: HashMap::new() }
    }

    fn read(engine: &Engine, windowsize: u16) -> Self {
        Self::begin(engine, rrq, windowsize)
    }

    fn write(engine: &Engine, windowsize: u16) -> Self {
        Self { content: content(), ..Self::begin(engine, wrq, windowsize) }
    }

    fn next(&mut self) -> Option<Packet> {
        let (packet, from) = self.client.receive(Duration::from_secs(2))?;
        assert_eq!(from, self.client.tid(), "from another port");
        *self.times.entry(packet.brief()).or_default() += 1;
        Some(packet)
    }

    /// Reads to block `last`.
    fn read_to(&mut self, last: u16) {
        self.client.send(&ack(self.block));
        while self.block < last {
            match self.next() {
                Some(Packet::Data { block, payload }) if block == self.block + 1 => {
                    self.block = block;
                    self.content.extend_from_slice(&payload);
                    if block == BLOCKS || block % self.windowsize == 0 && block < last {
                        self.client.send(&ack(block));
                    }
                }
                Some(Packet::Data { block, .. }) if block <= self.block => {}
                Some(Packet::Oack(_)) if self.block == 0 => self.client.send(&ack(0)),
                other => panic!("DATA {} expected, {other:?} came", self.block + 1),
            }
        }
    }

    /// Writes to block `last`, and repeats unanswered blocks, as clients do.
    fn write_to(&mut self, last: u16) {
        let mut silences = 0;
        let window = |transfer: &Self| {
            for block in transfer.block + 1..=last.min(transfer.block + transfer.windowsize) {
                let from = (usize::from(block) - 1) * 512;
                let to = transfer.content.len().min(from + 512);
                transfer.client.send(&data(block, &transfer.content[from..to]));
            }
        };
        window(self);
        while self.block < last {
            match self.next() {
                Some(Packet::Ack { block, .. }) if block > self.block => {
                    self.block = block;
                    window(self);
                }
                Some(Packet::Ack { .. } | Packet::Oack(_)) => {}
                None if silences < 5 => {
                    silences += 1;
                    window(self);
                }
                other => panic!("ACK {} expected, {other:?} came", self.block + 1),
            }
        }
    }

    fn most(&self) -> usize {
        self.times.values().copied().max().unwrap_or(0)
    }
}

#[test]
fn reads_survive_their_arbiters_stop() {
    for windowsize in [1, 4] {
        for line in ["received ACK 0", "sent DATA 1", "sent DATA 4", "received ACK 4", "sent DATA 12"] {
            let store = store();
            let engine = engine(&store, PacketTrigger::once(1, line).with(TriggerAction::StopArbiter));
            let mut victim = Transfer::read(&engine, windowsize);
            let mut neighbour = Transfer::read(&engine, windowsize);
            neighbour.read_to(4);
            victim.read_to(BLOCKS);
            assert!(victim.content == content(), "{line}, window of {windowsize}");
            assert!(victim.most() <= 2, "{line}: {:?}", victim.times);
            neighbour.read_to(BLOCKS);
            assert!(neighbour.content == content() && neighbour.most() <= 2, "{:?}", neighbour.times);
            let facts = engine.settle();
            assert_eq!(facts.finished.len(), 2);
            assert!(facts.finished.iter().all(|report| report.outcome == Outcome::Complete));
            assert_eq!(facts.arbiters, ["arbiter 1 stopped: 2 moved, 0 ended"]);
            assert!(facts.crashed.is_empty(), "{:?}", facts.crashed);
            store.expect_dropped(2);
        }
    }
}

#[test]
fn uploads_survive_their_arbiters_stop() {
    for windowsize in [1, 4] {
        for line in ["sent OACK", "received DATA 1", "sent ACK 4", "received DATA 5", "received DATA 12"] {
            let store = store();
            let engine = engine(&store, PacketTrigger::once(1, line).with(TriggerAction::StopArbiter));
            let mut victim = Transfer::write(&engine, windowsize);
            victim.write_to(BLOCKS);
            assert!(victim.most() <= 3, "{line}: {:?}", victim.times);
            // The ERROR ends the dallying.
            victim.client.send(&error(0, "enough"));
            let facts = engine.settle();
            assert_eq!(store.published.load(Ordering::SeqCst), 1, "{line}, window of {windowsize}");
            assert!(store.files.lock().unwrap()["file"] == content(), "{line}, window of {windowsize}");
            assert_eq!(facts.finished.len(), 1);
            assert_eq!(facts.arbiters.len(), 1, "{:?}", facts.arbiters);
        }
    }
}

#[test]
fn requests_during_an_arbiters_replacement_are_served() {
    let store = store();
    let engine = engine(&store, PacketTrigger::once(1, "sent DATA 1").with(TriggerAction::StopArbiter));
    let mut victim = Transfer::read(&engine, 1);
    victim.client.send(&ack(0));
    let mut others: Vec<Transfer> = (0..50).map(|_| Transfer::read(&engine, 1)).collect();
    for other in &mut others {
        other.read_to(BLOCKS);
        assert!(other.content == content());
    }
    victim.read_to(BLOCKS);
    assert_eq!(engine.settle().finished.len(), 51);
}

#[test]
fn a_moved_transfer_can_be_cancelled() {
    let engine = engine(&store(), PacketTrigger::once(1, "sent DATA 2").with(TriggerAction::StopArbiter));
    let mut victim = Transfer::read(&engine, 1);
    victim.read_to(3);
    let live: Vec<u64> = engine.registry().live.iter().map(|transfer| transfer.report.id.0).collect();
    assert_eq!(live, [1]);
    assert!(engine.cancel(1));
    victim.client.expect(|packet| matches!(packet, Packet::Error { code: 0, .. }));
    engine.settle();
}

#[test]
fn clients_of_a_hung_arbiter_get_error_0() {
    let (store, gate) = (store(), Gate::default());
    let engine =
        engine(&store, PacketTrigger::once(1, "received ACK 3").with(TriggerAction::Hang(gate.clone())));
    let mut reader = Transfer::read(&engine, 1);
    let mut neighbour = Transfer::read(&engine, 4);
    neighbour.read_to(4);
    let mut writer = Transfer::write(&engine, 1);
    writer.write_to(5);
    reader.read_to(3);
    reader.client.send(&ack(3));
    gate.wait_until_reached();
    // The server has not noticed the hang yet. This request waits, and the next arbiter serves it.
    let mut late = engine.client();
    late.send(&rrq("file", "octet", &[TIMEOUT]));
    for client in [&mut reader.client, &mut neighbour.client, &mut writer.client] {
        let (packet, from) = client.receive(PATIENCE).expect("a word");
        assert_eq!(from, client.tid(), "not from its own port");
        assert!(matches!(&packet, Packet::Error { code: 0, text } if !text.contains("secret")), "{packet:?}");
    }
    late.expect_oack();
    let mut next = Transfer::read(&engine, 1);
    next.read_to(BLOCKS);
    assert!(next.content == content());
    let ended = engine.facts();
    assert_eq!(ended.arbiters, ["arbiter 1 blocked: 0 moved, 3 ended"]);
    // The thread wakes, and would go on with its old transfers.
    gate.open();
    for client in [&reader.client, &neighbour.client, &writer.client] {
        client.expect_silence(Duration::from_millis(300));
    }
    late.send(&ack(0));
    late.expect_data(1);
    assert!(engine.cancel(4));
    let facts = engine.settle();
    let failed = |id: u64| {
        facts.finished.iter().filter(move |report| report.id.0 == id).map(|report| report.outcome.clone())
    };
    for id in 1..=3 {
        assert_eq!(failed(id).collect::<Vec<_>>(), [Outcome::Failed(Failure::Internal)], "of transfer {id}");
    }
    assert_eq!(store.published.load(Ordering::SeqCst), 0);
    assert!(store.files.lock().unwrap()["file"] == content(), "something of the upload is left");
    store.expect_dropped(5);
}

#[test]
fn arbiters_that_fail_again_and_again_end_the_server() {
    let trigger = PacketTrigger::each_once("sent DATA 1").with(TriggerAction::StopArbiter);
    let engine = engine(&store(), trigger);
    // Every transfer stops its arbiter, but several may stop the same one.
    let answered = (0..100).take_while(|_| {
        let client = engine.client();
        client.send(&rrq("file", "octet", &[]));
        client.receive(Duration::from_secs(2)).is_some()
    });
    assert!(answered.count() < 100, "it serves on and on");
    let why = engine.gave_up();
    assert!(why.contains("arbiters fail too often"), "{why}");
}

#[test]
fn clients_of_a_hung_arbiter_get_error_0_at_the_end() {
    let (store, gate) = (store(), Gate::default());
    let engine =
        engine(&store, PacketTrigger::once(1, "received ACK 3").with(TriggerAction::Hang(gate.clone())));
    let mut reader = Transfer::read(&engine, 1);
    reader.read_to(3);
    reader.client.send(&ack(3));
    gate.wait_until_reached();
    engine.handle.stop();
    let (packet, from) = reader.client.receive(PATIENCE).expect("a word");
    assert_eq!(from, reader.client.tid(), "not from its own port");
    assert!(matches!(&packet, Packet::Error { code: 0, .. }), "{packet:?}");
    gate.open();
}
