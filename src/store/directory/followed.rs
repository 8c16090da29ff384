//! The root as its path names it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Instant;

use rustix::fs::{fstat, stat};

use super::Symlinks;
use super::tree::{Tree, is_same_file};
use crate::limits::ROOT_LOOKED_AT_EVERY;

/// The served directory, and the path that names it. Only [`current`](Self::current) and
/// [`is_look_due`](Self::is_look_due) never block.
pub(super) struct FollowedRoot {
    /// The configured path, made absolute; its target may change.
    named: PathBuf,
    symlinks: Symlinks,
    current: RwLock<Arc<Tree>>,
    /// Held during a look, so that a path that hangs takes only one thread.
    looks: Mutex<Looks>,
    /// The listener for changes.
    pub(super) hear: Option<Box<Hear>>,
}

pub(super) type Hear = dyn Fn(&RootChange<'_>) + Send + Sync;

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

impl FollowedRoot {
    pub(super) fn open(named: &Path, symlinks: Symlinks) -> io::Result<Self> {
        // The working directory may be replaced too.
        let named = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        let current = RwLock::new(Arc::new(Tree::open(&named, symlinks)?));
        let looks = Mutex::new(Looks { last: Instant::now(), is_unavailable: false });
        Ok(Self { named, symlinks, current, looks, hear: None })
    }

    pub(super) fn current(&self) -> Arc<Tree> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether [`look`](Self::look) would check the path instead of returning at once.
    pub(super) fn is_look_due(&self) -> bool {
        self.due_looks().is_some()
    }

    /// Checks where the path leads, if a check is due and none is in progress.
    pub(super) fn look(&self) {
        if let Some(looks) = self.due_looks() {
            self.look_now(looks);
        }
    }

    pub(super) fn look_at_once(&self) {
        if let Some(looks) = self.try_looks() {
            self.look_now(looks);
        }
    }

    fn due_looks(&self) -> Option<MutexGuard<'_, Looks>> {
        self.try_looks().filter(|looks| looks.last.elapsed() >= ROOT_LOOKED_AT_EVERY)
    }

    fn try_looks(&self) -> Option<MutexGuard<'_, Looks>> {
        match self.looks.try_lock() {
            Ok(looks) => Some(looks),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn look_now(&self, mut looks: MutexGuard<'_, Looks>) {
        looks.last = Instant::now();
        let other = self.other_than(&self.current());
        let was_unavailable = std::mem::replace(&mut looks.is_unavailable, other.is_err());
        match other {
            Ok(None) => {}
            Ok(Some(tree)) => {
                let mut replaced = Arc::new(tree);
                let path = replaced.path.clone();
                // Dropped at the end: closing may block, and callers of `current` must not wait.
                let current = &self.current;
                std::mem::swap(&mut *current.write().unwrap_or_else(PoisonError::into_inner), &mut replaced);
                self.tell(&RootChange::Replaced { path: &path });
            }
            Err(why) if !was_unavailable => {
                self.tell(&RootChange::Unavailable { path: &self.named, why: &why });
            }
            Err(_) => {}
        }
    }

    /// The directory that the path names now, unless it is `current`, whose inode isn't reused.
    fn other_than(&self, current: &Tree) -> io::Result<Option<Tree>> {
        let named = stat(&self.named)?;
        // A network file system may have lost the open directory (ESTALE).
        let is_current = fstat(&current.root).is_ok_and(|held| is_same_file(&held, &named));
        if is_current { Ok(None) } else { Tree::open(&self.named, self.symlinks).map(Some) }
    }

    fn tell(&self, change: &RootChange<'_>) {
        if let Some(hear) = &self.hear {
            hear(change);
        }
    }
}

impl fmt::Debug for FollowedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedRoot").field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
