//! Limits of the server's user. Root may do everything, so these tests run as another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use stagecoach::error::Failure;
use stagecoach::store::Store;

use crate::support::{
    again, both, directory, done, expect_done, listing, name, options, read, role, scratch, upload, with,
};

/// Runs `test` again as `nobody`. Returns `true` in that run.
fn as_nobody(test: &str) -> bool {
    const NOBODY: u32 = 65534;
    if role().is_some() {
        assert!(!rustix::process::geteuid().is_root(), "this run is to be an ordinary user's");
        return true;
    }
    let mut child = again(test, "nobody");
    if rustix::process::geteuid().is_root() {
        child.uid(NOBODY).gid(NOBODY).current_dir("/").env("TMPDIR", "/tmp");
    }
    expect_done(child);
    false
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn unreadable_files_are_forbidden() {
    if !as_nobody("permissions::unreadable_files_are_forbidden") {
        return;
    }
    let root = scratch();
    fs::write(root.path().join("unreadable"), "x").unwrap();
    chmod(&root.path().join("unreadable"), 0o000);
    fs::create_dir(root.path().join("closed")).unwrap();
    fs::write(root.path().join("closed/file"), "x").unwrap();
    chmod(&root.path().join("closed"), 0o600);
    let store = directory(root.path(), options());
    for asked in ["unreadable", "closed/file", "closed/missing"] {
        assert_eq!(read(&store, asked), Err(Failure::Forbidden), "{asked}");
    }
    chmod(&root.path().join("closed"), 0o700);
    chmod(root.path(), 0o600);
    let error = stagecoach::store::Directory::open(root.path(), options()).unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    chmod(root.path(), 0o700);
    done();
}

#[test]
fn an_unwritable_directory_forbids_uploads_at_once() {
    let test = "permissions::an_unwritable_directory_forbids_uploads_at_once";
    if !as_nobody(test) {
        return;
    }
    let root = scratch();
    fs::create_dir(root.path().join("readonly")).unwrap();
    fs::write(root.path().join("readonly/file"), "old").unwrap();
    fs::write(root.path().join("kept"), "old").unwrap();
    chmod(&root.path().join("kept"), 0o444);
    chmod(&root.path().join("readonly"), 0o555);
    let before = listing(root.path());
    for options in both(with(|options| (options.overwrite, options.create_dirs) = (true, true))) {
        let store = directory(root.path(), options);
        for asked in ["readonly/new", "readonly/file", "readonly/made/new", "kept"] {
            let refused = stagecoach::store::Store::create(&store, &crate::support::name(asked), None);
            assert_eq!(refused.map(drop).unwrap_err().failure, Failure::Forbidden, "{asked}");
        }
    }
    assert_eq!(listing(root.path()), before);
    chmod(&root.path().join("readonly"), 0o755);
    done();
}

#[test]
fn a_drop_box_that_can_not_be_listed_takes_uploads() {
    if !as_nobody("permissions::a_drop_box_that_can_not_be_listed_takes_uploads") {
        return;
    }
    let root = scratch();
    let inbox = root.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    chmod(&inbox, 0o333);
    for (options, asked) in both(options()).into_iter().zip(["inbox/one", "inbox/two"]) {
        upload(&directory(root.path(), options), asked, b"new").unwrap();
    }
    chmod(&inbox, 0o755);
    assert_eq!(listing(&inbox).len(), 2);
    assert_eq!(fs::read(inbox.join("two")).unwrap(), b"new");
    done();
}

#[test]
fn a_closed_directory_is_named() {
    if !as_nobody("permissions::a_closed_directory_is_named") {
        return;
    }
    let root = scratch();
    fs::create_dir_all(root.path().join("open/closed/below")).unwrap();
    chmod(&root.path().join("open/closed"), 0o600);
    let store = directory(root.path(), options());
    let fault = store.open(&name("open/closed/below/file")).unwrap_err();
    chmod(&root.path().join("open/closed"), 0o700);
    let detail = fault.detail.unwrap();
    assert!(detail.contains("may not enter the directory") && detail.ends_with("/open/closed"), "{detail}");
    done();
}

/// A closed directory in the root of a disk is no reason for a warning at each start. A directory
/// in which the server may write but not look is one.
#[test]
fn a_sweep_says_where_it_could_not_look() {
    if !as_nobody("permissions::a_sweep_says_where_it_could_not_look") {
        return;
    }
    let root = scratch();
    fs::create_dir_all(root.path().join("lost+found")).unwrap();
    chmod(&root.path().join("lost+found"), 0o000);
    let sweep = directory(root.path(), options()).sweep_stale().unwrap();
    assert_eq!((sweep.removed, sweep.complete, sweep.missed), (0, false, None));
    fs::create_dir_all(root.path().join("drop")).unwrap();
    chmod(&root.path().join("drop"), 0o300);
    let missed = directory(root.path(), options()).sweep_stale().unwrap().missed.unwrap();
    chmod(&root.path().join("drop"), 0o700);
    assert!(missed.contains("/drop: Permission denied"), "{missed}");
    done();
}
