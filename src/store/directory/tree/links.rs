//! Resolution of absolute symbolic links. `openat2` can confine a name to the root, but then it
//! either refuses every absolute link or takes `/` for the root. So links are followed one by one
//! here, and absolute ones only if they lead below the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::step;
use crate::limits::SYMLINKS_FOLLOWED_MAX;
use crate::store::Name;

/// Opens a file below `root`, whose path is one of `spellings`.
pub(super) fn open_file(
    root: BorrowedFd<'_>,
    spellings: &[PathBuf],
    name: &Name,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    let mut walk = Walk::new(root, spellings, name.components());
    let last = walk.go_to_last()?;
    let last = last.as_deref().unwrap_or(b".");
    Ok(openat(walk.here(), last, flags | OFlags::NOFOLLOW, Mode::empty())?)
}

pub(super) fn open_directory(
    root: BorrowedFd<'_>,
    spellings: &[PathBuf],
    components: &[&[u8]],
) -> io::Result<OwnedFd> {
    let mut walk = Walk::new(root, spellings, components.iter().copied());
    match walk.go_to_last()? {
        Some(last) => step(walk.here(), &last),
        None => walk.here().try_clone_to_owned(),
    }
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

impl<'a> Walk<'a> {
    fn new<'b>(
        root: BorrowedFd<'a>,
        spellings: &'a [PathBuf],
        components: impl DoubleEndedIterator<Item = &'b [u8]>,
    ) -> Self {
        let left = components.rev().map(<[u8]>::to_owned).collect();
        Self { root, spellings, below: Vec::new(), left, links: 0 }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.below.last().map_or(self.root, AsFd::as_fd)
    }

    /// Goes to the directory of the last component, which isn't a link, and returns that component;
    /// `None` if the path ends in a directory that is already open.
    fn go_to_last(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(component) = self.left.pop() {
            match &*component {
                b"." => {}
                b".." => drop(self.below.pop().ok_or(Errno::XDEV)?),
                _ => match readlinkat(self.here(), &*component, Vec::new()) {
                    Ok(target) => self.follow(target.as_bytes())?,
                    // Not a link. (If it becomes one now, neither open follows it.)
                    Err(Errno::INVAL) if self.left.is_empty() => return Ok(Some(component)),
                    Err(Errno::INVAL) => {
                        let directory = step(self.here(), &component)?;
                        self.below.push(directory);
                    }
                    Err(errno) => return Err(errno.into()),
                },
            }
        }
        Ok(None)
    }

    fn follow(&mut self, target: &[u8]) -> io::Result<()> {
        self.links += 1;
        if self.links > SYMLINKS_FOLLOWED_MAX {
            return Err(Errno::LOOP.into());
        }
        if target.starts_with(b"/") {
            let spellings = self.spellings.iter();
            let rest = spellings.filter_map(|root| below(root.as_os_str().as_bytes(), target)).next();
            self.left.extend(rest.ok_or(Errno::XDEV)?);
            self.below.clear();
        } else {
            self.left.extend(components(target).rev().map(<[u8]>::to_owned));
        }
        Ok(())
    }
}

/// The components of an absolute path after `root`, last one first. `None`: it leads elsewhere.
fn below(root: &[u8], path: &[u8]) -> Option<Vec<Vec<u8>>> {
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
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|octet| *octet == b'/').map(|component| if component.is_empty() { b"." } else { component })
}
