//! Many clients at once: each gets its own octets, and none is forgotten.

mod common;

use std::fs;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::client::{self, Ask};
use common::content::{Content, listing};
use common::daemon::{self, Daemon};

const CLIENTS: usize = 200;
/// Descriptors that the daemon may open under load and keep.
const DESCRIPTORS_OF_ITS_OWN: usize = 16;

/// What a client asks for, and the content of its file. All files differ, and clients next to each
/// other have different options.
fn terms(number: usize) -> (Ask, Content) {
    let ask = match number % 5 {
        0 => Ask::PLAIN,
        1 => Ask::window(1428, 16),
        2 => Ask::window(1024, 4),
        3 => Ask { blksize: Some(8192), ..Ask::PLAIN },
        _ => Ask::window(512, 64),
    };
    // Up to some 200 KB, with lengths of whole blocks among them.
    let len = match number % 7 {
        0 => 0,
        1 => 512 * 40,
        _ => 1000 * number as u64 + 13,
    };
    (ask, Content::new(number as u64, len))
}

#[test]
fn two_hundred_clients_transfer_at_once() {
    let root = tempfile::tempdir().expect("a directory for the test");
    for number in (0..CLIENTS).step_by(2) {
        terms(number).1.write(&root.path().join(format!("read{number}")));
    }
    let daemon = Daemon::start(root.path(), &[]);
    let before = daemon.open_descriptors();
    let gate = Barrier::new(CLIENTS);

    let wrong: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (daemon, gate) = (&daemon, &gate);
                scope.spawn(move || {
                    gate.wait();
                    if number % 2 == 0 { read(daemon, number) } else { write(daemon, number) }
                        .map_or_else(|wrong| Some(format!("client {number}: {wrong}")), |()| None)
                })
            })
            .collect();
        clients.into_iter().filter_map(|client| client.join().expect("a client does not panic")).collect()
    });
    assert!(wrong.is_empty(), "{} of {CLIENTS} failed:\n{}", wrong.len(), wrong.join("\n"));

    for number in (1..CLIENTS).step_by(2) {
        let path = root.path().join(format!("write{number}"));
        assert_eq!(terms(number).1.difference(&path), None, "of client {number}");
    }
    assert_eq!(listing(root.path()).len(), CLIENTS, "every file is there, and nothing besides");
    for number in 0..CLIENTS {
        let name = if number % 2 == 0 { format!("read{number}") } else { format!("write{number}") };
        fs::remove_file(root.path().join(name)).expect("a file that was just there");
    }
    // Each session keeps its socket for a while to repeat a final ACK (RFC 1350 §6), then closes
    // it.
    let until = Instant::now() + Duration::from_secs(30);
    while daemon.open_descriptors() > before + DESCRIPTORS_OF_ITS_OWN {
        let open = daemon.open_descriptors();
        assert!(Instant::now() < until, "{before} descriptors before, {open} long after the last transfer");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(daemon.stop().status.success(), "a daemon that is asked to stop exits with 0");
}

fn read(daemon: &Daemon, number: usize) -> Result<(), String> {
    let (ask, content) = terms(number);
    let mut read = Vec::new();
    let done =
        client::get(daemon.addr(), &format!("read{number}"), ask, |_, octets| read.extend_from_slice(octets))
            .map_err(|failed| failed.to_string())?;
    if read != content.bytes() || done.octets != content.len {
        return Err(format!(
            "{} octets came, {} should have, and not all are the same",
            done.octets, content.len
        ));
    }
    Ok(())
}

fn write(daemon: &Daemon, number: usize) -> Result<(), String> {
    let (ask, content) = terms(number);
    let source = |offset, buffer: &mut [u8]| content.fill(offset, buffer);
    client::put(daemon.addr(), &format!("write{number}"), ask, source)
        .map_err(|failed| failed.to_string())?;
    Ok(())
}

/// The burst is larger than the number of unanswered clients that one network may have. The others
/// wait for their turn, and no accepted transfer is lost.
#[test]
fn six_thousand_requests_in_a_burst_are_served() {
    let root = tempfile::tempdir().expect("a directory for the test");
    Content::new(7, 3000).write(&root.path().join("f"));
    for flags in [&[][..], &["--single-port"]] {
        let daemon = Daemon::start(root.path(), flags);
        let mut bench = Command::new(daemon::binary());
        bench.args(["bench", "get", "--name", "f", "-n", "6000", "-c", "6000", "--blksize", "1428"]);
        let output = bench.args(["--to", &daemon.addr().to_string()]).output().expect("the binary");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{flags:?}: {said}");
        assert!(said.starts_with("stagecoach: get: 6000 succeeded"), "{flags:?}: {said}");
        assert!(daemon.stop().status.success());
    }
}
