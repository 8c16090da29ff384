//! Resolution of absolute symbolic links. `openat2` can confine a name to the root, but then it
//! either refuses every absolute link or takes `/` for the root. So links are followed one by one
//! here, and absolute ones only if they lead below the root.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, readlinkat};
use rustix::io::Errno;

use super::{PASS, step};
use crate::limits::SYMLINKS_FOLLOWED_MAX;

/// Opens a path below `root`, whose own path is one of `spellings`.
pub(super) fn open(
    root: BorrowedFd<'_>,
    spellings: &[PathBuf],
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let left = components(path).rev().map(<[u8]>::to_owned).collect();
    let mut walk = Walk { root, spellings, below: Vec::new(), left, links: 0 };
    let last = walk.go_to_last()?;
    step(walk.here(), last.as_deref().unwrap_or(b"."), flags)
}

/// A path below the root. Each directory on it is held open: `..` goes back to the previous one,
/// and never above the root, whatever is renamed meanwhile.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    spellings: &'a [PathBuf],
    below: Vec<OwnedFd>,
    /// The remaining components, the next one last.
    left: Vec<Vec<u8>>,
    links: usize,
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.below.last().map_or(self.root, AsFd::as_fd)
    }

    /// Goes to the directory of the last component, which isn't a link, and returns that component;
    /// `None` if the path ends in a directory that is already open.
    fn go_to_last(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        while let Some(component) = self.left.pop() {
            match &*component {
                b"." => {}
                b".." => drop(self.below.pop().ok_or(Errno::XDEV)?),
                _ => match readlinkat(self.here(), &*component, Vec::new()) {
                    Ok(target) => self.follow(Path::new(OsStr::from_bytes(target.as_bytes())))?,
                    // Not a link. (If it becomes one now, neither open follows it.)
                    Err(Errno::INVAL) if self.left.is_empty() => return Ok(Some(component)),
                    Err(Errno::INVAL) => self.below.push(step(self.here(), &*component, PASS)?),
                    Err(errno) => return Err(errno),
                },
            }
        }
        Ok(None)
    }

    fn follow(&mut self, target: &Path) -> Result<(), Errno> {
        self.links += 1;
        if self.links > SYMLINKS_FOLLOWED_MAX {
            return Err(Errno::LOOP);
        }
        if target.is_absolute() {
            let rest = self.spellings.iter().find_map(|root| below(root, target));
            self.left.extend(rest.ok_or(Errno::XDEV)?);
            self.below.clear();
        } else {
            self.left.extend(components(target).rev().map(<[u8]>::to_owned));
        }
        Ok(())
    }
}

/// The components of an absolute path after `root`, last one first. `None`: it leads elsewhere.
fn below(root: &Path, path: &Path) -> Option<Vec<Vec<u8>>> {
    let named = |component: &&[u8]| *component != b".";
    let mut path = components(path);
    for component in components(root).filter(named) {
        if path.find(named) != Some(component) {
            return None;
        }
    }
    Some(path.rev().map(<[u8]>::to_owned).collect())
}

/// The components as written. An empty one counts as `.`, so a final slash needs a directory.
fn components(path: &Path) -> impl DoubleEndedIterator<Item = &[u8]> {
    let written = path.as_os_str().as_bytes().split(|octet| *octet == b'/');
    written.map(|component| if component.is_empty() { b"." } else { component })
}
