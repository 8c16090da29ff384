//! Removal of temporary files that a crash left.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags, Dir, FileType, FlockOperation, OFlags, flock, fstat, statat, unlinkat};
use rustix::io::Errno;

use super::tree::{READ, Tree, is_same_file, may, step, type_of};
use crate::limits::{SWEEP_DEPTH_MAX, SWEEP_ENTRIES_MAX};
use crate::store::name::is_temporary_name;

/// Flags for a directory to be listed.
pub(super) const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The result of a [sweep](super::Directory::sweep_stale).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Stale temporaries removed.
    pub removed: usize,
    /// Whether the whole tree was searched: it may be too large, or have unreadable directories.
    pub complete: bool,
    /// The first place that was not searched although it may have a stale temporary, with the
    /// reason. (Directories that this process may not write have none.)
    pub missed: Option<String>,
}

pub(super) fn sweep(tree: &Tree) -> Result<Sweep, Errno> {
    let sweep = Sweep { removed: 0, complete: true, missed: None };
    let mut sweeper = Sweeper { entries_left: SWEEP_ENTRIES_MAX, path: tree.path.clone(), sweep };
    sweeper.enter(open_listing(tree.root.as_fd(), b".")?, 0);
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
            let Ok(entry) = entry.map_err(|errno| self.miss("", errno)) else { return };
            let Some(left) = self.entries_left.checked_sub(1) else {
                return self.miss("", format_args!("there are more than {SWEEP_ENTRIES_MAX} files"));
            };
            self.entries_left = left;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Ok(here) = directory.fd() else { continue };
            match file_type(here, name, entry.file_type()) {
                FileType::Directory => self.enter_below(here, name, depth + 1),
                FileType::RegularFile if is_temporary_name(name) && remove_stale(here, name).is_ok() => {
                    self.sweep.removed += 1;
                }
                _ => {}
            }
        }
    }

    fn enter_below(&mut self, here: BorrowedFd<'_>, name: &[u8], depth: usize) {
        let below = format!("/{}", name.escape_ascii());
        if depth > SWEEP_DEPTH_MAX {
            return self.miss(&below, format_args!("it is more than {SWEEP_DEPTH_MAX} directories deep"));
        }
        match open_listing(here, name) {
            Ok(directory) => {
                let length = self.path.len();
                self.path.push_str(&below);
                self.enter(directory, depth);
                self.path.truncate(length);
            }
            // Nothing of ours is left where we can't write.
            Err(_) if may(here, name, Access::WRITE_OK | Access::EXEC_OK).is_err() => {
                self.sweep.complete = false;
            }
            Err(errno) => self.miss(&below, errno),
        }
    }

    /// Notes that this directory, or the one `below`, was not searched completely.
    fn miss(&mut self, below: &str, why: impl fmt::Display) {
        self.sweep.complete = false;
        self.sweep.missed.get_or_insert_with(|| format!("{}{below}: {why}", self.path));
    }
}

pub(super) fn open_listing(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Dir, Errno> {
    Dir::new(step(directory, name, LIST)?)
}

/// The type of an entry, which not every file system lists.
pub(super) fn file_type(directory: BorrowedFd<'_>, name: &[u8], listed: FileType) -> FileType {
    if listed == FileType::Unknown { type_of(directory, name) } else { listed }
}

/// Removes a temporary if its lock is free. It may have been published and the name reused.
fn remove_stale(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let file = step(directory, name, READ)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let locked = fstat(&file)?;
    let named = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !is_same_file(&locked, &named) || FileType::from_raw_mode(locked.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    unlinkat(directory, name, AtFlags::empty())
}
