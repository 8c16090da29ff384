//! Kills a daemon in the middle of uploads: the directory stays as it was.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::client::{self, Ask, Failed};
use common::content::{Content, listing};
use common::daemon::Daemon;
use common::namespace::in_namespace;
use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags, open};

const UPLOADS: usize = 20;
/// Each upload has sent this many octets when the daemon dies, and has as many left.
const KILL_AFTER: u64 = 500_000;
const UPLOAD_LEN: u64 = 400_000_000;

/// In a network of its own: on the shared one, another test's server may get a killed daemon's port
/// and answer its clients.
#[test]
fn killed_uploads_leave_the_directory_unchanged() {
    in_namespace(&killed_uploads_leave_the_directory_unchanged, "ip link set lo up", kill_and_compare);
}

fn kill_and_compare() {
    let root = tempfile::tempdir().expect("a directory for the test");
    Content::new(1, 4000).write(&root.path().join("there-before"));
    let before = listing(root.path());

    kill_in_the_middle(root.path(), &[]);
    leaves(root.path(), &before);

    // Uploads to an existing name leave the old file.
    kill_in_the_middle(root.path(), &["--overwrite"]);
    leaves(root.path(), &before);
    assert_eq!(Content::new(1, 4000).difference(&root.path().join("there-before")), None);

    // The names are free again, and nothing is in the daemon's way.
    let daemon = Daemon::start(root.path(), &[]);
    for number in 0..UPLOADS {
        let content = Content::new(number as u64, 1000);
        client::put(daemon.addr(), &format!("upload{number}"), Ask::PLAIN, |o, b| content.fill(o, b))
            .unwrap_or_else(|failed| panic!("upload{number} after the restart: {failed}"));
        assert_eq!(content.difference(&root.path().join(format!("upload{number}"))), None);
    }
    assert_eq!(listing(root.path()).len(), before.len() + UPLOADS, "and nothing besides");
}

/// The octets of an aborted upload are removed while the daemon runs.
#[test]
fn an_upload_that_its_client_aborts_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory for the test");
    let daemon = Daemon::start(root.path(), &[]);
    let mut client = common::raw::Client::new(daemon.port());
    client.send(&common::raw::wrq("aborted", "octet", &[]));
    client.expect_ack(0);
    client.send(&common::raw::data(1, &[7; 512]));
    client.expect_ack(1);
    client.send(&common::raw::error(0, "changed my mind"));
    let until = Instant::now() + Duration::from_secs(10);
    // Without O_TMPFILE, the removal of a named temporary file may take a moment.
    while !listing(root.path()).is_empty() {
        assert!(Instant::now() < until, "left behind: {:?}", listing(root.path()));
        thread::sleep(Duration::from_millis(20));
    }
    client.expect_silence(Duration::from_millis(300));
    assert_eq!(listing(root.path()), []);
}

/// Starts 20 uploads, and sends SIGKILL when each has sent something.
fn kill_in_the_middle(root: &Path, flags: &[&str]) {
    let daemon = Daemon::start(root, flags);
    let under_way = AtomicUsize::new(0);
    thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|number| {
                let (addr, under_way) = (daemon.addr(), &under_way);
                let name = if number == 0 && !flags.is_empty() {
                    "there-before".to_owned()
                } else {
                    format!("upload{number}")
                };
                scope.spawn(move || {
                    let content = Content::new(number as u64, UPLOAD_LEN);
                    let mut counted = false;
                    client::put(addr, &name, Ask::window(1428, 8), |offset, buffer| {
                        if offset > KILL_AFTER && !counted {
                            counted = true;
                            under_way.fetch_add(1, Ordering::Relaxed);
                        }
                        content.fill(offset, buffer)
                    })
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(60);
        while under_way.load(Ordering::Relaxed) < UPLOADS {
            assert!(Instant::now() < until, "only {under_way:?} of {UPLOADS} uploads got going");
            assert!(uploads.iter().all(|upload| !upload.is_finished()), "an upload ended before its time");
            thread::sleep(Duration::from_millis(5));
        }
        daemon.kill();
        for upload in uploads {
            let ended = upload.join().expect("a client does not panic");
            assert!(
                matches!(ended, Err(Failed::Silent { .. } | Failed::Socket(_))),
                "a killed daemon finishes nothing: {ended:?}"
            );
        }
    });
}

/// Checks that the directory is as before: at once where the kernel drops unnamed files, else after
/// the next start.
fn leaves(root: &Path, before: &[(std::path::PathBuf, u64)]) {
    let unnamed = open(root, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR).is_ok();
    if !unnamed {
        let swept = Daemon::start(root, &[]);
        swept.signal(Signal::SIGTERM);
        drop(swept);
    }
    assert_eq!(listing(root), before, "the directory is as it was (O_TMPFILE: {unnamed})");
}
