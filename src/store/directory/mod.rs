//! A [`Store`] that is a directory of the file system.
//!
//! The root is held open. The kernel resolves every name below that descriptor (`openat2`, through
//! cap-std); no paths are compared, so renaming a directory during a request leads to no file
//! outside the root. When the root's path names another directory, that directory is opened and
//! held instead. An upload stays invisible until it is whole and on the disk.

mod followed;
mod listing;
mod names;
mod open_files;
mod place;
mod publish;
mod replaced;
mod sink;
mod slabs;
mod source;
mod sweep;
mod temporary;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::followed::RootChange;
use self::followed::{FollowedRoot, Root};
pub use self::listing::{Listed, Listing};
use self::open_files::OpenFiles;
pub use self::sweep::Sweep;
use self::tree::Lookup;
use super::{Name, Sink, Source, Store, io_fault};
use crate::error::{Failure, Fault};
use crate::limits::{MIN_FREE_OCTETS_DEFAULT, UPLOAD_OCTETS_MAX_DEFAULT};

/// A directory that is served.
///
/// It opens files to be read, and takes uploads; it renames, links and lists files. It can't remove a
/// file or make a directory other than for an upload, a rename or a link, it opens no file to be changed
/// in place, and it tells nobody when a file changes. What wants that uses the file system beside it.
#[derive(Debug)]
pub struct Directory {
    root: FollowedRoot,
    open_files: OpenFiles,
    options: DirectoryOptions,
}

/// What a [`Directory`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// An upload may take the place of a file that is there (`--overwrite`). The old one stays
    /// until the new one is whole, and the new one has its mode, owner, group and ACL where the
    /// process may set them. A write-protected file is refused, and so is one in a directory that
    /// the process may not write.
    pub overwrite: bool,
    /// An upload may make the directories that its name needs (`--create-dirs`).
    pub create_dirs: bool,
    /// Which symbolic links are followed (`--symlinks`).
    pub symlinks: Symlinks,
    /// Octets that one upload may bring (`--max-upload-size`).
    pub upload_octets_max: u64,
    /// Octets of the file system that uploads leave free (`--min-free`).
    pub min_free_octets: u64,
    /// A published file, and its name, are on the disk when [`Sink::publish`] returns; `--no-fsync` turns it off.
    pub durable: bool,
    /// Uploads are written to a file without a name where the file system knows such (`O_TMPFILE`), so that even a
    /// crash leaves nothing. `false` gives them a temporary name everywhere.
    pub unnamed_temporaries: bool,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            overwrite: false,
            create_dirs: false,
            symlinks: Symlinks::Inside,
            upload_octets_max: UPLOAD_OCTETS_MAX_DEFAULT,
            min_free_octets: MIN_FREE_OCTETS_DEFAULT,
            durable: true,
            unnamed_temporaries: true,
        }
    }
}

/// Which symbolic links below the root are followed. None ever is as the last component of an upload's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// Those that stay below the root all the way. So does an absolute link whose target begins
    /// with the root's path, as that was given or with all links in it resolved.
    #[default]
    Inside,
    /// None: a link anywhere in a name makes it forbidden.
    Deny,
    /// All, wherever they lead: whoever may make a link below the root decides what is served.
    Follow,
}

/// A root that can't be served.
#[derive(Debug, thiserror::Error)]
#[error("the directory {} can't be served: {source}", path.display())]
pub struct RootError {
    /// The root as it was named.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Directory {
    /// Opens `root`, and holds it. When its path names another directory later (the root was
    /// removed and made again, or it is a symbolic link that was switched), that one is served: a
    /// request for what isn't there looks where the path leads, once in a second
    /// ([`ROOT_LOOKED_AT_EVERY`](crate::limits::ROOT_LOOKED_AT_EVERY)) at most.
    ///
    /// # Errors
    /// [`RootError`] if it isn't a directory, or isn't one that this process may look into.
    pub fn open(root: &Path, options: DirectoryOptions) -> Result<Self, RootError> {
        let failed = |source| RootError { path: root.to_owned(), source };
        let root = FollowedRoot::open(root, options.symlinks).map_err(failed)?;
        Ok(Self { root, open_files: OpenFiles::default(), options })
    }

    /// Tells `hear` when the root's path names another directory, or none. It is called where files
    /// are opened.
    #[must_use]
    pub fn telling(mut self, hear: impl Fn(&RootChange<'_>) + Send + Sync + 'static) -> Self {
        self.root.set_tell(hear);
        self
    }

    /// Looks now whether the root's path names another directory, as a request for what isn't there
    /// does. It may block.
    pub fn follow(&self) {
        self.root.look_at_once();
    }

    /// The path of the directory that is served now, as the log has it.
    pub(crate) fn path(&self) -> String {
        let path = self.root.current().path.clone();
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Removes the temporary files that a crash left below the root: those with our names whose lock is free. A
    /// temporary that is being written, by this or by another process, is left alone. Symbolic links are not
    /// followed.
    ///
    /// # Errors
    /// A [`Fault`] if the root itself can't be read; what can't be read below it is passed over.
    pub fn sweep_stale(&self) -> Result<Sweep, Fault> {
        let root = self.root.current();
        sweep::sweep(&root.tree, &root.path).map_err(|error| io_fault(&error, &root.path))
    }

    /// The root that is there now, for what is no request for a file that is there.
    ///
    /// # Errors
    /// It was removed.
    fn existing_root(&self) -> Result<Arc<Root>, Fault> {
        // A name is new, as a rule: nothing else would look where the path leads.
        self.root.look();
        let root = self.root.current();
        if root.is_removed() { Err(root.removed()) } else { Ok(root) }
    }

    fn open_below(&self, root: &Root, name: &Name, lookup: Lookup) -> Result<Arc<dyn Source>, Fault> {
        let (files, path) = (&self.open_files, root.path_of(name));
        Ok(Arc::new(source::DirectorySource::open(&root.tree, files, name, lookup, path)?))
    }

    /// The root that a request is to be tried at again, which failed at `root`.
    ///
    /// # Errors
    /// There is no other. If `root` was removed, that is why: the file may be in the one that comes
    /// after it.
    fn next_root(&self, root: &Arc<Root>, fault: Fault) -> Result<Arc<Root>, Fault> {
        self.root.look();
        let current = self.root.current();
        if !Arc::ptr_eq(root, &current) {
            return Ok(current);
        }
        if root.is_removed() {
            return Err(root.removed());
        }
        Err(fault)
    }
}

impl Root {
    fn path_of(&self, name: &Name) -> String {
        format!("{}/{name}", self.path)
    }

    fn removed(&self) -> Fault {
        Fault::new(Failure::Io, format_args!("the root {} was removed", self.path))
    }
}

impl Store for Directory {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let root = self.root.current();
        self.open_below(&root, name, Lookup::Full).or_else(|fault| {
            let next = self.next_root(&root, fault)?;
            self.open_below(&next, name, Lookup::Full)
        })
    }

    /// What the kernel's caches know of the name: that there is nothing, too. But where the root's
    /// path leads may have to be looked at then, which is left to [`open`](Self::open).
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        let root = self.root.current();
        if !root.tree.is_cached() {
            return None;
        }
        match self.open_below(&root, name, Lookup::Cached) {
            // It can't be said without waiting, or not for sure.
            Err(fault) if fault.failure == Failure::Busy || self.root.is_look_due() => None,
            opened => Some(opened),
        }
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let root = self.existing_root()?;
        let path = root.path_of(name);
        let sink = sink::DirectorySink::create(&root.tree, self.options, name, claimed, path)?;
        Ok(Box::new(sink))
    }

    fn as_directory(&self) -> Option<&Directory> {
        Some(self)
    }
}
