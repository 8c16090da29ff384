//! A directory and a link out of the root swap names during lookups (SAFE-09).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Store, Symlinks};
use tempfile::TempDir;

use crate::support::{both, directory, listing, name, policy, scratch, upload, with};

const SWAPS: usize = 100_000;
const LOOKS: usize = 5_000;

/// The root has a directory `dir`, a link `link` out of the root, and `by`, an absolute link to
/// `dir`.
fn tree() -> TempDir {
    let base = scratch();
    fs::create_dir_all(base.path().join("root/dir")).unwrap();
    fs::create_dir(base.path().join("outside")).unwrap();
    fs::write(base.path().join("root/dir/file"), "inside").unwrap();
    fs::write(base.path().join("outside/file"), "outside").unwrap();
    symlink("../outside", base.path().join("root/link")).unwrap();
    symlink(base.path().join("root/dir"), base.path().join("root/by")).unwrap();
    base
}

/// Repeats `work` while `dir` and `link` swap names, until both have happened often enough.
fn while_swapping(root: &Path, looks_min: usize, mut work: impl FnMut()) {
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, link) = (root.join("dir"), root.join("link"));
            while !stop.load(Relaxed) {
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Relaxed);
            }
        });
        let stops = StopOnDrop(&stop);
        let mut looks = 0;
        while looks < looks_min || swaps.load(Relaxed) < SWAPS {
            work();
            looks += 1;
        }
        drop(stops);
    });
}

/// Stops the swapping, also after a failed assertion.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_race_never_reads_outside() {
    for symlinks in [Symlinks::Inside, Symlinks::Deny] {
        let base = tree();
        let root = base.path().join("root");
        let store = directory(&root, policy(symlinks));
        let (mut served, mut refused) = (0, 0);
        while_swapping(&root, LOOKS, || {
            let (file, by) = (name("dir/file"), name("by/file"));
            let opened = [Some(store.open(&file)), store.open_cached(&file), Some(store.open(&by))];
            for opened in opened.into_iter().flatten() {
                match opened.and_then(|source| Ok(source.fetch(0, 100)?.bytes)) {
                    Ok(content) => {
                        assert_eq!(content, b"inside".as_slice(), "{symlinks:?}");
                        served += 1;
                    }
                    Err(Fault { failure, .. }) => {
                        assert!(matches!(failure, Failure::Forbidden | Failure::NotFound), "{failure:?}");
                        refused += 1;
                    }
                }
            }
        });
        assert!(served > 0 && refused > 0, "{symlinks:?}: {served} served, {refused} refused");
    }
}

#[test]
fn a_race_never_writes_outside() {
    for symlinks in [Symlinks::Inside, Symlinks::Deny] {
        let options = with(|options| {
            options.symlinks = symlinks;
            options.overwrite = true;
            options.create_dirs = true;
            options.durable = false;
        });
        for options in both(options) {
            let base = tree();
            let root = base.path().join("root");
            let outside = listing(&base.path().join("outside"));
            let store = directory(&root, options);
            let (mut served, mut refused) = (0, 0);
            while_swapping(&root, LOOKS / 2, || {
                for asked in ["dir/file", "dir/new", "dir/made/new", "by/file", "by/new", "by/made/new"] {
                    match upload(&store, asked, b"uploaded") {
                        Ok(()) => served += 1,
                        Err(failure) => {
                            assert!(matches!(failure, Failure::Forbidden | Failure::NotFound), "{failure:?}");
                            refused += 1;
                        }
                    }
                }
            });
            assert!(served > 0 && refused > 0, "{options:?}: {served} served, {refused} refused");
            assert_eq!(listing(&base.path().join("outside")), outside, "{options:?}");
        }
    }
}
