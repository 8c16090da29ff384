//! The leftovers that a start removes, and the files that a start leaves alone.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{again, begun, directory, listing, options, role, scratch, with};

const STALE: &str = ".stagecoach-0123456789abcdef.part";

#[test]
fn stale_temporaries_are_removed_wherever_they_are() {
    let root = scratch();
    fs::create_dir_all(root.path().join("a/b/c")).unwrap();
    for place in ["", "a", "a/b", "a/b/c"] {
        fs::write(root.path().join(place).join(STALE), "half").unwrap();
        fs::write(root.path().join(place).join("file"), "kept").unwrap();
    }
    let sweep = directory(root.path(), options()).sweep_stale().unwrap();
    assert_eq!((sweep.removed, sweep.complete), (4, true));
    let left = listing(root.path());
    assert_eq!(left.len(), 3 + 4);
    assert!(left.values().flatten().all(|content| content == b"kept"));
    assert_eq!(directory(root.path(), options()).sweep_stale().unwrap().removed, 0);
}

#[test]
fn a_sweep_leaves_foreign_files_alone() {
    let base = scratch();
    let root = base.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::create_dir(base.path().join("outside")).unwrap();
    fs::write(base.path().join("outside").join(STALE), "another's").unwrap();
    symlink("../outside", root.join("outside")).unwrap();
    symlink("../outside", root.join(".stagecoach-0000000000000000.part")).unwrap();
    fs::create_dir(root.join(".stagecoach-0000000000000001.part")).unwrap();
    let fifo = root.join(".stagecoach-0000000000000002.part");
    mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    for name in [
        ".stagecoach-notes.part",
        ".stagecoach-.part",
        "stagecoach-0123456789abcdef.part",
        ".stagecoach-0123456789abcdef.part~",
        ".stagecoach-0123456789ABCDEF.part",
        ".stagecoach-0123456789abcdef0.part",
    ] {
        fs::write(root.join(name), "an operator's").unwrap();
    }
    let before = listing(base.path());
    let sweep = directory(&root, options()).sweep_stale().unwrap();
    assert_eq!((sweep.removed, sweep.complete), (0, true));
    assert_eq!(listing(base.path()), before);
}

#[test]
fn an_upload_under_way_in_this_process_is_left_alone() {
    let root = scratch();
    let store = directory(root.path(), with(|options| options.unnamed_temporaries = false));
    let sink = begun(&store, "file", b"whole");
    fs::write(root.path().join(STALE), "half").unwrap();
    assert_eq!(store.sweep_stale().unwrap().removed, 1);
    sink.publish().unwrap();
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"whole");
}

#[test]
fn an_upload_under_way_in_another_process_is_left_alone() {
    let test = "sweep::an_upload_under_way_in_another_process_is_left_alone";
    if let Some(root) = role() {
        let store = directory(root.as_ref(), with(|options| options.unnamed_temporaries = false));
        let sink = begun(&store, "file", b"whole");
        println!("ready");
        // Waits until the test has swept, and closes the pipe.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        sink.publish().unwrap();
        return;
    }
    let root = scratch();
    let mut child = again(test, root.path().to_str().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the child ended early");
    assert_eq!(listing(root.path()).len(), 1);
    assert_eq!(directory(root.path(), options()).sweep_stale().unwrap().removed, 0);
    drop(child.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"whole");
    assert_eq!(listing(root.path()).len(), 1);
}

#[test]
fn a_sweep_reports_a_tree_that_is_too_deep() {
    let root = scratch();
    let deep = root.path().join("d/".repeat(stagecoach::internals::limits::SWEEP_DEPTH_MAX + 1));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join(STALE), "half").unwrap();
    fs::write(deep.parent().unwrap().join(STALE), "half").unwrap();
    let sweep = directory(root.path(), options()).sweep_stale().unwrap();
    assert_eq!((sweep.removed, sweep.complete), (1, false));
    let missed = sweep.missed.unwrap();
    assert!(missed.ends_with("/d/d: it is more than 32 directories deep"), "{missed}");
}
