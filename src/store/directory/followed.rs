//! The root as its path names it: removed and made again, or a symbolic link that was switched, it
//! is followed.

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

/// The directory that is served now, and the path that says which one it is to be.
///
/// To look where the path leads may wait for a disk: only [`current`](Self::current) and
/// [`is_look_due`](Self::is_look_due) may be called on an arbiter's own thread.
#[derive(Debug)]
pub(super) struct FollowedRoot {
    /// As it was named, but absolute: what it leads to may change.
    named: PathBuf,
    symlinks: Symlinks,
    current: RwLock<Arc<Root>>,
    /// Held by whoever looks: a path that hangs takes one thread, not all of them.
    looks: Mutex<Looks>,
    tell: Tell,
}

/// A root that is held open.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) tree: Tree,
    /// As the operator knows it, without a slash at its end; escaped for the log, as names are.
    pub(super) path: String,
}

/// What becomes of a root while it is served.
#[derive(Debug)]
#[non_exhaustive]
pub enum RootChange<'a> {
    /// The path names another directory: it is served from now on.
    Replaced {
        /// The directory, with all symbolic links resolved.
        path: &'a str,
    },
    /// The path names no directory that can be served: the one that is open is served for as long
    /// as it is there. It is told once, until the path names a directory again.
    Unavailable {
        /// The path.
        path: &'a Path,
        /// Why.
        why: &'a io::Error,
    },
}

#[derive(Debug)]
struct Looks {
    last: Instant,
    is_unavailable: bool,
}

/// Who hears of changes.
#[derive(Default)]
struct Tell(Option<Box<Hear>>);

type Hear = dyn Fn(&RootChange<'_>) + Send + Sync;

impl FollowedRoot {
    pub(super) fn open(named: &Path, symlinks: Symlinks) -> io::Result<Self> {
        // The working directory may be removed and made again too.
        let named = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        let current = RwLock::new(Arc::new(Root::open(&named, symlinks)?));
        let looks = Mutex::new(Looks { last: Instant::now(), is_unavailable: false });
        Ok(Self { named, symlinks, current, looks, tell: Tell::default() })
    }

    pub(super) fn set_tell(&mut self, tell: impl Fn(&RootChange<'_>) + Send + Sync + 'static) {
        self.tell.0 = Some(Box::new(tell));
    }

    /// The root that is served now.
    pub(super) fn current(&self) -> Arc<Root> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether [`look`](Self::look) would look, and not just return.
    pub(super) fn is_look_due(&self) -> bool {
        self.try_looks().is_some_and(|looks| looks.is_due())
    }

    /// Looks where the path leads, if nobody has for a while, and nobody does.
    pub(super) fn look(&self) {
        if let Some(mut looks) = self.try_looks().filter(|looks| looks.is_due()) {
            self.look_now(&mut looks);
        }
    }

    /// The same however short ago somebody has looked.
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
                // To close it may wait, and whoever asks for the current one does not.
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

    /// The directory that the path names now, unless it is `current`. (Nobody else gets the number
    /// of an inode that is held open.)
    fn other_than(&self, current: &Root) -> io::Result<Option<Root>> {
        let named = stat(&self.named)?;
        // A network file system may have lost the one that is held (ESTALE).
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

    /// Whether the directory was removed: whatever is asked of it isn't there, which says nothing
    /// of the file.
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
