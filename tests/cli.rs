//! The command line of the real binary: help, usage errors, and errors at the start.

mod common;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::daemon::{Daemon, binary};
use nix::sys::signal::Signal;

fn stagecoach(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null()).output().expect("the binary")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).expect("text")
}

/// Expects exit code `code`, nothing on stdout, and one sentence on stderr.
fn fails(args: &[&str], code: i32) -> String {
    let output = stagecoach(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    assert!(said.starts_with("stagecoach: ") && said.ends_with('\n'), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    said
}

fn help(args: &[&str]) -> String {
    let output = stagecoach(args);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

/// Every `--flag` that a help text describes.
fn long_flags(help: &str) -> Vec<String> {
    let described = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = described.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    words.map(str::to_owned).collect()
}

const HELPS: [&[&str]; 4] = [&["--help"], &["get", "--help"], &["put", "--help"], &["bench", "--help"]];

#[test]
fn help_goes_to_stdout_and_fits_a_page() {
    for args in HELPS {
        let help = help(args);
        assert!(help.contains("USAGE:") && help.contains("OPTIONS:"), "{help}");
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?} columns: {help}");
    }
    let help = help(&["-h"]);
    for code in 0..=5 {
        assert!(help.contains(&format!("\n    {code}    ")), "{code}: {help}");
    }
    assert!(!help.contains("ERROR:") && help.contains("[default: 9069]"), "{help}");
}

#[test]
fn the_version_is_the_packages() {
    for flag in ["--version", "-V"] {
        assert_eq!(help(&[flag]), concat!("stagecoach ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn the_readme_knows_every_flag() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    for args in HELPS {
        let flags = long_flags(&help(args));
        assert!(flags.len() > 5, "{flags:?}");
        for flag in flags {
            assert!([" ", "`"].iter().any(|end| readme.contains(&format!("`{flag}{end}"))), "{flag}");
        }
    }
}

#[test]
fn a_usage_error_is_one_sentence_that_names_the_flag() {
    for (args, named, right) in [
        (&["--port", "http"][..], "--port", "from 0 to 65535"),
        (&["--port", "65536"], "--port", "from 0 to 65535"),
        (&["--port"], "--port", "requires a value"),
        (&["-p"], "--port", "requires a value"),
        (&["--host", "localhost"], "--host", "192.0.2.1"),
        (&["--host", "fe80::1"], "--host", "%eth0"),
        (&["--host", "fe80::1%no-such"], "--host", "interface"),
        (&["--host", "::1", "--host", "::1"], "--host", "once"),
        (&["--wait-for-address"], "--wait-for-address", "--host"),
        (&["--root", ""], "--root", "empty"),
        (&["--ack-timeout", "0"], "--ack-timeout", "seconds"),
        (&["--timeout", "-1"], "--timeout", "seconds"),
        (&["--conn-timeout", "soon"], "--timeout", "seconds"),
        (&["--ack-timeout", "2", "--timeout", "1"], "--timeout", "longer"),
        (&["--on-abort", "ask"], "--on-abort", "discard"),
        (&["--symlinks", "yes"], "--symlinks", "inside"),
        (&["--rollover", "2"], "--rollover", "0 or 1"),
        (&["--blksize-max", "7"], "--blksize-max", "from 8 to 65464"),
        (&["--allow", "10.0.0.1/8"], "--allow", "10.0.0.0/8"),
        (&["--allow", "everyone"], "--allow", "10.0.0.0/8"),
        (&["--deny", "10.0.0.0/8:both"], "--deny", ":read or :write"),
        (&["--refuse-option", "multicast"], "--refuse-option", "blksize"),
        (&["--refuse-option", "blksize=10.0.0.0/33"], "--refuse-option", "10.0.0.0/8"),
        (&["--max-transfers-per-client", "0"], "--max-transfers-per-client", "from 1"),
        (&["--over-limit", "busy"], "--over-limit", "silence"),
        (&["--on-outage", "busy"], "--on-outage", "silence"),
        (&["--mtu", "67"], "--mtu", "from 68 to 65535, or auto"),
        (&["--windowsize-max", "0"], "--windowsize-max", "from 1 to 65535"),
        (&["--port-range", "9:3"], "--port-range", "3:9"),
        (&["--port-range", "0:3"], "--port-range", "from 1"),
        (&["--max-transfers", "0"], "--max-transfers", "from 1"),
        (&["--arbiters", "0"], "--arbiters", "from 1"),
        (&["--poll-us", "1001"], "--poll-us", "from 0 to 1000"),
        (&["--max-upload-size", "4GB"], "--max-upload-size", "256M"),
        (&["--max-upload-size", "0"], "--max-upload-size", "--read-only"),
        (&["--min-free", "some"], "--min-free", "256M"),
        (&["--file-log"], "--file-log", "requires a value"),
        (&["--read-only", "--overwrite"], "--read-only", "--overwrite"),
        (&["--no-options", "--blksize-max", "512"], "--no-options", "--blksize-max"),
        (&["--read-only=no"], "--read-only", "no value"),
        (&["--readonly"], "--readonly", "--read-only"),
        (&["--nonsense"], "--nonsense", "--help"),
        (&["nonsense"], "nonsense", "too many"),
        (&["--read-only", "get", "::1", "a"], "get", "comes first"),
        (&["get"], "<REMOTE>", "required"),
        (&["get", "::1", "a/"], "a/", "-o LOCAL"),
        (&["get", "[::1]69", "a"], "[::1]69", "HOST:PORT"),
        (&["get", "tftp://S/f", "f"], "is a URL", "host \"S\" and the name of the file \"f\""),
        (&["put", "tftp://S", "f"], "is a URL", "\"S\""),
        (&["get", "S/f", "f"], "S/f", "HOST:PORT"),
        (&["--create"], "--create", "--read-only"),
        (&["get", "::1", "a", "--interval", "256"], "--interval", "from 1 to 255"),
        (&["get", "::1", "a", "--mode", "mail"], "--mode", "netascii"),
        (&["put", "::1", "-"], "-", "-r REMOTE"),
        (&["bench"], "--to", "required"),
        (&["bench", "read", "--to", "::1"], "read", "get or put or miss"),
        (&["bench", "get", "--to", "::1"], "--name", "--name NAME"),
        (&["bench", "put", "--to", "::1", "-n", "0"], "--transfers", "from 1"),
        (&["bench", "put", "--to", "::1", "-c", "many"], "--concurrency", "from 1"),
        (&["bench", "miss", "--to", "::1", "--size", "1M"], "--size", "miss writes no file"),
        (&["bench", "put", "--to", "::1", "--check", "f"], "--check", "put reads no file"),
        (&["bench", "put", "--to", "::1", "--no-options", "--blksize", "9"], "--no-options", "--blksize"),
        (&["put", "::1", "Cargo.toml", "--no-options", "--windowsize", "4"], "--no-options", "--windowsize"),
    ] {
        let said = fails(args, 2);
        assert!(said.contains(named) && said.contains(right) && said.contains("--help"), "{args:?}: {said}");
    }
}

#[test]
fn a_root_that_cannot_be_served_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("written");
    for (root, why) in [(missing, "No such file"), (file, "Not a directory")] {
        let root = root.to_str().expect("text");
        let said = fails(&["--host", "127.0.0.1", "-p", "0", "--root", root], 1);
        assert!(said.contains(root) && said.contains(why), "{said}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = taken.local_addr().expect("bound").port().to_string();
    let said = fails(&["--host", "127.0.0.1", "-p", &port], 1);
    assert!(said.contains(&format!("port {port} of 127.0.0.1")) && said.contains("in use"), "{said}");
}

#[test]
fn a_second_server_on_the_port_does_not_start() {
    let root = tempfile::tempdir().expect("a directory");
    let first = Daemon::start(root.path(), &[]);
    let port = first.port().to_string();
    let said = fails(&["--host", "127.0.0.1", "-p", &port], 1);
    assert!(said.contains(&format!("port {port} of 127.0.0.1")) && said.contains("in use"), "{said}");
}

#[test]
fn an_address_that_is_not_ours_is_named() {
    let said = fails(&["--host", "192.0.2.1", "-p", "0"], 1);
    assert!(said.contains("192.0.2.1"), "{said}");
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let said = fails(&["--file-log", "/nonexistent/log"], 1);
    assert!(said.contains("--file-log") && said.contains("/nonexistent/log"), "{said}");
}

#[test]
fn a_start_error_is_in_the_log_file_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let args = ["-l", log.to_str().expect("text"), "--root", "/nonexistent"];
    let said = fails(&args, 1);
    let logged = fs::read_to_string(log).expect("a log");
    let sentence = said.trim_start_matches("stagecoach: ").trim_end();
    assert!(logged.contains(sentence), "{said}{logged}");
}

#[test]
fn a_served_file_is_got_and_a_put_one_is_there() {
    let (root, here) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(root.path().join("served"), &content).expect("written");
    let daemon = Daemon::start(root.path(), &["--create-dirs"]);
    let server = daemon.addr().to_string();
    let run = |args: &[&str]| {
        let mut command = Command::new(binary());
        let status = command.current_dir(here.path()).args(args).status().expect("the binary");
        status.code()
    };
    assert_eq!(run(&["get", &server, "served", "-q"]), Some(0));
    assert_eq!(fs::read(here.path().join("served")).expect("got"), content);
    assert_eq!(run(&["put", &server, "served", "-q", "-r", "deep/put"]), Some(0));
    assert_eq!(fs::read(root.path().join("deep/put")).expect("put"), content);
    assert_eq!(run(&["put", &server, "served", "-r", "deep/put"]), Some(4));
    assert_eq!(run(&["get", &server, "missing"]), Some(4));
    assert!(!here.path().join("missing").exists());
}

#[test]
fn sighup_opens_the_log_file_anew() {
    let root = tempfile::tempdir().expect("a directory");
    let (path, rotated) = (root.path().join("log"), root.path().join("log.1"));
    let mut command = Command::new(binary());
    command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root.path()).arg("-l").arg(&path);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary");
    let mut child = KillOnDrop(child);
    let pid = nix::unistd::Pid::from_raw(child.0.id().try_into().expect("a pid fits an i32"));
    let says = |path: &Path, word: &str| fs::read_to_string(path).is_ok_and(|text| text.contains(word));

    wait_until(|| says(&path, "listening"));
    fs::rename(&path, &rotated).expect("rotated");
    nix::sys::signal::kill(pid, Signal::SIGHUP).expect("sent");
    wait_until(|| says(&path, "log reopened"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("sent");
    assert_eq!(child.0.wait().expect("it ends").code(), Some(0));
    // The process wrote its last lines before it ended.
    assert!(says(&path, "stopped") && !says(&rotated, "stopped"));
}

/// A server with a log file in a directory of its own, a file for its stderr, and a service
/// manager.
struct Logging {
    child: KillOnDrop,
    place: tempfile::TempDir,
    manager: UnixDatagram,
}

impl Logging {
    fn to(log: &str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let notify = place.path().join("notify");
        let manager = UnixDatagram::bind(&notify).expect("a socket for the service manager");
        manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a read timeout");
        fs::create_dir_all(place.path().join("root")).expect("made");
        fs::create_dir_all(place.path().join("logs")).expect("made");
        let stderr = fs::File::create(place.path().join("stderr")).expect("made");
        let mut command = Command::new(binary());
        command.current_dir(place.path()).env("NOTIFY_SOCKET", notify).stderr(stderr);
        command.args(["--host", "127.0.0.1", "-p", "0", "--root", "root", "-l", log]);
        Self { child: KillOnDrop(command.stdout(Stdio::null()).spawn().expect("the binary")), place, manager }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn contents(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.0.id().try_into().expect("a pid fits an i32"));
        nix::sys::signal::kill(pid, signal).expect("sent");
    }

    /// The service manager's next status.
    fn status(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.manager.recv(&mut buffer).expect("a message");
        let message = text(&buffer[..length]);
        message.lines().find_map(|line| line.strip_prefix("STATUS=")).expect("a status").to_owned()
    }
}

#[test]
fn a_log_that_cannot_be_reopened_is_reported() {
    let server = Logging::to("logs/log");
    let serving = server.status();
    fs::rename(server.path("logs"), server.path("old")).expect("renamed");
    server.signal(Signal::SIGHUP);
    let status = server.status();
    assert!(status.starts_with(&serving) && status.contains("No such file"), "{status}");
    let said = server.contents("stderr");
    assert!(said.starts_with("stagecoach: --file-log: the log ") && said.contains("No such file"), "{said}");
    wait_until(|| server.contents("old/log").contains("can't reopen the log file"));
    // The next reopening that succeeds also resets the status.
    fs::rename(server.path("old"), server.path("logs")).expect("renamed");
    server.signal(Signal::SIGHUP);
    assert_eq!(server.status(), serving);
    wait_until(|| server.contents("logs/log").contains("log reopened"));
    assert_eq!(server.contents("stderr"), said);
}

#[test]
fn sighup_reopens_nothing_if_the_log_is_stderr() {
    let mut server = Logging::to("-");
    assert!(server.status().starts_with("listening on "));
    server.signal(Signal::SIGHUP);
    // Another thread would log the reopening. At least the list follows the signal in the log.
    server.signal(Signal::SIGUSR1);
    wait_until(|| server.contents("stderr").contains("counters"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.child.0.wait().expect("it ends").code(), Some(0));
    let said = server.contents("stderr");
    assert!(said.contains("stopped") && !said.contains("reopened"), "{said}");
    assert!(!server.path("-").exists());
}

/// A command that serves `root`. `before` is a prefix of the command.
fn serving(before: &[&str], root: &Path) -> Command {
    let program = binary();
    let words = [before, &[program.to_str().expect("text")]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root);
    command
}

#[test]
fn the_log_says_what_clients_may_read_only_as_root() {
    let root = tempfile::tempdir().expect("a directory");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("readable by all");
    // With a user namespace this works without root as well.
    let as_root = || serving(&["unshare", "--map-root-user"], root.path());
    let mut read_only = as_root();
    read_only.arg("--read-only");
    for (command, takes_uploads) in [(as_root(), true), (read_only, false)] {
        let daemon = Daemon::spawn(command);
        let log = daemon.log();
        assert!(log.contains("WARN running as root: files that only root may read are served too"), "{log}");
        assert_eq!(log.contains("uploads may go where only root may write"), takes_uploads, "{log}");
        daemon.kill();
    }
    let mut command = serving(&[], root.path());
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let daemon = Daemon::spawn(command);
    assert!(!daemon.log().contains("as root"), "{}", daemon.log());
}

/// Kills the child when a test fails.
struct KillOnDrop(std::process::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(mut true_now: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if true_now() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within thirty seconds");
}
