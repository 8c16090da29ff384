//! A root that is replaced during service: a directory that is removed and made again, or a
//! symbolic link that is switched.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::daemon::{Daemon, binary};
use common::namespace::in_namespace;
use common::raw::{Client, Packet, rrq, wrq};
use common::served::{read_from, write_to};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(20);
const REPLACED: &str = "the root was replaced";

/// Repeats the request as boot loaders do until the file exists, and reads it. Before that, only
/// "not found" and silence are allowed.
fn read_when_there(port: u16, name: &str) -> Vec<u8> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "{name} is there, and never served");
        let mut client = Client::new(port);
        client.send(&rrq(name, "octet", &[]));
        // An unanswered request is repeated.
        let peeked = {
            client.socket().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut start = [0; 4];
            client.socket().peek_from(&mut start).map(|_| start)
        };
        match peeked {
            Ok([0, 3, ..]) => return read_from(&mut client),
            Ok([0, 5, ..]) => assert!(matches!(client.next(), Packet::Error { code: 0 | 1, .. })),
            Ok(other) => panic!("{other:?} came"),
            Err(_) => {}
        }
    }
}

fn read_now(port: u16, name: &str) -> Vec<u8> {
    let mut client = Client::new(port);
    client.send(&rrq(name, "octet", &[]));
    read_from(&mut client)
}

fn make(root: &Path, name: &str, content: &str) {
    fs::create_dir_all(root).unwrap();
    fs::write(root.join(name), content).unwrap();
}

fn says_that_it_was_replaced(daemon: &Daemon) {
    let line = daemon.wait_for_log(PATIENCE, |line| line.contains(REPLACED));
    line.unwrap_or_else(|| panic!("no line says so: {}", daemon.log()));
}

#[test]
fn a_root_that_is_removed_and_made_again_is_served() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    make(&root, "old", "old content");
    let daemon = Daemon::start(&root, &["--min-free", "0"]);
    assert_eq!(read_now(daemon.port(), "old"), b"old content");
    fs::remove_dir_all(&root).unwrap();
    make(&root, "new", "new content");
    assert_eq!(read_when_there(daemon.port(), "new"), b"new content");
    says_that_it_was_replaced(&daemon);
    // Uploads go to the new root too.
    let mut writer = Client::new(daemon.port());
    writer.send(&wrq("upload", "octet", &[]));
    write_to(&mut writer, b"content");
    assert_eq!(fs::read(root.join("upload")).unwrap(), b"content");
    assert_eq!(daemon.log().matches(REPLACED).count(), 1, "{}", daemon.log());
}

#[test]
fn an_upload_goes_to_the_root_that_is_there() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    make(&root, "file", "");
    let daemon = Daemon::start(&root, &["--min-free", "0"]);
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    let begun = Instant::now();
    while !root.join("upload").exists() {
        assert!(begun.elapsed() < PATIENCE, "no upload arrives");
        let mut writer = Client::new(daemon.port());
        writer.send(&wrq("upload", "octet", &[]));
        match writer.next() {
            Packet::Ack { block: 0, .. } => {
                writer.send(&common::raw::data(1, b"content"));
                writer.expect_ack(1);
            }
            packet => assert!(matches!(packet, Packet::Error { code: 0, .. }), "{packet:?}"),
        }
    }
    assert_eq!(fs::read(root.join("upload")).unwrap(), b"content");
}

#[test]
fn a_link_that_is_switched_is_followed() {
    let base = tempfile::tempdir().unwrap();
    let (link, other) = (base.path().join("current"), base.path().join("other"));
    make(&base.path().join("release-1"), "config", "of the first");
    make(&base.path().join("release-2"), "config", "of the second");
    make(&base.path().join("release-2"), "new", "content");
    symlink("release-1", &link).unwrap();
    let daemon = Daemon::start(&link, &[]);
    assert_eq!(read_now(daemon.port(), "config"), b"of the first");
    // The atomic way to switch a link.
    symlink("release-2", &other).unwrap();
    fs::rename(&other, &link).unwrap();
    assert_eq!(read_when_there(daemon.port(), "new"), b"content");
    assert_eq!(read_now(daemon.port(), "config"), b"of the second");
    says_that_it_was_replaced(&daemon);
}

/// Every file is in the old root too, so every request must succeed.
#[test]
fn sighup_follows_a_link_that_is_switched() {
    let base = tempfile::tempdir().unwrap();
    let (link, other) = (base.path().join("current"), base.path().join("other"));
    make(&base.path().join("release-1"), "config", "of the first");
    make(&base.path().join("release-2"), "config", "of the second");
    symlink("release-1", &link).unwrap();
    let daemon = Daemon::start(&link, &[]);
    assert_eq!(read_now(daemon.port(), "config"), b"of the first");
    symlink("release-2", &other).unwrap();
    fs::rename(&other, &link).unwrap();
    daemon.signal(Signal::SIGHUP);
    says_that_it_was_replaced(&daemon);
    assert_eq!(read_now(daemon.port(), "config"), b"of the second");
}

/// `stagecoach` without `--root`, in a working directory that is made again later.
#[test]
fn a_working_directory_that_is_made_again_is_served() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    make(&root, "old", "old content");
    let mut command = Command::new(binary());
    command.args(["--host", "127.0.0.1", "-p", "0"]).current_dir(&root);
    let daemon = Daemon::spawn(command);
    fs::remove_dir_all(&root).unwrap();
    make(&root, "new", "new content");
    assert_eq!(read_when_there(daemon.port(), "new"), b"new content");
}

/// The server keeps serving a renamed directory until another one takes its place.
#[test]
fn open_files_are_served_while_the_root_is_gone() {
    let base = tempfile::tempdir().unwrap();
    let (root, elsewhere) = (base.path().join("root"), base.path().join("elsewhere"));
    make(&root, "file", "content");
    let daemon = Daemon::start(&root, &[]);
    fs::rename(&root, &elsewhere).unwrap();
    daemon.signal(Signal::SIGHUP);
    let line = daemon.wait_for_log(PATIENCE, |line| line.contains("names nothing that can be served"));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{}", daemon.log());
    assert_eq!(read_now(daemon.port(), "file"), b"content");
    make(&root, "new", "new content");
    assert_eq!(read_when_there(daemon.port(), "new"), b"new content");
    says_that_it_was_replaced(&daemon);
}

/// A disk or a network file system may be mounted after the start of the server.
#[test]
fn a_disk_mounted_later_on_the_root_is_served() {
    in_namespace(&a_disk_mounted_later_on_the_root_is_served, "ip link set lo up", || {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        make(&root, "below", "content below");
        let daemon = Daemon::start(&root, &[]);
        let run = |program: &str, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).arg(&root).status().unwrap();
            assert!(status.success(), "{program} {arguments:?}");
        };
        run("mount", &["-t", "tmpfs", "none"]);
        make(&root, "mounted", "content");
        assert_eq!(read_when_there(daemon.port(), "mounted"), b"content");
        run("umount", &["--lazy"]);
        assert_eq!(read_when_there(daemon.port(), "below"), b"content below");
    });
}

/// A file that is missing in a removed directory may exist in the next one. After an ERROR,
/// PXELINUX would go on to the next name.
#[test]
fn a_missing_root_is_not_reported_as_error_1() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    make(&root, "file", "content");
    let daemon = Daemon::start(&root, &[]);
    fs::remove_dir_all(&root).unwrap();
    for name in ["file", "never", "file"] {
        let client = Client::new(daemon.port());
        client.send(&rrq(name, "octet", &[]));
        let answer = client.receive(Duration::from_millis(700));
        let is_not_found = matches!(answer, Some((Packet::Error { code: 1, .. }, _)));
        assert!(!is_not_found, "{answer:?}");
    }
    assert!(daemon.log().contains("was removed"), "{}", daemon.log());
    make(&root, "file", "new content");
    assert_eq!(read_when_there(daemon.port(), "file"), b"new content");
}
