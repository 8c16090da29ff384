//! A session or a reader that panics is replaced, and its transfer goes on: on the same port,
//! before any timer, and with at most one repeated packet or window.

mod common;

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::content::to_netascii;
use common::counting::{self, End, Seen, Task};
use common::engine::{Case, Engine, Facts, TIMEOUT};
use common::packet_trigger::PacketTrigger;
use common::panicking_store::{PanickingStore, StoreHandle};
use common::raw::{Client, Packet, ack, data, error, rrq, wrq};
use stagecoach::error::Failure;
use stagecoach::observe::Outcome;

/// Far shorter than the server's timers. A packet within this time came without a timer.
const SOON: Duration = Duration::from_millis(400);

/// Lines with every kind of line end, over several blocks of 512 octets. Many a CR is at the end of
/// a block.
fn text(blocks: usize) -> Vec<u8> {
    let mut text = b"a\nbc\r\nd\re\n\n\r".repeat(blocks * 512 / 12 + 1);
    text.truncate(blocks * 512 - 100);
    text
}

/// A file as its client sees it.
fn on_wire(case: Case, file: &[u8]) -> Vec<u8> {
    if case.netascii { to_netascii(file) } else { file.to_vec() }
}

/// Reads the file. The server sends all packets without a repeat by the client.
fn read(client: &mut Client, case: Case) -> Seen {
    let seen = counting::read(client, Task::new("file", case, &case.options(), SOON));
    assert_eq!((&seen.end, seen.stalls), (&End::Complete, 0), "{case:?}: {}", seen.brief());
    seen
}

/// Writes the file. A repeat of the last block follows the block if `last_repeated`.
fn write(client: &mut Client, case: Case, wire: &[u8], last_repeated: bool) -> Seen {
    let options = case.options();
    let task = Task { last_repeated, ..Task::new("file", case, &options, SOON) };
    let seen = counting::write(client, task, wire);
    assert_eq!(seen.end, End::Complete, "{case:?}: {}", seen.brief());
    seen
}

fn cases() -> impl Iterator<Item = Case> {
    [(1, false), (4, false), (1, true), (4, true)]
        .into_iter()
        .map(|(windowsize, netascii)| Case { windowsize, netascii })
}

/// Reads another file at the same time, and checks that this transfer sees nothing of the panic.
fn with_neighbour<T>(engine: &Engine, transfer: impl FnOnce() -> T) -> T {
    let mut neighbour = engine.client();
    neighbour.send(&rrq("neighbour", "octet", &[]));
    let mut content = neighbour.expect_data(1);
    let result = transfer();
    neighbour.expect_silence(Duration::from_millis(1));
    for block in 2..=4 {
        neighbour.send(&ack(block - 1));
        content.extend(neighbour.expect_new_data(block));
    }
    neighbour.send(&ack(4));
    assert!(content == text(4), "the neighbour got another file");
    result
}

fn store_with_files() -> Arc<PanickingStore> {
    fill(PanickingStore::default())
}

fn fill(store: PanickingStore) -> Arc<PanickingStore> {
    store.files.lock().unwrap().extend([("file".into(), text(10)), ("neighbour".into(), text(4))]);
    Arc::new(store)
}

fn engine(store: &Arc<PanickingStore>, trigger: PacketTrigger) -> Engine {
    Engine::start(Arc::new(StoreHandle(Arc::clone(store))), trigger)
}

/// Checks for one panic, one replacement, and one report of success.
fn assert_resumed_once(facts: &Facts, case: &str) {
    assert_eq!(facts.crashed, ["session of 2: the secret of the log"], "{case}");
    assert_eq!(facts.resumed, ["2: 1"], "{case}");
    let outcomes: Vec<_> = facts.finished.iter().filter(|report| report.id.0 == 2).collect();
    assert_eq!(outcomes.len(), 1, "{case}: {outcomes:?}");
    assert_eq!(outcomes[0].outcome, Outcome::Complete, "{case}");
    assert_eq!(outcomes[0].path.as_deref(), Some("file"), "{case}");
}

#[test]
fn a_read_survives_a_session_panic_in_every_phase() {
    for case in cases() {
        let window = case.windowsize;
        let phases = [
            (!case.is_plain()).then(|| "sent OACK".to_owned()),
            (!case.is_plain()).then(|| "received ACK 0".to_owned()),
            Some("sent DATA 1 ".to_owned()),
            Some(format!("received ACK {window}")),
            Some("sent DATA 5 ".to_owned()),
            Some("sent DATA 7 ".to_owned()),
            Some(format!("received ACK {}", 2 * window)),
            Some("sent DATA 10 ".to_owned()),
        ];
        for phase in phases.into_iter().flatten() {
            let store = store_with_files();
            let engine = engine(&store, PacketTrigger::once(2, &phase));
            let seen = with_neighbour(&engine, || read(&mut engine.client(), case));
            let facts = engine.settle();
            let (is_plain, wanted) = (case.is_plain(), on_wire(case, &text(10)));
            let case = format!("{case:?}, {phase}: {:?}", seen.times);
            assert!(seen.content == wanted, "another file: {case}");
            // On a busy machine a timer that follows the round trip may also expire.
            assert!(is_plain || (seen.most() <= 2 && seen.again() <= usize::from(window)), "{case}");
            assert_resumed_once(&facts, &case);
            assert_eq!(store.opened.load(Ordering::SeqCst), 2, "the same open file is read on: {case}");
        }
    }
}

#[test]
fn an_upload_survives_a_session_panic_in_every_phase() {
    for case in cases() {
        let file = text(7);
        let wire = on_wire(case, &file);
        let last = wire.len() / 512 + 1;
        let window_end = case.windowsize;
        let phases = [
            (if case.is_plain() { "sent ACK 0".to_owned() } else { "sent OACK".to_owned() }, 0),
            ("received DATA 1 ".to_owned(), 1),
            (format!("received DATA {} ", window_end + 1), 1),
            (format!("sent ACK {window_end} "), 0),
            (format!("received DATA {last} "), 1),
            // The client repeats its last block while the server publishes the file.
            (format!("second received DATA {last} "), 0),
            (format!("sent ACK {last} "), 0),
        ];
        for (phase, stalls) in phases {
            let store =
                fill(PanickingStore { publishing: Duration::from_millis(90), ..PanickingStore::default() });
            let engine = engine(&store, PacketTrigger::once(2, phase.trim_end_matches(' ')));
            let mut client = engine.client();
            let repeated = phase.starts_with("second");
            let seen = with_neighbour(&engine, || write(&mut client, case, &wire, repeated));
            let case = format!("{case:?}, {phase}: {seen:?}");
            assert!(seen.stalls <= stalls, "{case}");
            assert!(seen.most() <= 2, "{case}");
            // The session dallies, and the client sends the last block once more.
            let from = (last - 1) * 512;
            client.send(&data(u16::try_from(last).unwrap(), &wire[from..]));
            client.drain(Duration::from_millis(50));
            // The ERROR ends the dallying.
            client.send(&error(0, "enough"));
            let facts = engine.settle();
            assert_resumed_once(&facts, &case);
            assert!(store.files.lock().unwrap()["file"] == file, "another file: {case}");
            assert_eq!(store.published.load(Ordering::SeqCst), 1, "{case}");
        }
    }
}

#[test]
fn a_panic_while_dallying_publishes_nothing_again() {
    let store = store_with_files();
    let engine = engine(&store, PacketTrigger::once(1, "second received DATA 1"));
    let mut client = engine.client();
    client.send(&wrq("file", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, b"short"));
    client.expect_ack(1);
    client.send(&data(1, b"short"));
    client.expect_ack(1);
    client.expect_silence(Duration::from_millis(50));
    client.send(&data(1, b"short"));
    client.expect_ack(1);
    client.send(&error(0, "enough"));
    let facts = engine.settle();
    assert_eq!(facts.resumed, ["1: 1"]);
    assert_eq!(facts.finished.len(), 1, "{:?}", facts.finished);
    assert_eq!(store.published.load(Ordering::SeqCst), 1);
}

#[test]
fn a_session_that_panics_during_open_is_replaced() {
    let store = PanickingStore { panics_in: "size", panics: 1.into(), ..PanickingStore::default() };
    let store = fill(store);
    let engine = engine(&store, PacketTrigger::default());
    let case = Case { windowsize: 1, netascii: false };
    let seen = read(&mut engine.client(), case);
    assert!(seen.content == text(10) && seen.most() == 1, "{:?}", seen.times);
    assert_eq!(engine.settle().crashed, ["session of 1: the secret of size"]);
}

#[test]
fn the_fourth_panic_of_a_read_sends_error_0() {
    let store = store_with_files();
    let engine = engine(&store, PacketTrigger::always(2, "sent DATA 3 "));
    let mut client = engine.client();
    with_neighbour(&engine, || {
        client.send(&rrq("file", "octet", &[TIMEOUT]));
        client.expect_oack();
        client.send(&ack(0));
        for block in 1..=2 {
            client.expect_data(block);
            client.send(&ack(block));
        }
        assert_eq!(client.expect_error(0), Failure::Internal.to_string());
        client.expect_silence(Duration::from_millis(50));
    });
    let facts = engine.settle();
    assert_eq!(facts.crashed.len(), 4, "{:?}", facts.crashed);
    assert_eq!(facts.resumed, ["2: 1", "2: 2", "2: 3"]);
    assert_given_up(&engine, &facts);
}

#[test]
fn the_fourth_panic_of_an_upload_leaves_nothing() {
    let store = store_with_files();
    let engine = engine(&store, PacketTrigger::always(2, "received DATA 2"));
    let mut client = engine.client();
    with_neighbour(&engine, || {
        client.send(&wrq("new", "octet", &[]));
        client.expect_ack(0);
        client.send(&data(1, &[7; 512]));
        client.expect_ack(1);
        for _ in 0..3 {
            client.send(&data(2, b"short"));
            client.expect_ack(1);
        }
        client.send(&data(2, b"short"));
        assert_eq!(client.expect_error(0), Failure::Internal.to_string());
        client.expect_silence(Duration::from_millis(50));
    });
    let facts = engine.settle();
    assert_eq!(facts.resumed, ["2: 1", "2: 2", "2: 3"]);
    assert_given_up(&engine, &facts);
    assert_eq!(store.published.load(Ordering::SeqCst), 0);
    // The upload, and the file that the other client read.
    store.expect_dropped(2);
    assert!(!store.files.lock().unwrap().contains_key("new"));
}

/// Checks that the observers and the registry got one report, with the reason.
fn assert_given_up(engine: &Engine, facts: &Facts) {
    let history = engine.registry().history;
    for reports in [&facts.finished, &history] {
        let reports: Vec<_> = reports.iter().filter(|report| report.id.0 == 2).collect();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert_eq!(reports[0].outcome, Outcome::Failed(Failure::Internal));
        assert_eq!(reports[0].detail.as_deref(), Some("the session panicked"));
    }
}

#[test]
fn a_replaced_session_can_be_cancelled() {
    let store = store_with_files();
    let engine = engine(&store, PacketTrigger::once(1, "received ACK 1"));
    let mut client = engine.client();
    client.send(&rrq("file", "octet", &[]));
    client.expect_data(1);
    client.send(&ack(1));
    client.expect_data(1);
    let live: Vec<u64> = engine.registry().live.iter().map(|live| live.report.id.0).collect();
    assert_eq!(live, [1]);
    assert!(engine.cancel(1));
    assert_eq!(client.expect_error(0), Failure::Cancelled.to_string());
    engine.settle();
}

#[test]
fn a_replaced_reader_keeps_the_open_file() {
    let long = text(300);
    for (panics, comes_through) in [(1, true), (3, true), (4, false)] {
        let store = PanickingStore::panicking("fetch_cached", panics);
        store.files.lock().unwrap().insert("file".into(), long.clone());
        let engine = engine(&store, PacketTrigger::default());
        let mut client = engine.client();
        let case = Case { windowsize: 4, netascii: false };
        if comes_through {
            let seen = read(&mut client, case);
            assert!(seen.content == long && seen.most() == 1, "{:?}", seen.times);
        } else {
            client.send(&rrq("file", "octet", &[]));
            let error = (1..400).find_map(|block| match client.next() {
                Packet::Data { .. } => {
                    client.send(&ack(block));
                    None
                }
                other => Some(other),
            });
            assert!(matches!(error, Some(Packet::Error { code: 0, .. })), "{error:?}");
        }
        let facts = engine.settle();
        assert_eq!(facts.crashed, vec!["reader of 1: the secret of fetch_cached"; panics]);
        assert_eq!(store.opened.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_hung_disk_delays_only_its_own_client() {
    let store = fill(PanickingStore { reading: Duration::from_millis(600), ..PanickingStore::default() });
    store.files.lock().unwrap().insert("slow".into(), text(4));
    let engine = engine(&store, PacketTrigger::default());
    let mut waiting = engine.client();
    waiting.send(&rrq("slow", "octet", &[]));
    waiting.expect_silence(Duration::from_millis(50));
    let case = Case { windowsize: 4, netascii: false };
    assert!(read(&mut engine.client(), case).content == text(10));
    waiting.expect_silence(Duration::from_millis(50));
    assert!(waiting.expect_data(1) == text(4)[..512]);
    waiting.send(&error(0, "enough"));
    engine.settle();
}

#[test]
fn a_store_panic_ends_the_upload_and_leaves_nothing() {
    let store = PanickingStore::panicking("path", 1);
    let engine = engine(&store, PacketTrigger::default());
    let mut client = engine.client();
    client.send(&wrq("file", "octet", &[]));
    assert_eq!(client.expect_error(0), Failure::Internal.to_string());
    client.expect_silence(Duration::from_millis(50));
    let facts = engine.settle();
    assert_eq!(facts.crashed, ["store of 1: the secret of path"]);
    // The text of the panic is reported once.
    assert_eq!(facts.finished[0].detail.as_deref(), Some("the store panicked"));
    store.expect_dropped(1);
    assert!(store.files.lock().unwrap().is_empty());
}

#[test]
fn a_burst_of_reads_survives_a_panic_in_each() {
    let store = store_with_files();
    let engine = engine(&store, PacketTrigger::each_once("received ACK 3"));
    let (done, all) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let (done, address) = (done.clone(), engine.address);
            scope.spawn(move || {
                assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
                let seen = read(&mut Client::to(address), Case { windowsize: 1, netascii: false });
                done.send(seen.content == text(10)).unwrap();
            });
        }
    });
    drop(done);
    assert_eq!(all.iter().filter(|&same| same).count(), 20);
    let facts = engine.settle();
    assert_eq!((facts.resumed.len(), facts.finished.len()), (20, 20));
}
