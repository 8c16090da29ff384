//! Open files. Transfers of one file share its descriptor and its slabs.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use rustix::fs::{Stat, major};
use tokio::runtime::Handle;

use super::slabs::{SharedSlab, Slabs};
use crate::limits;
use crate::store::Name;

#[derive(Debug, Default)]
pub(super) struct OpenFiles(Arc<Mutex<Table>>);

/// An open file, shared by all transfers that began while it was the same.
#[derive(Debug)]
pub(super) struct OpenFile {
    name: Name,
    pub(super) descriptor: Descriptor,
    /// The file at open; its size is what is served.
    pub(super) opened: Stat,
    pub(super) slabs: Arc<Slabs>,
    /// The file system doesn't support `RWF_NOWAIT`; remembered so that it is tried only once.
    pub(super) never_cached: AtomicBool,
    table: Arc<Mutex<Table>>,
}

/// Closing a file on NFS or FUSE waits for another party: it is closed on a thread that may block.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// `None` only during drop.
    open: Option<OwnedFd>,
    closes_at_once: bool,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<Identity, Weak<OpenFile>>,
    /// The files by the names under which they were opened.
    names: HashMap<Name, Weak<OpenFile>>,
    /// Slabs that stay for a while after their last use: clients of one image are rarely in step.
    kept: VecDeque<(Identity, Arc<SharedSlab>)>,
}

/// Identifies a file and its content: device, inode, size, and the times of the last modification
/// and of the last status change. The latter can't be set back, and moves with the permissions,
/// which decide who may open the file.
type Identity = (u64, u64, i64, [(i64, u64); 2]);

fn identity(stat: &Stat) -> Identity {
    let times = [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)];
    (stat.st_dev, stat.st_ino, stat.st_size, times)
}

impl OpenFiles {
    /// The file with this `stat`, if open. Its opener was allowed to open it, and that still holds.
    pub(super) fn find(&self, stat: &Stat) -> Option<Arc<OpenFile>> {
        lock(&self.0).files.get(&identity(stat))?.upgrade()
    }

    /// The file that was opened under this name, if it is open and `look` still finds it there.
    pub(super) fn find_named(
        &self,
        name: &Name,
        look: impl FnOnce(&Name) -> Option<Stat>,
    ) -> Option<Arc<OpenFile>> {
        let file = lock(&self.0).names.get(name)?.upgrade()?;
        let is_same = look(name).is_some_and(|stat| identity(&stat) == identity(&file.opened));
        is_same.then_some(file)
    }

    /// Adds a file opened under `name`. It is shared if any change would show in its times.
    pub(super) fn add(&self, name: &Name, descriptor: OwnedFd, opened: Stat) -> Arc<OpenFile> {
        let file = Arc::new(OpenFile {
            name: name.clone(),
            descriptor: Descriptor::new(descriptor, &opened),
            opened,
            slabs: Arc::default(),
            never_cached: AtomicBool::new(false),
            table: Arc::clone(&self.0),
        });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        if is_settled(&opened, now.unwrap_or_default()) {
            let mut table = lock(&self.0);
            let known = table.files.entry(identity(&opened)).or_default();
            // It may have been opened twice at once.
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
    /// Keeps a slab for a while if the file has several readers; one doesn't come back to it.
    pub(super) fn keep(self: &Arc<Self>, slab: &Arc<SharedSlab>) {
        let is_due = Arc::strong_count(self) > 1 && !slab.is_kept.load(Relaxed);
        if is_due && !slab.is_kept.swap(true, Relaxed) {
            let oldest = lock(&self.table).keep(identity(&self.opened), Arc::clone(slab));
            // Freed without the lock.
            drop(oldest);
        }
    }
}

impl Table {
    /// Returns a slab that made room.
    fn keep(&mut self, identity: Identity, slab: Arc<SharedSlab>) -> Option<Arc<SharedSlab>> {
        self.kept.push_back((identity, slab));
        let is_full = self.kept.len() > limits::SLABS_KEPT_MAX;
        let (_, oldest) = is_full.then(|| self.kept.pop_front())??;
        oldest.is_kept.store(false, Relaxed);
        Some(oldest)
    }
}

impl Descriptor {
    fn new(open: OwnedFd, stat: &Stat) -> Self {
        // Files without a device of their own are on such file systems, or in memory.
        Self { open: Some(open), closes_at_once: major(stat.st_dev) != 0 }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // It is only taken out on drop.
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
        let identity = identity(&self.opened);
        let mut table = lock(&self.table);
        // The entry may belong to another file.
        if table.names.get(&self.name).is_some_and(|file| file.strong_count() == 0) {
            table.names.remove(&self.name);
        }
        if table.files.get(&identity).is_some_and(|file| file.strong_count() == 0) {
            table.files.remove(&identity);
            let mut of_file = Vec::new();
            table.kept.retain(|(owner, slab)| {
                let is_left = *owner != identity;
                if !is_left {
                    of_file.push(Arc::clone(slab));
                }
                is_left
            });
            drop(table);
            // Freed without the lock.
            drop(of_file);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether any later write changes the file's times, which file systems count in steps.
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

#[cfg(test)]
mod tests;
