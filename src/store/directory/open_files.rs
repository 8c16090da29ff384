//! Files that are open to be read. Transfers of one file share its descriptor and its slabs.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use rustix::fs::{Stat, major};
use tokio::runtime::Handle;

use super::slabs::{Kept, SharedSlab, Slabs};
use crate::limits;
use crate::store::Name;

/// The open files of a directory.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Arc<Mutex<Table>>);

/// A file that is open, for all who began to read it while it was the same.
#[derive(Debug)]
pub(super) struct OpenFile {
    name: Name,
    pub(super) descriptor: Descriptor,
    /// The file as it was at open: its size is what is served.
    pub(super) opened: Stat,
    pub(super) slabs: Slabs,
    /// The file system doesn't know `RWF_NOWAIT`: remembered, so that it is asked once only.
    pub(super) never_cached: AtomicBool,
    table: Arc<Mutex<Table>>,
}

/// A file's descriptor. To close it asks a server, or another program, where the file is on no disk
/// of this machine (NFS, FUSE): it is closed on a thread that may wait then.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// Until this is dropped.
    open: Option<OwnedFd>,
    closes_at_once: bool,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<Identity, Weak<OpenFile>>,
    /// Under which names they were opened.
    names: HashMap<Name, Weak<OpenFile>>,
    kept: Kept<Identity>,
}

/// What tells a file, and what is in it, from any other. The time of the last status change is part of it: that of the last
/// modification can be set back, and permissions, which decide who may open the file, move it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl OpenFiles {
    /// The file that `stat` tells of, if somebody reads it. Whoever opened it first was allowed to, and nobody has changed that since.
    pub(super) fn find(&self, stat: &Stat) -> Option<Arc<OpenFile>> {
        lock(&self.0).files.get(&Identity::of(stat))?.upgrade()
    }

    /// The file that was opened under a name, if somebody reads it and it is still what `look` finds there.
    pub(super) fn find_named(
        &self,
        name: &Name,
        look: impl FnOnce(&Name) -> Option<Stat>,
    ) -> Option<Arc<OpenFile>> {
        let file = lock(&self.0).names.get(name)?.upgrade()?;
        let is_same = look(name).is_some_and(|stat| Identity::of(&stat) == Identity::of(&file.opened));
        is_same.then_some(file)
    }

    /// Takes in a file that was opened under `name`. Others share it, if its times would tell of any change.
    pub(super) fn add(&self, name: &Name, descriptor: OwnedFd, opened: Stat) -> Arc<OpenFile> {
        let (slabs, never_cached) = (Slabs::default(), AtomicBool::new(false));
        let (name, table) = (name.clone(), Arc::clone(&self.0));
        let descriptor = Descriptor::new(descriptor, &opened);
        let file = Arc::new(OpenFile { name, descriptor, opened, slabs, never_cached, table });
        if is_settled(&opened, now()) {
            let mut table = lock(&self.0);
            let known = table.files.entry(Identity::of(&opened)).or_default();
            // Two of them may be opened at once.
            if let Some(first) = known.upgrade() {
                drop(table);
                return first;
            }
            *known = Arc::downgrade(&file);
            table.names.insert(file.name.clone(), Arc::downgrade(&file));
        }
        file
    }
}

impl OpenFile {
    /// Keeps a slab for a while, if several read the file: one alone doesn't come back to it.
    pub(super) fn keep(self: &Arc<Self>, slab: &Arc<SharedSlab>) {
        if Arc::strong_count(self) > 1 && Kept::<Identity>::lacks(slab) {
            let oldest = lock(&self.table).kept.keep(Identity::of(&self.opened), Arc::clone(slab));
            drop(oldest);
        }
    }
}

impl Descriptor {
    fn new(open: OwnedFd, stat: &Stat) -> Self {
        // What has no device of its own is one of those, or in memory.
        Self { open: Some(open), closes_at_once: major(stat.st_dev) != 0 }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // (It is taken out where this is dropped, and nowhere else.)
        self.open.as_ref().expect("it is open for as long as this is there").as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if !self.closes_at_once
            && let Ok(runtime) = Handle::try_current()
        {
            let open = self.open.take();
            runtime.spawn_blocking(move || drop(open));
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let identity = Identity::of(&self.opened);
        let mut table = lock(&self.table);
        // It may be another's by now, or never have been this one's.
        if table.names.get(&self.name).is_some_and(|file| file.strong_count() == 0) {
            table.names.remove(&self.name);
        }
        if table.files.get(&identity).is_some_and(|file| file.strong_count() == 0) {
            table.files.remove(&identity);
            let kept = table.kept.forget(&identity);
            drop(table);
            drop(kept);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether whatever is written from now on gets times other than those that the file has. File systems count time in steps:
/// a file that was changed in this very moment may change again and look the same.
fn is_settled(stat: &Stat, now: Duration) -> bool {
    let in_whole_seconds = stat.st_mtime_nsec == 0 && stat.st_ctime_nsec == 0;
    let step = if in_whole_seconds { limits::FILE_TIME_STEP_COARSE_MAX } else { limits::FILE_TIME_STEP_MAX };
    let since_epoch = |seconds: i64, nanoseconds| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    };
    let modified = since_epoch(stat.st_mtime, stat.st_mtime_nsec);
    let changed = since_epoch(stat.st_ctime, stat.st_ctime_nsec);
    now > modified.max(changed) + step
}

/// Since the epoch, as files' times.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }
}

#[cfg(test)]
mod tests;
