//! Shared functions of the tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Directory, DirectoryOptions, Name, Sink, Source, Store, Symlinks};
use tempfile::TempDir;

pub(crate) fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::from_request(bytes.as_ref()).unwrap()
}

/// Options for tests: the defaults, but without the reserve, which would make a test fail on a
/// small disk.
pub(crate) fn options() -> DirectoryOptions {
    let mut options = DirectoryOptions::default();
    options.min_free_octets = 0;
    options
}

pub(crate) fn with(change: impl FnOnce(&mut DirectoryOptions)) -> DirectoryOptions {
    let mut options = options();
    change(&mut options);
    options
}

/// Options with both kinds of temporary file.
pub(crate) fn both(options: DirectoryOptions) -> [DirectoryOptions; 2] {
    [true, false].map(|unnamed| {
        let mut options = options;
        options.unnamed_temporaries = unnamed;
        options
    })
}

pub(crate) fn policy(symlinks: Symlinks) -> DirectoryOptions {
    with(|options| options.symlinks = symlinks)
}

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("the tests need a writable temporary directory")
}

pub(crate) fn directory(root: &Path, options: DirectoryOptions) -> Directory {
    Directory::open(root, options).unwrap()
}

/// Whether the file system supports files without a name.
pub(crate) fn knows_unnamed_files(root: &Path) -> bool {
    openat(CWD, root, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR).is_ok()
}

/// Whether names in the root's file system are looked up without waiting: ext4, XFS, Btrfs or
/// tmpfs.
pub(crate) fn answers_from_caches(root: &Path) -> bool {
    let kind = rustix::fs::statfs(root).unwrap().f_type as u32;
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994].contains(&kind)
}

/// Reads a whole file through the store: with both ways to open it, if it can be opened without
/// waiting.
pub(crate) fn read(store: &dyn Store, asked: impl AsRef<[u8]>) -> Result<Vec<u8>, Failure> {
    let name = name(asked);
    let opened = store.open(&name);
    if let Some(cached) = store.open_cached(&name) {
        let outcome = |opened: &Result<Arc<dyn Source>, Fault>| match opened {
            Ok(source) => Ok((source.size(), source.path().to_owned())),
            Err(fault) => Err(fault.to_string()),
        };
        assert_eq!(outcome(&cached), outcome(&opened), "{name}: without waiting, and with it");
        if let Ok(source) = cached {
            assert_eq!(content(&*source), content(&*opened.as_ref().unwrap().clone()), "{name}");
        }
    }
    content(&*opened.map_err(|fault| fault.failure)?)
}

fn content(source: &dyn Source) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    loop {
        let slab = source.fetch(content.len() as u64, 1 << 16).map_err(|fault| fault.failure)?;
        content.extend_from_slice(&slab.bytes);
        if slab.end {
            return Ok(content);
        }
    }
}

/// A whole upload.
pub(crate) fn upload(store: &dyn Store, asked: impl AsRef<[u8]>, content: &[u8]) -> Result<(), Failure> {
    let begin = || {
        let mut sink = store.create(&name(asked), None)?;
        content.chunks(512).try_for_each(|block| sink.write(block))?;
        sink.publish()
    };
    begin().map_err(|fault| fault.failure)
}

/// An upload in progress, with some octets written.
pub(crate) fn begun(store: &dyn Store, asked: impl AsRef<[u8]>, content: &[u8]) -> Box<dyn Sink> {
    let mut sink = store.create(&name(asked), None).unwrap();
    sink.write(content).unwrap();
    sink
}

/// Everything below a directory: the path, and the content of regular files. Links are listed, not
/// followed.
pub(crate) fn listing(root: &Path) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    fn visit(root: &Path, here: &Path, found: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        for entry in fs::read_dir(here).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            found.insert(relative, kind.is_file().then(|| fs::read(&path).unwrap()));
            if kind.is_dir() {
                visit(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

const ROLE: &str = "STAGECOACH_TEST_ROLE";
const DONE: &str = "the child came to its end";

/// The role of this process if a test started it; `None` in the test itself.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The arguments that run one test of this binary again, in a process of its own.
pub(crate) fn arguments(test: &str) -> [String; 4] {
    [test.to_owned(), "--exact".to_owned(), "--nocapture".to_owned(), "--test-threads=1".to_owned()]
}

/// Runs `test` again in a process of its own, in which [`role`] returns `role`.
pub(crate) fn again(test: &str, role: &str) -> Command {
    // With this path, the binary also runs as a user who may not enter the binary's directory.
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments(test)).env(ROLE, role).stdin(Stdio::null());
    command
}

pub(crate) fn set_role(command: &mut Command, role: &str) {
    command.env(ROLE, role).stdin(Stdio::null());
}

/// Reports that the child has done all of its work. Without this, a test that was not found by its
/// name would also succeed.
pub(crate) fn done() {
    println!("{DONE}");
}

/// Runs a child to its [`done`].
pub(crate) fn expect_done(mut command: Command) {
    let output = command.output().expect("the child process starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stdout.contains(DONE), "{}\n{stdout}\n{stderr}", output.status);
}
