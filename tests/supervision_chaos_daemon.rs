//! The real program with faults that its environment plans: files arrive, the log reports the
//! faults, and clients see nothing of them.

mod common;

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::content::Content;
use common::daemon::{Daemon, Ended, binary};
use common::raw::{Packet, ack, data, rrq, wrq};
use common::served::{Served, directory};
use nix::sys::signal::Signal;

/// How long something may take that should happen at once. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);
/// The file with planned faults. Its content is several slabs.
const FILE: &str = "x";
const CONTENT: Content = Content { seed: 11, len: 200_000 };
const BLKSIZE: (&str, &str) = ("blksize", "1024");

/// A daemon with these `plans`, and with [`FILE`] and another file in its directory.
fn served(plans: &str) -> Served {
    served_with(plans, &[])
}

fn served_with(plans: &str, flags: &[&str]) -> Served {
    let root = directory();
    let mut command = Command::new(binary());
    command.args(flags);
    command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path());
    // Backtraces would mix with the lines of the log.
    command.env("STAGECOACH_CHAOS", plans).env("RUST_BACKTRACE", "0");
    let served = Served::at(root, Daemon::spawn(command));
    served.file(FILE, &CONTENT.bytes());
    served
}

/// Checks that no text in the packet comes from a panic.
fn assert_hides_panic(packet: &Packet) {
    let shown = format!("{packet:?}").to_lowercase();
    for secret in ["chaos", "panic", "handle", "src/", "reader", "session"] {
        assert!(!shown.contains(secret), "a client hears of {secret}: {shown}");
    }
}

/// Reads the file. Returns the content, or the packet that ended the transfer.
fn read(served: &Served) -> Result<Vec<u8>, Packet> {
    let mut client = served.ask_until_answered(&rrq(FILE, "octet", &[BLKSIZE]));
    let (mut content, mut received) = (Vec::new(), 0);
    loop {
        let Some((packet, from)) = client.receive(PATIENCE) else { panic!("nothing after block {received}") };
        client.latch(from);
        match packet {
            Packet::Data { block, payload } => {
                if block == received + 1 {
                    received = block;
                    content.extend_from_slice(&payload);
                }
                client.send(&ack(received));
                if block == received && payload.len() < 1024 {
                    return Ok(content);
                }
            }
            Packet::Oack(_) => {
                assert_hides_panic(&packet);
                client.send(&ack(0));
            }
            other => return Err(other),
        }
    }
}

/// The same for an upload. The client repeats blocks that were not acknowledged in time.
fn write(served: &Served, content: &[u8]) -> Result<(), Packet> {
    let mut client = served.ask_until_answered(&wrq(FILE, "octet", &[BLKSIZE]));
    let last = u16::try_from(content.len() / 1024 + 1).expect("a small file");
    let mut acked = None;
    for _ in 0..10 * u32::from(last) {
        match client.receive(Duration::from_millis(500)) {
            Some((Packet::Ack { block, .. }, from)) => {
                client.latch(from);
                acked = Some(block);
            }
            Some((packet @ Packet::Oack(_), from)) => {
                client.latch(from);
                assert_hides_panic(&packet);
                acked = Some(0);
            }
            Some((other, _)) => return Err(other),
            None => {}
        }
        match acked {
            None => {}
            Some(block) if block == last => return Ok(()),
            Some(block) => {
                let from = usize::from(block) * 1024;
                client.send(&data(block + 1, &content[from..content.len().min(from + 1024)]));
            }
        }
    }
    panic!("the upload gets nowhere after {acked:?}");
}

fn lines<'a>(log: &'a str, with: &'a str) -> impl Iterator<Item = &'a str> {
    log.lines().filter(move |line| line.contains(with))
}

fn stop(served: Served) -> String {
    let Served { daemon, root: _root } = served;
    let Ended { status, log } = daemon.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

#[test]
fn a_panic_is_logged_once_and_the_file_arrives() {
    for (point, actor) in [
        ("session.handle", "session"),
        ("session.started", "session"),
        ("session.future", "session"),
        ("link.send", "session"),
        ("link.receive", "session"),
        ("reader.handle", "reader"),
        ("reader.started", "reader"),
        ("reader.future", "reader"),
    ] {
        for flags in [&[][..], &["--single-port"]] {
            let served = served_with(&format!("{point}[{FILE}]=panic times 1"), flags);
            assert_eq!(read(&served), Ok(CONTENT.bytes()), "{point}");
            let log = stop(served);
            let crashes: Vec<&str> = lines(&log, "chaos at ").collect();
            let wanted = format!("{actor} panicked, transfer: 1, panic: \"chaos at {point} (src/");
            assert!(matches!(crashes[..], [only] if only.contains(&wanted)), "{point} {flags:?}: {log}");
        }
    }
}

#[test]
fn an_upload_survives_repeated_session_panics() {
    for (plan, crashes) in [
        // The writer decides on the number of messages. Two are certain: when it has the file, and
        // when it has published it.
        ("session.handle[x]=panic times 3", 2..=3),
        ("session.started[x]=panic times 3", 3..=3),
        ("session.future[x]=panic skip 1 times 3", 3..=3),
    ] {
        let served = served(plan);
        let content = Content { seed: 12, len: 30_000 }.bytes();
        std::fs::remove_file(served.path(FILE)).expect("the file of a read");
        assert_eq!(write(&served, &content), Ok(()), "{plan}");
        assert_eq!(served.contents(FILE), Some(content), "{plan}");
        let log = stop(served);
        let seen = lines(&log, "session panicked, transfer: 1, ").count();
        assert!(crashes.contains(&seen), "{plan}: {seen}: {log}");
    }
}

#[test]
fn a_client_gets_no_word_of_the_panic() {
    for (plan, actor, has_begun) in [
        ("session.handle[x]=panic times 4", "session", true),
        ("session.started[x]=panic times 4", "session", false),
        ("reader.handle[x]=panic times 4", "reader", true),
        ("store[x]=panic", "chaos", false),
        ("store.fetch_cached[x]=panic times 4", "reader", true),
    ] {
        let served = served(plan);
        if has_begun {
            let error = read(&served).expect_err(plan);
            assert!(matches!(error, Packet::Error { code: 0, .. }), "{plan}: {error:?}");
            assert_hides_panic(&error);
        } else {
            // The client gets no answer, as silence says nothing about the file, and repeats its
            // request.
            assert_eq!(read(&served), Ok(CONTENT.bytes()), "{plan}");
            assert!(served.daemon.log().contains("read outage, transfer: 1,"), "{plan}");
        }
        // Another transfer succeeds, as the plan has ended.
        assert_eq!(read(&served), Ok(CONTENT.bytes()), "{plan}");
        let log = stop(served);
        assert!(lines(&log, "transfer: 1").any(|line| line.contains(actor)), "{plan}: {log}");
    }
    for plan in
        ["writer.handle[x]=panic", "store.create[x]=panic", "store.write[x]=panic", "store.publish[x]=panic"]
    {
        let served = served(plan);
        std::fs::remove_file(served.path(FILE)).expect("the file of a read");
        let error = write(&served, &CONTENT.bytes()[..30_000]).expect_err(plan);
        assert!(matches!(error, Packet::Error { code: 0, .. }), "{plan}: {error:?}");
        assert_hides_panic(&error);
        stop(served);
    }
}

#[test]
fn files_arrive_while_all_actors_panic() {
    [&[][..], &["--single-port"]].into_iter().for_each(files_arrive_while_all_panic);
}

fn files_arrive_while_all_panic(flags: &[&str]) {
    // A restart is forgotten soon, so that the pauses before the next ones stay short.
    let plans = "seed=42; session|reader=panic every 20ms; listener|registry.future=panic every 50ms; \
                 restarts=1000 within 100ms";
    let served = served_with(plans, flags);
    let until = Instant::now() + 3 * PATIENCE;
    let has_struck = |actor: &str| served.daemon.log().contains(&format!("chaos at {actor}."));
    let mut arrived = 0;
    while arrived == 0 || !["session", "reader", "listener", "registry"].into_iter().all(has_struck) {
        assert!(Instant::now() < until, "chaos spares somebody; {arrived} arrived");
        match read(&served) {
            Ok(content) => {
                assert_eq!(content, CONTENT.bytes());
                arrived += 1;
            }
            // On a slow machine a transfer may have a fourth panic.
            Err(error) => {
                assert!(matches!(error, Packet::Error { code: 0, .. }), "{error:?}");
                assert_hides_panic(&error);
            }
        }
    }
    let log = stop(served);
    assert!(lines(&log, "built with chaos").next().is_some_and(|line| line.contains("seed: 42")), "{log}");
}

#[test]
fn a_listener_crash_loop_has_its_own_exit_code() {
    let served = served("listener.started=panic times 1000");
    let Served { daemon, root: _root } = served;
    // Five restarts within ten seconds are allowed, a sixth is not.
    let Ended { status, log } = daemon.wait_for_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(3), "{log}");
    let panics = lines(&log, "ERRO listener panicked, transfer: -, panic: \"chaos at listener.started (src/");
    assert_eq!(panics.count(), 6, "{log}");
    let last: Vec<&str> = log.lines().filter(|line| line.starts_with("stagecoach: ")).collect();
    let wanted =
        "stagecoach: gave up after repeated failures: the listener panicked: chaos at listener.started (src/";
    assert!(matches!(last[..], [only] if only.starts_with(wanted)), "{log}");
}

fn refusal(plans: &str) -> String {
    let mut command = Command::new(binary());
    let Output { status, stderr, .. } = command
        .args(["--host", "127.0.0.1", "-p", "0"])
        .env("STAGECOACH_CHAOS", plans)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let said = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(2), "{plans}: {said}");
    assert_eq!(said.lines().count(), 1, "{plans}: {said}");
    said
}

#[test]
fn invalid_chaos_plans_are_refused_at_the_start() {
    for plans in [
        "session.handel=panic",
        "session.handle",
        "store.open=stop",
        "reader=panic; seed=x",
        "reader=panic times 0",
    ] {
        let said = refusal(plans);
        let wrong = plans.rsplit(' ').next().expect("a plan").split('=').next().expect("a point");
        assert!(said.starts_with("stagecoach: STAGECOACH_CHAOS: "), "{said}");
        assert!(plans.ends_with('0') || said.contains(wrong), "{said}");
    }
}

#[test]
fn a_listener_that_panics_on_close_still_closes() {
    let served = served("listener.handle=panic times 1");
    let mut reader = served.reading(FILE, &[]);
    reader.expect_data(1);
    served.daemon.signal(Signal::SIGTERM);
    let line = served.daemon.wait_for_log(PATIENCE, |line| line.contains("draining")).expect("it drains");
    assert!(line.contains("port: free"), "{line}");
    UdpSocket::bind(served.daemon.addr()).expect("the port is free");
    assert!(served.daemon.log().contains("listener panicked"), "{}", served.daemon.log());
    reader.send(&ack(1));
    reader.expect_data(2);
}
