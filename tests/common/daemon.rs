//! Runs the real program, in a directory of the test's own.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Time for a daemon to report its address, and to stop. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon. Dropping the value kills the daemon; [`stop`](Self::stop) ends it as an
/// operator would.
pub(crate) struct Daemon {
    child: Child,
    addr: SocketAddr,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// How a daemon ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    closed: bool,
}

/// The program under test. `STAGECOACH_BIN` names another program, which the same tests then check.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("STAGECOACH_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_stagecoach")), PathBuf::from)
}

impl Daemon {
    /// Serves `root` on a free port of 127.0.0.1. Returns once the daemon listens.
    pub(crate) fn start(root: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root).args(flags);
        Self::spawn(command)
    }

    /// Starts the program with exactly these arguments, which must make it log to stderr. Returns
    /// once the daemon listens.
    pub(crate) fn start_with<S: AsRef<OsStr>>(arguments: &[S]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::spawn(command)
    }

    /// Spawns a prepared command (another directory, a limit set by a shell). Returns once the
    /// daemon listens.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::spawn_with_its_stdin(command)
    }

    /// The same for a command with its own stdin.
    pub(crate) fn spawn_with_its_stdin(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?} can't be started: {e}"));
        let stderr = child.stderr.take().expect("stderr was asked to be piped");
        let log = Arc::new(Log::default());
        let reader = thread::spawn({
            let log = Arc::clone(&log);
            move || log.collect(BufReader::new(stderr))
        });
        let listening = log.wait(PATIENCE, |line| listening_address(line).is_some());
        let Some(addr) = listening.as_deref().and_then(listening_address) else {
            let _ = child.kill();
            let status = child.wait();
            panic!("{command:?} does not say that it listens ({status:?}); its log:\n{}", log.text());
        };
        Self { child, addr, log, reader: Some(reader) }
    }

    /// The address that the daemon listens on.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The UDP port that the daemon listens on.
    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// The first line that `wanted` accepts: a logged line, or one that follows within `patience`.
    pub(crate) fn wait_for_log(
        &self,
        patience: Duration,
        wanted: impl FnMut(&str) -> bool,
    ) -> Option<String> {
        self.log.wait(patience, wanted)
    }

    /// Whether the daemon still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Peak memory of the daemon, in KiB (`VmHWM`).
    pub(crate) fn vm_hwm_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// Current memory of the daemon, in KiB (`VmRSS`).
    pub(crate) fn vm_rss_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|value| value.trim().strip_suffix(" kB"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("{path} has no {field}"))
    }

    /// Number of open descriptors of the daemon.
    pub(crate) fn open_descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        fs::read_dir(&path).unwrap_or_else(|e| panic!("{path}: {e}")).count()
    }

    /// Sends a signal to the daemon.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a pid fits an i32"));
        kill(pid, signal).unwrap_or_else(|e| panic!("{signal} for {pid}: {e}"));
    }

    /// Sends `SIGTERM`, and waits for the end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(PATIENCE)
    }

    /// Sends `SIGKILL`.
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::SIGKILL);
        self.wait_for_end(PATIENCE)
    }

    /// Waits for the end of the daemon, which something else causes.
    pub(crate) fn wait_for_end(mut self, patience: Duration) -> Ended {
        let until = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child can be waited for") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log's reader does not panic");
        }
        Ended { status, log: self.log() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- the daemon's log:\n{}--- end of the daemon's log", self.log());
        }
    }
}

impl Log {
    fn collect(&self, stderr: impl BufRead) {
        for line in stderr.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            self.lines.lock().expect("no panic under this lock").text.push(line);
            self.more.notify_all();
        }
        self.lines.lock().expect("no panic under this lock").closed = true;
        self.more.notify_all();
    }

    fn wait(&self, patience: Duration, mut wanted: impl FnMut(&str) -> bool) -> Option<String> {
        let until = Instant::now() + patience;
        let mut lines = self.lines.lock().expect("no panic under this lock");
        let mut seen = 0;
        loop {
            if let Some(line) = lines.text[seen..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = lines.text.len();
            let left = until.saturating_duration_since(Instant::now());
            if lines.closed || left.is_zero() {
                return None;
            }
            lines = self.more.wait_timeout(lines, left).expect("no panic under this lock").0;
        }
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().expect("no panic under this lock");
        lines.text.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// The address in `Nov 22 18:07:00.000 INFO listening, ..., address: 127.0.0.1:9069`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    if !line.contains("listening") {
        return None;
    }
    let rest = line.split("address: ").nth(1)?;
    rest.split([',', ' ']).next()?.parse().ok()
}
