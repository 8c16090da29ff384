//! Transfers files of any size in little memory.

mod common;

use std::path::Path;

use common::client::{self, Ask, Done};
use common::content::{Content, all_zero, sparse_file};
use common::daemon::Daemon;

/// Maximum of the daemon's peak memory.
const VM_HWM_KIB_MAX: u64 = 32 << 10;

#[test]
fn a_5_gib_file_and_a_200_mb_upload_take_no_memory() {
    const LARGE: u64 = 5 << 30;
    let root = tempfile::tempdir().expect("a directory for the test");
    sparse_file(&root.path().join("large"), LARGE);
    let daemon = Daemon::start(root.path(), &[]);

    let mut zeros = true;
    let mut expected = 0;
    let done = client::get(daemon.addr(), "large", Ask::window(1428, 16), |offset, octets| {
        assert_eq!(offset, expected, "octets come once and in order");
        expected += octets.len() as u64;
        zeros &= all_zero(octets);
    })
    .unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!((done.octets, done.blksize, done.windowsize), (LARGE, 1428, 16));
    assert!(zeros, "a sparse file is all zero");

    let content = Content::new(200, 200_000_000);
    put(&daemon, "upload", Ask::window(1428, 16), content);
    assert_eq!(content.difference(&root.path().join("upload")), None);

    let vm_hwm = daemon.vm_hwm_kib();
    println!("VmHWM: {vm_hwm} KiB");
    assert!(vm_hwm < VM_HWM_KIB_MAX, "the daemon once held {vm_hwm} KiB, more than {VM_HWM_KIB_MAX}");
}

#[test]
fn block_numbers_wrap_to_zero_and_go_on_when_reading() {
    for (ask, rounds) in wraps() {
        let root = tempfile::tempdir().expect("a directory for the test");
        let content = content_of(rounds);
        content.write(&root.path().join("wraps"));
        let daemon = Daemon::start(root.path(), &[]);
        assert_eq!(get(&daemon, "wraps", ask, content).octets, content.len);
    }
}

#[test]
fn block_numbers_wrap_to_zero_and_go_on_when_writing() {
    for (ask, rounds) in wraps() {
        let root = tempfile::tempdir().expect("a directory for the test");
        let content = content_of(rounds);
        let daemon = Daemon::start(root.path(), &[]);
        put(&daemon, "wraps", ask, content);
        assert_eq!(content.difference(&root.path().join("wraps")), None);
    }
}

#[test]
fn a_last_block_around_the_wrap_ends_the_transfer() {
    let root = tempfile::tempdir().expect("a directory for the test");
    let daemon = Daemon::start(root.path(), &[]);
    // The last block has number 65535 (short), 0 (empty), 0 (one octet) and 1 (empty), in this
    // order.
    for octets in [65535 * 8 - 1, 65535 * 8, 65535 * 8 + 1, 65536 * 8] {
        let (name, content) = (format!("ends{octets}"), Content::new(octets, octets));
        put(&daemon, &name, Ask::window(8, 32), content);
        assert_eq!(content.difference(&root.path().join(&name)), None);
        get(&daemon, &name, Ask::window(8, 32), content);
    }
}

/// Block numbers wrap more than twice with a window, and once in lock-step.
fn wraps() -> [(Ask, u64); 2] {
    [(Ask { blksize: Some(8), ..Ask::PLAIN }, 1), (Ask::window(8, 48), 2)]
}

fn content_of(rounds: u64) -> Content {
    Content::new(rounds, rounds * 65536 * 8 + 1003)
}

fn get(daemon: &Daemon, name: &str, ask: Ask, content: Content) -> Done {
    let (mut should_be, mut differs_at) = (vec![0; usize::from(u16::MAX)], None);
    let done = client::get(daemon.addr(), name, ask, |offset, octets| {
        let len = content.fill(offset, &mut should_be[..octets.len()]);
        if differs_at.is_none() && should_be[..len] != *octets {
            differs_at = Some(offset);
        }
    })
    .unwrap_or_else(|failed| panic!("{name}: {failed}"));
    assert_eq!(differs_at, None, "{name} differs from that octet on");
    assert_eq!(done.octets, content.len, "{name} ended early");
    done
}

fn put(daemon: &Daemon, name: &str, ask: Ask, content: Content) -> Done {
    let source = |offset, buffer: &mut [u8]| content.fill(offset, buffer);
    let done =
        client::put(daemon.addr(), name, ask, source).unwrap_or_else(|failed| panic!("{name}: {failed}"));
    assert_eq!(done.octets, content.len, "{} ended early", Path::new(name).display());
    done
}
