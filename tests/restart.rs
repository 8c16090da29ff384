//! A new server replaces an old one: the port is free as soon as the old server drains.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{self, Ask};
use common::content::Content;
use common::daemon::Daemon;
use common::namespace::in_namespace;
use common::raw::{self, Client, ack, data, rrq, wrq};
use common::served::{GOOD, Served, read_from};
use nix::sys::signal::Signal;

/// How long something may take that should happen at once. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(300);
/// A drain of this length would fail the test.
const FOREVER: [&str; 2] = ["--drain-timeout", "600"];

/// A port below the ephemeral range. The kernel may give an ephemeral port that a server has closed
/// to a client or a transfer before the next server binds the port.
fn fixed_port() -> String {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let is_free = |port: &u16| UdpSocket::bind(("127.0.0.1", *port)).is_ok();
    let port = (first..32_000).chain(20_000..first).find(is_free);
    port.expect("a free port").to_string()
}

/// A server of a new directory at a fixed port.
fn at_fixed_port(flags: &[&str]) -> Served {
    let port = fixed_port();
    // If a flag is given twice, the last one counts.
    Served::new(&[&["-p", &port], flags].concat())
}

fn begin_to_drain(daemon: &Daemon) -> String {
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log(PATIENCE, |line| line.contains("draining")).expect("it drains")
}

/// Starts a server of the same directory at the address of the old server.
fn successor(served: &Served, address: SocketAddr, flags: &[&str]) -> Daemon {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let root = served.root.path().to_str().expect("a path");
    let arguments = [&["--host", &host, "-p", &port, "--root", root], flags].concat();
    let daemon = Daemon::start_with(&arguments);
    assert_eq!(daemon.addr(), address);
    daemon
}

fn ends_well(daemon: Daemon) -> String {
    let ended = daemon.wait_for_end(PATIENCE);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    ended.log
}

#[test]
fn a_new_server_starts_while_the_old_one_drains() {
    let served = at_fixed_port(&FOREVER);
    let address = served.daemon.addr();
    let good = served.contents(GOOD).expect("the good file");
    let mut windowed = served.reading(GOOD, &[("blksize", "100"), ("windowsize", "4")]);
    (1..=4).for_each(|block| drop(windowed.expect_data(block)));
    let mut writer = served.writing("new", &[("windowsize", "2")]);
    let mut dallying = served.writing("done", &[]);
    dallying.send(&data(1, b"all of it"));
    dallying.expect_ack(1);
    served.logged("write complete", "done");

    let line = begin_to_drain(&served.daemon);
    // The old server logged the line once the port was free, and not before.
    let next = successor(&served, address, &[]);
    assert!(line.contains("port: free"), "{line}");

    let mut late = Client::to(address);
    late.send(&rrq(GOOD, "octet", &[]));
    assert_eq!(read_from(&mut late), good, "the new server's");
    dallying.send(&data(1, b"all of it"));
    dallying.expect_ack(1);
    for first in [5, 9] {
        windowed.send(&ack(first - 1));
        (first..first + 4).for_each(|block| drop(windowed.expect_data(block)));
    }
    windowed.send(&ack(12));
    windowed.expect_data(13);
    windowed.expect_data(14);
    windowed.send(&ack(14));
    writer.send(&data(1, &[7; 512]));
    writer.send(&data(2, &[7; 512]));
    writer.expect_ack(2);
    writer.send(&data(3, b"end"));
    writer.expect_ack(3);
    let Served { daemon, root } = served;
    let log = ends_well(daemon);
    assert!(log.contains("read complete") && log.contains("write complete"), "{log}");
    // The end of the old server does not affect the new server.
    Served::at(root, next).still_serves();
}

/// The old server answers the requests that the kernel received before the server closed its port.
#[test]
fn requests_queued_before_the_drain_are_answered() {
    const MANY: usize = 100;
    // Another test may have used some of these many ports a moment ago, and its server may still
    // send to them.
    in_namespace(&requests_queued_before_the_drain_are_answered, "ip link set lo up", || {
        let served = Served::new(&FOREVER);
        let good = served.contents(GOOD).expect("the good file");
        // The server finds the requests and the signal together.
        served.daemon.signal(Signal::SIGSTOP);
        let clients: Vec<Client> = (0..MANY).map(|_| served.ask(&rrq(GOOD, "octet", &[]))).collect();
        served.daemon.signal(Signal::SIGTERM);
        served.daemon.signal(Signal::SIGCONT);
        for mut client in clients {
            assert_eq!(read_from(&mut client), good);
        }
        assert!(ends_well(served.daemon).contains(&format!("complete: {MANY},")));
    });
}

/// The transfers need the socket. No other server gets the port, and requests wait for the next
/// server.
#[test]
fn a_single_port_is_kept_until_its_transfers_have_ended() {
    let served = at_fixed_port(&["--single-port", "--drain-timeout", "600"]);
    let address = served.daemon.addr();
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    let line = begin_to_drain(&served.daemon);
    assert!(line.contains("port: kept"), "{line}");
    UdpSocket::bind(address).expect_err("transfers go through the port");
    for request in [rrq(GOOD, "octet", &[]), wrq("late", "octet", &[])] {
        served.ask(&request).expect_silence(QUIET);
    }
    reader.send(&raw::error(0, "enough"));
    ends_well(served.daemon);
    UdpSocket::bind(address).expect("the port is free");
}

/// One transfer of a client of the test: whole files, read and written in turn.
fn transfer(address: SocketAddr, client: usize, number: usize) -> Result<(), String> {
    let ask = [Ask::PLAIN, Ask::window(1428, 16), Ask { blksize: Some(1024), ..Ask::PLAIN }][client % 3];
    let content = contents(client);
    if number.is_multiple_of(2) {
        let mut read = Vec::new();
        let name = format!("read{client}");
        client::get(address, &name, ask, |_, octets| read.extend_from_slice(octets))
            .map_err(|failed| format!("{name}: {failed}"))?;
        if read != content.bytes() { Err(format!("{name}: other octets came")) } else { Ok(()) }
    } else {
        let name = format!("write{client}-{number}");
        let source = |offset, buffer: &mut [u8]| content.fill(offset, buffer);
        client::put(address, &name, ask, source).map(drop).map_err(|failed| format!("{name}: {failed}"))
    }
}

/// Tells the clients to stop, at the latest when the value is dropped.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn contents(client: usize) -> Content {
    Content::new(client as u64, 20_000 + 999 * client as u64)
}

#[test]
fn fifty_clients_do_not_notice_a_restart() {
    const CLIENTS: usize = 50;
    const EXCHANGES: usize = 3;
    const FLAGS: [&str; 3] = ["--drain-timeout", "600", "--no-fsync"];
    let served = at_fixed_port(&FLAGS);
    let root = served.root.path().to_owned();
    (0..CLIENTS).for_each(|client| contents(client).write(&root.join(format!("read{client}"))));
    let address = served.daemon.addr();
    let (over, failed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let done: Vec<AtomicUsize> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let served = thread::scope(|scope| {
        // A test that fails must not wait for the clients.
        let stop = StopOnDrop(&over);
        for client in 0..CLIENTS {
            let (over, failed, done) = (&over, &failed, &done);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let number = done[client].load(Ordering::Relaxed);
                    if let Err(why) = transfer(address, client, number) {
                        failed.lock().expect("nobody panicked").push(why);
                    }
                    done[client].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Waits until this server has served each client twice.
        let everyone_was_served = || {
            let counts = || done.iter().map(|done| done.load(Ordering::Relaxed));
            let before: Vec<usize> = counts().collect();
            let until = Instant::now() + 3 * PATIENCE;
            while counts().zip(&before).any(|(now, before)| now < before + 3) {
                let now = counts().collect::<Vec<_>>();
                assert!(Instant::now() < until, "not everybody is served: {before:?}, then {now:?}");
                thread::sleep(Duration::from_millis(10));
            }
        };
        let mut served = served;
        everyone_was_served();
        for _ in 0..EXCHANGES {
            // The old server keeps a transfer until the new server has served every client.
            let mut slow = served.reading(GOOD, &[]);
            slow.expect_data(1);
            begin_to_drain(&served.daemon);
            let next = successor(&served, address, &FLAGS);
            everyone_was_served();
            assert!(served.daemon.is_alive(), "the old one is still there");
            slow.send(&raw::error(0, "enough"));
            let Served { daemon, root } = served;
            ends_well(daemon);
            served = Served::at(root, next);
        }
        drop(stop);
        served
    });
    let failed = failed.into_inner().expect("nobody panicked");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    for (client, done) in done.iter().enumerate() {
        for number in (1..done.load(Ordering::Relaxed)).step_by(2) {
            let path = root.join(format!("write{client}-{number}"));
            assert_eq!(contents(client).difference(&path), None, "{}", path.display());
        }
    }
    served.still_serves();
}
