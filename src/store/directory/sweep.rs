//! Removal of temporary files that a crash left.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    Access, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, statat, unlinkat,
};

use super::tree::{Tree, may};
use crate::limits::{SWEEP_DEPTH_MAX, SWEEP_ENTRIES_MAX};
use crate::store::temporary_name::is_temporary_name;

/// The result of a [sweep](super::Directory::sweep_stale).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Stale temporaries removed.
    pub removed: usize,
    /// Whether the whole tree was searched; a limit (`SWEEP_ENTRIES_MAX`, `SWEEP_DEPTH_MAX`) or an
    /// unreadable directory ends the sweep early.
    pub complete: bool,
    /// The first place that was not searched although it may have a stale temporary, with the
    /// reason. (Directories that this process may not write have none.)
    pub missed: Option<String>,
}

pub(super) fn sweep(tree: &Tree, path: &str) -> io::Result<Sweep> {
    let sweep = Sweep { removed: 0, complete: true, missed: None };
    let mut sweeper = Sweeper { entries_left: SWEEP_ENTRIES_MAX, path: path.to_owned(), sweep };
    sweeper.enter(open_listing(tree.root(), b".")?, 0);
    Ok(sweeper.sweep)
}

struct Sweeper {
    entries_left: usize,
    /// The path of the current directory.
    path: String,
    sweep: Sweep,
}

impl Sweeper {
    fn enter(&mut self, mut directory: Dir, depth: usize) {
        while let Some(entry) = directory.read() {
            let Ok(entry) = entry.map_err(|errno| self.miss(b".", errno)) else { return };
            let Some(left) = self.entries_left.checked_sub(1) else {
                return self.miss(b".", format_args!("there are more than {SWEEP_ENTRIES_MAX} files"));
            };
            self.entries_left = left;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Ok(here) = directory.fd() else { continue };
            match file_type(here, name, entry.file_type()) {
                FileType::Directory if depth == SWEEP_DEPTH_MAX => {
                    self.miss(name, format_args!("it is more than {SWEEP_DEPTH_MAX} directories deep"));
                }
                FileType::Directory => self.enter_below(here, name, depth),
                FileType::RegularFile if is_temporary_name(name) && remove_stale(here, name).is_ok() => {
                    self.sweep.removed += 1;
                }
                _ => {}
            }
        }
    }

    fn enter_below(&mut self, here: BorrowedFd<'_>, name: &[u8], depth: usize) {
        match open_listing(here, name) {
            Ok(below) => {
                let length = self.path.len();
                self.path = self.path_of(name);
                self.enter(below, depth + 1);
                self.path.truncate(length);
            }
            // Nothing of ours is left where we can't write.
            Err(_) if may(here, name, Access::WRITE_OK | Access::EXEC_OK).is_err() => {
                self.sweep.complete = false;
            }
            Err(error) => self.miss(name, error),
        }
    }

    /// Notes that this directory was not searched completely.
    fn miss(&mut self, name: &[u8], why: impl fmt::Display) {
        self.sweep.complete = false;
        if self.sweep.missed.is_none() {
            self.sweep.missed = Some(format!("{}: {why}", self.path_of(name)));
        }
    }

    fn path_of(&self, name: &[u8]) -> String {
        match name {
            b"." => self.path.clone(),
            _ => format!("{}/{}", self.path, name.escape_ascii()),
        }
    }
}

pub(super) fn open_listing(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Dir::new(openat(directory, name, flags, Mode::empty())?)?)
}

/// The type of an entry, which not every file system lists.
pub(super) fn file_type(directory: BorrowedFd<'_>, name: &[u8], listed: FileType) -> FileType {
    match listed {
        FileType::Unknown => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
        known => known,
    }
}

/// Removes a temporary if its lock is free. The name is checked under the lock, because the file
/// may have been published and the name reused.
fn remove_stale(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive)?;
    let locked = fstat(&file)?;
    let named = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same = (locked.st_dev, locked.st_ino) == (named.st_dev, named.st_ino);
    if !same || FileType::from_raw_mode(locked.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(unlinkat(directory, name, AtFlags::empty())?)
}
