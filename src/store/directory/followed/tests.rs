use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::error::Failure;
use crate::store::{Directory, DirectoryOptions, Name, Store};

/// A root that can be replaced, and the directory that serves it.
struct Stage {
    base: TempDir,
    directory: Directory,
    changes: Arc<AtomicUsize>,
}

fn name(name: &str) -> Name {
    Name::from_request(name.as_bytes()).unwrap()
}

impl Stage {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("root")).unwrap();
        let changes = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&changes);
        let options = DirectoryOptions { min_free_octets: 0, ..DirectoryOptions::default() };
        let directory = Directory::open(&base.path().join("root"), options).unwrap();
        let directory = directory.telling(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        Self { base, directory, changes }
    }

    fn replace_root(&self, file: &str) {
        let root = self.base.path().join("root");
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        fs::write(root.join(file), "content").unwrap();
    }

    fn make_due(&self) {
        let long_ago = Instant::now().checked_sub(ROOT_LOOKED_AT_EVERY).unwrap();
        self.directory.root.looks.lock().unwrap().last = long_ago;
    }

    fn open(&self, file: &str) -> Result<(), Failure> {
        self.directory.open(&name(file)).map(drop).map_err(|fault| fault.failure)
    }

    fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }
}

#[test]
fn misses_look_once_a_second_at_most() {
    let stage = Stage::new();
    stage.make_due();
    assert_eq!(stage.open("missing"), Err(Failure::NotFound));
    // Checked a moment ago.
    stage.replace_root("new");
    assert_eq!(stage.open("new"), Err(Failure::Io), "the root was removed");
    assert_eq!(stage.changes(), 0);
    stage.make_due();
    assert_eq!(stage.open("new"), Ok(()));
    assert_eq!(stage.changes(), 1);
}

#[test]
fn what_is_cached_is_never_looked_for_at_the_path() {
    let stage = Stage::new();
    if !stage.directory.root.current().is_cached {
        return;
    }
    fs::write(stage.base.path().join("root/file"), "content").unwrap();
    stage.open("file").unwrap();
    stage.open("missing").unwrap_err();
    let cached = |file| stage.directory.open_cached(&name(file)).map(|opened| opened.is_ok());
    assert_eq!(cached("missing"), Some(false));
    stage.make_due();
    // Left to calls that may block.
    assert_eq!(cached("missing"), None);
    assert!(stage.directory.root.is_look_due(), "not checked yet");
    assert_eq!(cached("file"), Some(true), "what is there is served at once");
    stage.open("missing").unwrap_err();
    assert_eq!(cached("missing"), Some(false));
}

/// The path may lead through a file system that hangs.
#[test]
fn a_look_that_hangs_holds_up_nobody_else() {
    let stage = Stage::new();
    stage.make_due();
    let hangs = stage.directory.root.looks.lock().unwrap();
    assert_eq!(stage.open("missing"), Err(Failure::NotFound));
    stage.directory.follow();
    stage.directory.create(&name("new"), None).unwrap();
    if stage.directory.root.current().is_cached {
        let cached = stage.directory.open_cached(&name("missing")).unwrap();
        assert_eq!(cached.unwrap_err().failure, Failure::NotFound);
    }
    drop(hangs);
}

#[test]
fn a_missing_root_takes_no_uploads_and_is_reported_once() {
    let stage = Stage::new();
    fs::remove_dir(stage.base.path().join("root")).unwrap();
    for _ in 0..3 {
        stage.make_due();
        assert_eq!(stage.open("file"), Err(Failure::Io));
        assert_eq!(stage.directory.create(&name("file"), None).unwrap_err().failure, Failure::Io);
    }
    assert_eq!(stage.changes(), 1);
    fs::create_dir(stage.base.path().join("root")).unwrap();
    stage.make_due();
    stage.directory.create(&name("file"), None).unwrap();
    assert_eq!(stage.changes(), 2);
    // The next time is reported again.
    fs::remove_dir(stage.base.path().join("root")).unwrap();
    stage.directory.follow();
    assert_eq!(stage.changes(), 3);
}

/// Transfers stay in the root in which they began.
#[test]
fn what_is_open_stays_open() {
    let stage = Stage::new();
    let root = stage.base.path().join("root");
    fs::write(root.join("file"), "content").unwrap();
    let source = stage.directory.open(&name("file")).unwrap();
    let mut sink = stage.directory.create(&name("upload"), None).unwrap();
    sink.write(b"octets").unwrap();
    fs::rename(&root, stage.base.path().join("elsewhere")).unwrap();
    fs::create_dir(&root).unwrap();
    stage.directory.follow();
    assert_eq!(stage.open("file"), Err(Failure::NotFound));
    assert_eq!(&source.fetch(0, 100).unwrap().bytes[..], b"content");
    sink.publish().unwrap();
    assert_eq!(fs::read(stage.base.path().join("elsewhere/upload")).unwrap(), b"octets");
}
