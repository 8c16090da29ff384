//! A pipe, a disk or a service manager that hangs delays no client, and does not delay the end of
//! the server.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::daemon::{Daemon, binary};
use common::raw::{Client, rrq};
use common::served::{GOOD, Served, directory, read_from};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stagecoach::internals::limits;
use tempfile::TempDir;

/// How long something may take that should happen at once. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that logs to a FIFO.
struct Piped {
    child: Child,
    root: TempDir,
}

impl Piped {
    fn start(listen: &str) -> Self {
        let root = directory();
        let fifo = root.path().join("log");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        let mut command = Command::new(binary());
        command.args(["--host", "127.0.0.1", "-p", listen, "-l"]).arg(&fifo).arg("--root");
        let child = command.arg(root.path()).stderr(Stdio::null()).spawn().expect("the binary");
        Self { child, root }
    }

    /// The lines that the daemon logs from now on.
    fn log(&self) -> impl Iterator<Item = String> + use<> {
        let fifo = File::open(self.root.path().join("log")).expect("somebody writes");
        BufReader::new(fifo).lines().map_while(Result::ok)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid fits an i32"));
        kill(pid, signal).expect("it runs");
    }

    fn serves_at(&mut self, address: SocketAddr) {
        let mut client = Client::to(address);
        client.send(&rrq(GOOD, "octet", &[]));
        let content = fs::read(self.root.path().join(GOOD)).expect("the good file");
        assert_eq!(read_from(&mut client), content);
        assert_eq!(self.child.try_wait().expect("our own child"), None, "it has ended");
    }

    /// Ends the daemon. Returns how long that took.
    fn ends_well(&mut self) -> Duration {
        self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
        begun.elapsed()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> SocketAddr {
    let address = line.split("address: ").nth(1).and_then(|rest| rest.split(',').next());
    address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address in {line}"))
}

/// The eleven seconds are real: the program exits when the thread of its listeners hangs for
/// `SERVER_SILENCE_MAX` seconds, which must not happen here.
#[test]
fn sighup_with_a_full_log_pipe_delays_no_client() {
    let mut piped = Piped::start("0");
    let address = address_in(&piped.log().find(|line| line.contains("listening")).expect("it listens"));
    // The FIFO has no reader any more.
    piped.signal(Signal::SIGHUP);
    piped.signal(Signal::SIGHUP);
    let until = Instant::now() + limits::ARBITER_ASKED_EVERY * (limits::SERVER_SILENCE_MAX + 1);
    while Instant::now() < until {
        piped.serves_at(address);
        std::thread::sleep(Duration::from_millis(100));
    }
    // The next reader receives the result of the reopening.
    assert!(piped.log().any(|line| line.contains("log reopened")));
    piped.serves_at(address);
    assert!(piped.ends_well() < limits::END_WITHIN + PATIENCE);
}

#[test]
fn a_log_pipe_without_reader_does_not_stop_serving() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let mut piped = Piped::start(&address.port().to_string());
    let client = Client::to(address);
    client.socket().set_read_timeout(Some(Duration::from_millis(200))).expect("a read timeout");
    let until = Instant::now() + PATIENCE;
    loop {
        client.send(&rrq("missing", "octet", &[]));
        if client.socket().peek_from(&mut [0; 4]).is_ok() {
            break;
        }
        assert!(Instant::now() < until, "nobody serves");
    }
    piped.serves_at(address);
    let lines = piped.log();
    assert!(piped.ends_well() < limits::END_WITHIN + PATIENCE);
    let lines: Vec<String> = lines.collect();
    assert!(lines.iter().any(|line| line.contains("listening")), "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.contains("stopped")), "{lines:?}");
}

#[test]
fn a_log_that_is_a_socket_is_refused_at_the_start() {
    let root = tempfile::tempdir().expect("a directory");
    let socket = root.path().join("socket");
    let _bound = UnixDatagram::bind(&socket).expect("a socket");
    let output = Command::new(binary()).arg("-l").arg(&socket).output().expect("the binary");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--file-log: the log ") && said.contains("can't be opened"), "{said}");
}

/// Ends the daemon, which has nothing to drain. The end must be successful and within the bound.
fn ends_in_time(daemon: Daemon) -> String {
    let begun = Instant::now();
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let log = ended.log;
    assert!(log.contains("stopped"), "{log}");
    // Other tests load the processors, but not for the ten seconds that the end took once.
    assert!(begun.elapsed() < limits::END_WITHIN, "after {:?}", begun.elapsed());
    log
}

#[test]
fn a_hung_service_manager_does_not_delay_the_end() {
    let root = directory();
    let path = root.path().join("notify");
    let _manager = UnixDatagram::bind(&path).expect("a socket for the service manager");
    let full = UnixDatagram::unbound().expect("a socket");
    full.set_nonblocking(true).expect("a socket that waits for nothing");
    while full.send_to(b"STATUS=", &path).is_ok() {}
    let mut command = Command::new(binary());
    command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let served = Served::at(root, Daemon::spawn(command));
    served.still_serves();
    ends_in_time(served.daemon);
}

/// strace delays each read of a directory by a second, so that the sweep would take a minute.
#[test]
fn a_slow_sweep_does_not_delay_the_end() {
    let root = directory();
    for number in 0..30 {
        fs::create_dir(root.path().join(number.to_string())).expect("a directory");
    }
    let mut command = Command::new("strace");
    // -D: the daemon is our child, and strace ends with the daemon.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=getdents64:delay_enter=1000000"]);
    command.arg(binary()).args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path());
    let served = Served::at(root, Daemon::spawn(command));
    served.still_serves();
    ends_in_time(served.daemon);
}

/// strace delays each query of the loopback interface's MTU by eight seconds.
#[test]
fn a_slow_mtu_query_delays_no_other_client() {
    let root = directory();
    let files = [("short", vec![7; 1000]), ("long", vec![8; 20_000])];
    for (name, octets) in &files {
        fs::write(root.path().join(name), octets).expect("a file");
    }
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-P", "/sys/class/net/lo/mtu"]);
    command.args(["-e", "inject=openat:delay_enter=8000000"]).arg(binary());
    command.args(["--host", "127.0.0.1", "-p", "0", "--mtu", "auto", "--arbiters", "1", "--root"]);
    command.arg(root.path());
    let served = Served::at(root, Daemon::spawn(command));
    let blocks = [("blksize", "1024")];
    let mut waiting: Vec<_> =
        files.iter().map(|(name, _)| served.ask(&rrq(name, "octet", &blocks))).collect();
    for (name, octets) in &files {
        assert_eq!(served.read(name, "octet", &[]), *octets);
    }
    // In the end the server answers these clients without the MTU.
    for client in &mut waiting {
        assert_eq!(client.expect_oack(), [("blksize".to_owned(), "1024".to_owned())]);
    }
}
