//! The root as its path names it. If the directory is replaced, or a symbolic link on the path is
//! switched, the new directory is served.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Instant;

use rustix::fs::{fstat, stat};

use super::Symlinks;
use super::tree::Tree;
use crate::limits::ROOT_LOOKED_AT_EVERY;

/// The served directory, and the path that names it.
///
/// Resolving the path may block. Only [`current`](Self::current) and
/// [`is_look_due`](Self::is_look_due) may be called on an arbiter's own thread.
#[derive(Debug)]
pub(super) struct FollowedRoot {
    /// The configured path, made absolute; its target may change.
    named: PathBuf,
    symlinks: Symlinks,
    current: RwLock<Arc<Root>>,
    /// Held during a look, so that a path that hangs takes only one thread.
    looks: Mutex<Looks>,
    tell: Tell,
}

#[derive(Debug)]
pub(super) struct Root {
    pub(super) tree: Tree,
    /// The path for the operator, without a trailing slash, escaped for the log like names.
    pub(super) path: String,
}

/// A change of a served root.
#[derive(Debug)]
#[non_exhaustive]
pub enum RootChange<'a> {
    /// The path names another directory, which is served from now on.
    Replaced {
        /// The directory, with all symbolic links resolved.
        path: &'a str,
    },
    /// The path doesn't name a directory that can be served. The open one is served as long as it
    /// exists. Reported once, until the path names a directory again.
    Unavailable {
        /// The path.
        path: &'a Path,
        /// The reason.
        why: &'a io::Error,
    },
}

#[derive(Debug)]
struct Looks {
    last: Instant,
    is_unavailable: bool,
}

/// The listener for changes.
#[derive(Default)]
struct Tell(Option<Box<Hear>>);

type Hear = dyn Fn(&RootChange<'_>) + Send + Sync;

impl FollowedRoot {
    pub(super) fn open(named: &Path, symlinks: Symlinks) -> io::Result<Self> {
        // The working directory may be replaced too.
        let named = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        let current = RwLock::new(Arc::new(Root::open(&named, symlinks)?));
        let looks = Mutex::new(Looks { last: Instant::now(), is_unavailable: false });
        Ok(Self { named, symlinks, current, looks, tell: Tell::default() })
    }

    pub(super) fn set_tell(&mut self, tell: impl Fn(&RootChange<'_>) + Send + Sync + 'static) {
        self.tell.0 = Some(Box::new(tell));
    }

    pub(super) fn current(&self) -> Arc<Root> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether [`look`](Self::look) would check the path instead of returning at once.
    pub(super) fn is_look_due(&self) -> bool {
        self.try_looks().is_some_and(|looks| looks.is_due())
    }

    /// Checks where the path leads, if a check is due and none is in progress.
    pub(super) fn look(&self) {
        if let Some(mut looks) = self.try_looks().filter(|looks| looks.is_due()) {
            self.look_now(&mut looks);
        }
    }

    /// The same, even if the last check was a moment ago.
    pub(super) fn look_at_once(&self) {
        if let Some(mut looks) = self.try_looks() {
            self.look_now(&mut looks);
        }
    }

    fn try_looks(&self) -> Option<MutexGuard<'_, Looks>> {
        match self.looks.try_lock() {
            Ok(looks) => Some(looks),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn look_now(&self, looks: &mut Looks) {
        looks.last = Instant::now();
        match self.other_than(&self.current()) {
            Ok(None) => looks.is_unavailable = false,
            Ok(Some(root)) => {
                looks.is_unavailable = false;
                let root = Arc::new(root);
                let replaced = {
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    std::mem::replace(&mut *current, Arc::clone(&root))
                };
                // Closing may block, and callers of `current` must not wait for it.
                drop(replaced);
                self.tell.of(&RootChange::Replaced { path: &root.path });
            }
            Err(why) => {
                if !std::mem::replace(&mut looks.is_unavailable, true) {
                    self.tell.of(&RootChange::Unavailable { path: &self.named, why: &why });
                }
            }
        }
    }

    /// The directory that the path names now, unless it is `current`. (The inode number of an open
    /// directory is not reused.)
    fn other_than(&self, current: &Root) -> io::Result<Option<Root>> {
        let named = stat(&self.named)?;
        // A network file system may have lost the open directory (ESTALE).
        let is_current = fstat(current.tree.root())
            .is_ok_and(|held| (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino));
        if is_current { Ok(None) } else { Root::open(&self.named, self.symlinks).map(Some) }
    }
}

impl Root {
    fn open(named: &Path, symlinks: Symlinks) -> io::Result<Self> {
        let tree = Tree::open(named, symlinks)?;
        let path = std::fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
        let path = path.as_os_str().as_bytes().escape_ascii().to_string();
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { tree, path })
    }

    /// Whether the directory was removed: failed lookups in it say nothing about the file.
    pub(super) fn is_removed(&self) -> bool {
        fstat(self.tree.root()).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

impl Looks {
    fn is_due(&self) -> bool {
        self.last.elapsed() >= ROOT_LOOKED_AT_EVERY
    }
}

impl Tell {
    fn of(&self, change: &RootChange<'_>) {
        if let Some(tell) = &self.0 {
            tell(change);
        }
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Tell" } else { "nobody" })
    }
}

#[cfg(test)]
mod tests;
