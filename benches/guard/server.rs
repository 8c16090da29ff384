//! Runs the real program under valgrind, with the program's own client.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Case, counted, total};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stagecoach");

/// Instructions of a server that serves one transfer of `packets`.
pub(super) fn count(case: Case, packets: u64) -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let (root, totals) = (directory.path().join("root"), directory.path().join("totals"));
    std::fs::create_dir(&root).expect("a root");
    let local = directory.path().join("local");
    let served = root.join("f");
    let source = if case.upload { &local } else { &served };
    File::create(source).and_then(|file| file.set_len(case.octets(packets))).expect("a file");
    let (mut server, address) = start(&root, &totals);
    transfer(case, &address, &local);
    let pid = i32::try_from(server.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    assert!(server.wait().expect("our child").success(), "the server ends as told");
    assert_eq!(served.metadata().expect("there").len(), local.metadata().expect("there").len());
    total(&totals)
}

/// One arbiter, timers that never expire, and no waiting for disks, so that nothing depends on the
/// speed of the machine.
fn start(root: &Path, totals: &Path) -> (Child, String) {
    let mut command = counted(PROGRAM, totals);
    command.args(["--host", "127.0.0.1", "-p", "0", "--arbiters", "1", "--no-fsync"]);
    command.args(["--ack-timeout", "30", "--timeout", "60", "--root"]).arg(root);
    let mut server = command.stderr(Stdio::piped()).spawn().expect("valgrind is installed");
    let mut log = BufReader::new(server.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("listening") {
        let said = std::mem::take(&mut line);
        assert!(log.read_line(&mut line).expect("a log") > 0, "the server doesn't start: {said}");
    }
    // The server's later log lines need a reader.
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    let address = line.split("address: ").nth(1).and_then(|rest| rest.split(',').next());
    (server, address.expect("the address that it listens on").to_owned())
}

fn transfer(case: Case, address: &str, local: &Path) {
    let mut client = Command::new(PROGRAM);
    if case.upload {
        client.args(["put", address]).arg(local).args(["-r", "f"]);
    } else {
        client.args(["get", address, "f", "-o"]).arg(local);
    }
    let (blksize, windowsize) = (case.blksize.to_string(), case.windowsize.to_string());
    client.args([
        "--blksize",
        &blksize,
        "--windowsize",
        &windowsize,
        "--ack-timeout",
        "60",
        "--timeout",
        "60",
    ]);
    assert!(client.arg("--quiet").status().expect("the program").success(), "{}", case.name);
}
