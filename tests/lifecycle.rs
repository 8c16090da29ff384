//! How the running server drains and ends, how it reports to a service manager, and how it uses
//! passed sockets.

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::daemon::{Daemon, Ended, binary};
use common::raw::{Client, ack, data, rrq, wrq};
use common::served::{GOOD, SLOW, Served, directory, read_from};
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

/// How long something may take that should happen at once. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);
/// A drain of this length would fail the test.
const FOREVER: [&str; 2] = ["--drain-timeout", "600"];
const QUIET: Duration = Duration::from_millis(300);

impl Served {
    /// Sends the signal that starts the drain, and waits for the drain.
    fn begin_to_drain(&self, signal: Signal) {
        self.daemon.signal(signal);
        let line = self.daemon.wait_for_log(PATIENCE, |line| line.contains("draining"));
        assert!(line.is_some(), "it does not drain");
    }

    /// Waits for the end of the server, which must be successful.
    fn ends_well(self) -> Ended {
        let ended = self.daemon.wait_for_end(PATIENCE);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(ended.log.contains("stopped"), "{}", ended.log);
        ended
    }
}

#[test]
fn a_drain_ends_live_transfers_and_begins_none() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let served = Served::new(&FOREVER);
        let mut reader = served.reading(GOOD, &[("blksize", "600")]);
        let mut octets = reader.expect_data(1);
        served.begin_to_drain(signal);
        served.ask(&rrq(GOOD, "octet", &[])).expect_silence(QUIET);
        for block in 1..=2 {
            reader.send(&ack(block));
            octets.extend(reader.expect_data(block + 1));
        }
        assert_eq!(octets, served.contents(GOOD).expect("the good file"));
        reader.send(&ack(3));
        let ended = served.ends_well();
        assert!(ended.log.contains("read complete"), "{}", ended.log);
    }
}

#[test]
fn peers_get_error_0_at_the_drain_deadline() {
    let served = Served::new(&["--drain-timeout", "1.5"]);
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    let mut writer = served.writing("new", &[]);
    let begun = Instant::now();
    served.begin_to_drain(Signal::SIGTERM);
    // The upload goes on during the drain.
    writer.send(&data(1, &[7; 512]));
    writer.expect_ack(1);
    assert_eq!(reader.expect_error(0), "Server is shutting down");
    assert!(begun.elapsed() >= Duration::from_millis(1500), "after {:?}", begun.elapsed());
    assert_eq!(writer.expect_error(0), "Server is shutting down");
    let path = served.path("new");
    served.ends_well();
    assert!(!path.exists());
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    for (first, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGINT, Signal::SIGTERM)] {
        let served = Served::new(&FOREVER);
        let mut reader = served.reading(GOOD, &[]);
        reader.expect_data(1);
        served.begin_to_drain(first);
        reader.expect_silence(QUIET);
        served.daemon.signal(second);
        assert_eq!(reader.expect_error(0), "Server is shutting down");
        served.ends_well();
    }
}

#[test]
fn drain_timeout_0_ends_at_the_first_signal() {
    let served = Served::new(&["--drain-timeout", "0"]);
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    served.daemon.signal(Signal::SIGTERM);
    assert_eq!(reader.expect_error(0), "Server is shutting down");
    served.ends_well();
}

/// Without a drain, the server keeps the client's place for minutes.
#[test]
fn a_silent_client_does_not_delay_the_end() {
    let served = Served::new(&FOREVER);
    let mut silent = served.ask(&rrq(GOOD, "octet", &[("timeout", "255")]));
    silent.expect_oack();
    served.begin_to_drain(Signal::SIGTERM);
    let ended = served.ends_well();
    assert!(ended.log.contains("read unanswered"), "{}", ended.log);
}

#[test]
fn a_dallying_upload_does_not_delay_the_end() {
    let served = Served::new(&FOREVER);
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    let mut writer = served.writing("new", &[]);
    writer.send(&data(1, b"all of it"));
    writer.expect_ack(1);
    served.begin_to_drain(Signal::SIGTERM);
    // While other transfers are live, the session still answers repeats.
    writer.send(&data(1, b"all of it"));
    writer.expect_ack(1);
    let begun = Instant::now();
    reader.send(&common::raw::error(0, "enough"));
    assert_eq!(served.contents("new").as_deref(), Some(&b"all of it"[..]));
    served.ends_well();
    // Without the end of the server, the session would answer for longer than its interval.
    let interval = Duration::from_secs(SLOW.1.parse().expect("seconds"));
    assert!(begun.elapsed() < interval, "after {:?}", begun.elapsed());
    writer.expect_silence(QUIET);
}

#[test]
fn an_idle_server_ends_at_once() {
    let begun = Instant::now();
    let served = Served::new(&FOREVER);
    served.daemon.signal(Signal::SIGTERM);
    served.ends_well();
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn an_operator_can_see_what_is_live() {
    let served = Served::new(&[]);
    let counters = |served: &Served, live: usize| {
        let wanted = format!("live: {live},");
        let found = (0..50).find_map(|_| {
            // Shortly after an ACK the registry may still list the transfer that has ended.
            served.daemon.signal(Signal::SIGUSR1);
            let patience = PATIENCE / 50;
            served.daemon.wait_for_log(patience, |line| line.contains("counters") && line.contains(&wanted))
        });
        found.unwrap_or_else(|| panic!("no counters with {wanted}"))
    };
    assert!(counters(&served, 0).contains("complete: 0"));
    served.still_serves();
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    let mut writer = served.writing("new", &[]);
    let line = counters(&served, 2);
    assert!(line.contains("complete: 1") && line.contains("octets: 1300"), "{line}");
    let log = served.daemon.log();
    for (direction, client, name) in [("read", &reader, GOOD), ("write", &writer, "new")] {
        let peer = format!("peer: 127.0.0.1:{}", client.port());
        let line = log.lines().find(|line| line.contains(&format!("live {direction}")));
        let line = line.unwrap_or_else(|| panic!("no live {direction} in\n{log}"));
        assert!(line.contains(&peer) && line.contains(&client.tid().to_string()), "{line}");
        assert!(line.contains(&format!("name: {name},")), "{line}");
    }
    writer.send(&data(1, b"end"));
    writer.expect_ack(1);
    // The upload is complete, though its session still answers repeats.
    counters(&served, 1);
}

/// A service manager's socket, and a daemon that reports to it.
struct Managed {
    manager: UnixDatagram,
    _directory: TempDir,
    served: Served,
}

impl Managed {
    fn new(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().expect("a directory for the socket");
        let path = place.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket for the service manager");
        manager.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        let root = directory();
        let mut command = Command::new(binary());
        command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path()).args(flags);
        command.env("NOTIFY_SOCKET", &path).envs(environment.iter().copied());
        let daemon = Daemon::spawn(command);
        Self { manager, _directory: place, served: Served::at(root, daemon) }
    }

    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.manager.recv(&mut buffer).unwrap_or_else(|e| panic!("no message: {e}"));
        let text = std::str::from_utf8(&buffer[..length]).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_service_manager_is_told_of_each_step_in_order() {
    let managed = Managed::new(&FOREVER, &[]);
    let address = managed.served.daemon.addr();
    assert_eq!(managed.next(), ["READY=1", &format!("STATUS=listening on {address}")]);
    let mut reader = managed.served.reading(GOOD, &[]);
    reader.expect_data(1);
    managed.served.begin_to_drain(Signal::SIGTERM);
    let draining = managed.next();
    assert_eq!(draining[0], "STOPPING=1");
    let extended = draining[1].strip_prefix("EXTEND_TIMEOUT_USEC=").expect("more time");
    assert!(extended.parse::<u64>().expect("microseconds") > 600_000_000, "{extended}");
    assert_eq!(draining[2], "STATUS=draining: 1 transfers have 600 s to end");
    managed.served.daemon.signal(Signal::SIGTERM);
    let Managed { manager, _directory, served } = managed;
    served.ends_well();
    manager.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 4096];
    let rest: Vec<String> =
        std::iter::from_fn(|| manager.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
            .map(|octets| String::from_utf8(octets).expect("text"))
            .collect();
    assert_eq!(rest.last().map(String::as_str), Some("STATUS=stopped\n"), "{rest:?}");
    assert!(rest.iter().all(|message| !message.contains("STOPPING")), "{rest:?}");
}

#[test]
fn the_watchdog_is_fed_until_the_end() {
    let managed = Managed::new(&FOREVER, &[("WATCHDOG_USEC", "2000000")]);
    assert_eq!(managed.next()[0], "READY=1");
    let begun = Instant::now();
    for _ in 0..4 {
        assert_eq!(managed.next(), ["WATCHDOG=1"]);
    }
    // One message at once, then one after each half of the limit.
    assert!(begun.elapsed() >= Duration::from_millis(2500), "after {:?}", begun.elapsed());
    let mut reader = managed.served.reading(GOOD, &[]);
    reader.expect_data(1);
    managed.served.begin_to_drain(Signal::SIGTERM);
    let mut messages = std::iter::from_fn(|| Some(managed.next()));
    messages.find(|message| message[0] == "STOPPING=1");
    assert_eq!(messages.next(), Some(vec!["WATCHDOG=1".into()]), "draining is no reason to be killed");
}

/// Each transfer's `bind` delays the arbiter.
#[test]
fn the_watchdog_is_not_fed_while_an_arbiter_is_blocked() {
    const BLOCKED: Duration = Duration::from_secs(3);
    let passed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let root = directory();
    let path = root.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket for the service manager");
    manager.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    let before = [&STRACE[..], &["inject=bind:delay_enter=3000000"]].concat();
    let mut command = activated_under(&before, passed, root.path(), &["--arbiters", "2"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let served = Served::at(root, Daemon::spawn_with_its_stdin(command));
    let long = vec![7; 8192];
    fs::write(served.path("long"), &long).expect("a file");
    let fed = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap_or_else(|e| panic!("no message: {e}"));
        buffer[..length] == *b"WATCHDOG=1\n"
    };
    assert!(!fed() && fed() && fed(), "it is ready, then alive");
    let mut reader = served.ask(&rrq("long", "octet", &[]));
    let silent = "the watchdog is not fed, silent: 1, of: 2";
    assert!(served.daemon.wait_for_log(PATIENCE, |line| line.contains(silent)).is_some());
    // Messages from before the block have arrived already. A gap follows.
    let longest = (0..6).map(|_| {
        let begun = Instant::now();
        assert!(fed());
        begun.elapsed()
    });
    let longest = longest.max().expect("six of them");
    assert!(longest > BLOCKED / 2, "fed at least every {longest:?}");
    assert_eq!(read_from(&mut reader), long);
}

#[test]
fn another_process_s_watchdog_is_not_fed() {
    let managed = Managed::new(&[], &[("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]);
    assert_eq!(managed.next()[0], "READY=1");
    managed.manager.set_read_timeout(Some(Duration::from_millis(700))).expect("a read timeout");
    let more = managed.manager.recv(&mut [0; 4096]);
    assert!(more.is_err(), "{more:?}");
}

#[test]
fn a_missing_service_manager_does_not_stop_serving() {
    let root = directory();
    let mut command = Command::new(binary());
    command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path());
    command.env("NOTIFY_SOCKET", root.path().join("nobody"));
    let served = Served::at(root, Daemon::spawn(command));
    served.still_serves();
    let told = served.daemon.wait_for_log(PATIENCE, |line| line.contains("can't tell the service manager"));
    assert!(told.is_some());
}

/// A command that starts the server with `socket` as a passed socket, as a service manager does.
fn activated(socket: impl Into<OwnedFd>, root: &Path, flags: &[&str]) -> Command {
    activated_under(&[], socket, root, flags)
}

/// The same with another program as a prefix, which must not fork.
fn activated_under(before: &[&str], socket: impl Into<OwnedFd>, root: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
    command.args(["-c", script, "sh"]).args(before).arg(binary()).arg("--root").arg(root).args(flags);
    command.stdin(Stdio::from(socket.into()));
    command
}

/// strace delays system calls or makes them fail. -D: the daemon is our child, and strace ends with
/// the daemon.
const STRACE: [&str; 7] = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e"];

#[test]
fn requests_are_taken_from_a_socket_that_was_passed() {
    let passed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = passed.local_addr().expect("an address");
    // This request wakes the server.
    let mut first = Client::to(address);
    first.send(&rrq(GOOD, "octet", &[SLOW]));
    let root = directory();
    let kept = passed.try_clone().expect("a second descriptor");
    let flags = [&FOREVER[..], &["--host", "::1", "-p", "1"]].concat();
    let daemon = Daemon::spawn_with_its_stdin(activated(passed, root.path(), &flags));
    assert_eq!(daemon.addr(), address);
    let served = Served::at(root, daemon);
    let good = served.contents(GOOD).expect("the good file");
    assert_eq!(read_from(&mut first), good);
    served.still_serves();
    assert!(served.daemon.log().contains("--host and --port have no effect"), "{}", served.daemon.log());

    // A request during the drain stays in the socket for the next server.
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    served.begin_to_drain(Signal::SIGTERM);
    let late = served.ask(&wrq("late", "octet", &[]));
    late.expect_silence(QUIET);
    reader.send(&common::raw::error(0, "enough"));
    served.ends_well();
    kept.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    let mut buffer = [0; 64];
    let (length, from) = kept.recv_from(&mut buffer).expect("the request that nobody took");
    assert_eq!((&buffer[..length], from.port()), (&wrq("late", "octet", &[])[..], late.port()));
}

#[test]
fn a_passed_socket_for_both_families_serves_both() {
    let passed = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    passed.set_only_v6(false).expect("both families");
    passed.bind(&"[::]:0".parse::<SocketAddr>().expect("an address").into()).expect("a port");
    let root = directory();
    let daemon = Daemon::spawn_with_its_stdin(activated(passed, root.path(), &[]));
    let port = daemon.port();
    let served = Served::at(root, daemon);
    let good = served.contents(GOOD).expect("the good file");
    for address in ["127.0.0.1", "127.0.0.2", "::1"] {
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        let mut client = Client::to(address);
        client.send(&rrq(GOOD, "octet", &[]));
        assert_eq!(read_from(&mut client), good, "{address}");
        assert_eq!(client.tid().ip(), address.ip());
    }
}

#[test]
fn a_passed_socket_must_be_a_bound_udp_socket() {
    let root = directory();
    let unbound = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    let things: [OwnedFd; 4] = [
        TcpListener::bind("127.0.0.1:0").expect("a port").into(),
        UnixDatagram::unbound().expect("a socket").into(),
        fs::File::open(root.path().join(GOOD)).expect("a file").into(),
        unbound.into(),
    ];
    for thing in things {
        let output = activated(thing, root.path(), &[]).output().expect("the binary");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{said}");
        // A build with the feature `chaos` logs a line about that first.
        let said: Vec<_> = said.lines().filter(|line| !line.contains("built with chaos")).collect();
        let [sentence] = said[..] else { panic!("more than a sentence: {said:?}") };
        assert!(
            sentence.starts_with("stagecoach: socket 1 of those") && sentence.contains("ListenDatagram="),
            "{sentence}"
        );
    }
}

#[test]
fn sockets_passed_to_another_process_are_ignored() {
    let root = directory();
    let mut command = Command::new(binary());
    command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path());
    command.envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    Served::at(root, Daemon::spawn(command)).still_serves();
}

/// The backtrace must not block an actor at a pipe without a reader.
#[test]
fn a_backtrace_goes_to_the_log_and_not_to_stderr() {
    let passed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let root = directory();
    let log = root.path().join("log");
    let before = [&STRACE[..], &["inject=setsockopt:error=EPERM"]].concat();
    let mut command = activated_under(&before, passed, root.path(), &[]);
    let output = command.arg("-l").arg(&log).env("RUST_BACKTRACE", "1").output().expect("sh");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    let logged = fs::read_to_string(log).expect("a log");
    assert!(logged.contains("begin_panic") || logged.contains("panic_fmt"), "{logged}");
}

/// The listener can't set up its socket, and fails after each restart.
#[test]
fn a_supervision_failure_has_its_own_exit_code() {
    let passed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let root = directory();
    let before = [&STRACE[..], &["inject=setsockopt:error=EPERM"]].concat();
    let begun = Instant::now();
    let mut command = activated_under(&before, passed, root.path(), &[]);
    let output = command.env("RUST_BACKTRACE", "0").output().expect("sh");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3), "{said}");
    let last = said.lines().last().expect("a last word");
    assert!(last.starts_with("stagecoach: gave up after repeated failures: the listener panicked"), "{said}");
    assert!(begun.elapsed() < PATIENCE, "after {:?}", begun.elapsed());
}
