//! A [`Store`] that is a directory of the file system.
//!
//! The root is held open, and the kernel resolves every name below that descriptor (`openat2`,
//! through cap-std): renaming a directory during a request leads to no file outside the root.

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

use self::followed::FollowedRoot;
pub use self::followed::RootChange;
pub use self::listing::{Listed, Listing};
use self::open_files::OpenFiles;
use self::sink::DirectorySink;
use self::source::DirectorySource;
pub use self::sweep::Sweep;
use self::tree::{Lookup, Tree};
use super::errno::errno_fault;
use super::{Name, Sink, Source, Store};
use crate::error::{Failure, Fault};
use crate::limits::{MIN_FREE_OCTETS_DEFAULT, UPLOAD_OCTETS_MAX_DEFAULT};

/// A served directory. It opens files for reading, takes uploads, and renames, links and lists
/// files. For anything else, programs use the file system directly.
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
    /// Uploads may replace existing files (`--overwrite`), once they are complete. The new file
    /// gets the mode, owner, group and ACL of the old one as far as the process may set them.
    /// Write-protected files and files in directories that the process may not write are refused.
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
    /// Opens `root`. If its path names another directory later (the root was replaced, or a
    /// symbolic link was switched), that one is served. Requests for missing files and for uploads
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
        self.root.hear = Some(Box::new(hear));
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

    /// Removes temporary files that a crash left below the root: those with our names that no
    /// process is writing. Symbolic links are not followed.
    ///
    /// # Errors
    /// A [`Fault`] if the root itself can't be read. Unreadable directories below it are skipped.
    pub fn sweep_stale(&self) -> Result<Sweep, Fault> {
        let tree = self.root.current();
        sweep::sweep(&tree).map_err(|errno| errno_fault(errno, &tree.path))
    }

    /// The present root, unless it was removed.
    fn existing_root(&self) -> Result<Arc<Tree>, Fault> {
        // New names cause no other check of the path.
        self.root.look();
        let tree = self.root.current();
        tree.check_exists()?;
        Ok(tree)
    }

    fn open_below(&self, tree: &Tree, name: &Name, lookup: Lookup) -> Result<Arc<dyn Source>, Fault> {
        Ok(Arc::new(DirectorySource::open(tree, &self.open_files, name, lookup)?))
    }
}

impl Store for Directory {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let tree = self.root.current();
        self.open_below(&tree, name, Lookup::Full).or_else(|fault| {
            self.root.look();
            let current = self.root.current();
            if Arc::ptr_eq(&tree, &current) {
                // The successor of a removed root may have the file.
                tree.check_exists()?;
                return Err(fault);
            }
            self.open_below(&current, name, Lookup::Full)
        })
    }

    /// The answer from the kernel's caches, unless the root's path has to be checked first.
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        let tree = self.root.current();
        if !tree.is_cached {
            return None;
        }
        match self.open_below(&tree, name, Lookup::Cached) {
            // Not known, or not certain, without blocking.
            Err(fault) if fault.failure == Failure::Busy || self.root.is_look_due() => None,
            opened => Some(opened),
        }
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let tree = self.existing_root()?;
        Ok(Box::new(DirectorySink::create(&tree, self.options, name, claimed)?))
    }

    fn as_directory(&self) -> Option<&Directory> {
        Some(self)
    }
}
