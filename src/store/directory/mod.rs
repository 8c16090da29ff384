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

/// A served directory.
///
/// It opens files for reading, takes uploads, and renames, links and lists files. It can't remove
/// files, make directories except for an upload, a rename or a link, change files in place, or
/// report changes of files. Programs that need these use the file system directly.
#[derive(Debug)]
pub struct Directory {
    root: FollowedRoot,
    open_files: OpenFiles,
    options: DirectoryOptions,
}

/// Options of a [`Directory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// Uploads may replace existing files (`--overwrite`). The old file stays until the new one is
    /// complete. The new one gets its mode, owner, group and ACL as far as the process may set
    /// them. Write-protected files and files in directories that the process may not write are
    /// refused.
    pub overwrite: bool,
    /// Uploads may create the directories of their names (`--create-dirs`).
    pub create_dirs: bool,
    /// Which symbolic links are followed (`--symlinks`).
    pub symlinks: Symlinks,
    /// Octets of one upload (`--max-upload-size`).
    pub upload_octets_max: u64,
    /// Octets of the file system that uploads leave free (`--min-free`).
    pub min_free_octets: u64,
    /// A published file and its name are on disk when [`Sink::publish`] returns (`--no-fsync`).
    pub durable: bool,
    /// Uploads are written to an unnamed file if the file system supports that (`O_TMPFILE`), so
    /// that even a crash leaves nothing. `false`: temporary names everywhere.
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

/// Which symbolic links below the root are followed; never the last component of an upload's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Symlinks {
    /// Links that stay below the root on the whole path, including absolute links whose target
    /// begins with the root's path, as configured or with all links resolved.
    #[default]
    Inside,
    /// None: a name with a link in it is forbidden.
    Deny,
    /// All of them: users who can make links below the root decide what is served.
    Follow,
}

/// A root that can't be served.
#[derive(Debug, thiserror::Error)]
#[error("the directory {} can't be served: {source}", path.display())]
#[non_exhaustive]
pub struct RootError {
    /// The root as it was configured.
    pub path: PathBuf,
    /// The reason.
    pub source: io::Error,
}

impl Directory {
    /// Opens `root` and holds it open. If its path names another directory later (the root was
    /// replaced, or a symbolic link was switched), that one is served. Requests for missing files
    /// check the path, at most once a second.
    ///
    /// # Errors
    /// [`RootError`] if `root` isn't a directory that this process may search.
    pub fn open(root: &Path, options: DirectoryOptions) -> Result<Self, RootError> {
        let failed = |source| RootError { path: root.to_owned(), source };
        let root = FollowedRoot::open(root, options.symlinks).map_err(failed)?;
        Ok(Self { root, open_files: OpenFiles::default(), options })
    }

    /// Calls `hear`, on a thread that opens files, when the path names another or no directory.
    #[must_use]
    pub fn telling(mut self, hear: impl Fn(&RootChange<'_>) + Send + Sync + 'static) -> Self {
        self.root.set_tell(hear);
        self
    }

    /// Checks now whether the root's path names another directory. May block.
    pub fn follow(&self) {
        self.root.look_at_once();
    }

    /// The path of the served directory, as in the log.
    pub(crate) fn path(&self) -> String {
        let path = self.root.current().path.clone();
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Removes temporary files that a crash left below the root: those with our names and a free
    /// lock. A temporary that this or another process is writing stays. Symbolic links are not
    /// followed.
    ///
    /// # Errors
    /// A [`Fault`] if the root itself can't be read. Unreadable directories below it are skipped.
    pub fn sweep_stale(&self) -> Result<Sweep, Fault> {
        let root = self.root.current();
        sweep::sweep(&root.tree, &root.path).map_err(|error| io_fault(&error, &root.path))
    }

    /// The present root, for operations other than reading a file.
    ///
    /// # Errors
    /// The root was removed.
    fn existing_root(&self) -> Result<Arc<Root>, Fault> {
        // New names cause no other check of the path.
        self.root.look();
        let root = self.root.current();
        if root.is_removed() { Err(root.removed()) } else { Ok(root) }
    }

    fn open_below(&self, root: &Root, name: &Name, lookup: Lookup) -> Result<Arc<dyn Source>, Fault> {
        let (files, path) = (&self.open_files, root.path_of(name));
        Ok(Arc::new(source::DirectorySource::open(&root.tree, files, name, lookup, path)?))
    }

    /// The root for a second attempt of a request that failed at `root`.
    ///
    /// # Errors
    /// There is no other root. If `root` was removed, that is the error: its successor may have the
    /// file.
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

    /// The answer from the kernel's caches, including that there is no such file. If the root's
    /// path has to be checked first, that is left to [`open`](Self::open).
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        let root = self.root.current();
        if !root.tree.is_cached() {
            return None;
        }
        match self.open_below(&root, name, Lookup::Cached) {
            // Not known, or not certain, without blocking.
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
