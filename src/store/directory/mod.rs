//! A [`Store`] that is a directory of the file system, and what lies below it.
//!
//! The root is opened once and held; every name is resolved below that descriptor, by the kernel
//! (`openat2`, through cap-std) rather than by comparing paths, so that no renaming while a request is looked at
//! leads out of it. An upload stays invisible until it is whole and on the disk.

mod open_files;
mod publish;
mod sink;
mod slabs;
mod source;
mod sweep;
mod temporary;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::open_files::OpenFiles;
pub use self::sweep::Sweep;
use self::tree::{Lookup, Tree};
use super::{Name, Sink, Source, Store, io_fault};
use crate::error::{Failure, Fault};
use crate::limits::{MIN_FREE_OCTETS_DEFAULT, UPLOAD_OCTETS_MAX_DEFAULT};

/// A directory that is served.
#[derive(Debug)]
pub struct Directory {
    tree: Tree,
    open_files: OpenFiles,
    options: DirectoryOptions,
    /// The root as the operator knows it, without a slash at its end.
    path: String,
}

/// What a [`Directory`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// An upload may take the place of a file that is there (`--overwrite`). The old one stays until the new one is
    /// whole.
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
    /// Those that stay below the root all the way. An absolute link counts as leaving it.
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
    /// Opens `root`, and holds it from now on: it may be renamed, or be a symbolic link.
    ///
    /// # Errors
    /// [`RootError`] if it isn't a directory, or isn't one that this process may look into.
    pub fn open(root: &Path, options: DirectoryOptions) -> Result<Self, RootError> {
        let failed = |source| RootError { path: root.to_owned(), source };
        let tree = Tree::open(root, options.symlinks).map_err(failed)?;
        let path = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        let path = path.to_string_lossy().trim_end_matches('/').to_owned();
        Ok(Self { tree, open_files: OpenFiles::default(), options, path })
    }

    /// Removes the temporary files that a crash left below the root: those with our names whose lock is free. A
    /// temporary that is being written, by this or by another process, is left alone. Symbolic links are not
    /// followed.
    ///
    /// # Errors
    /// A [`Fault`] if the root itself can't be read; what can't be read below it is passed over.
    pub fn sweep_stale(&self) -> Result<Sweep, Fault> {
        sweep::sweep(&self.tree).map_err(|error| io_fault(&error, &self.path))
    }

    fn path_of(&self, name: &Name) -> String {
        format!("{}/{name}", self.path)
    }
}

impl Store for Directory {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        let (files, path) = (&self.open_files, self.path_of(name));
        let source = source::DirectorySource::open(&self.tree, files, name, Lookup::Full, path)?;
        Ok(Arc::new(source))
    }

    /// What the kernel's caches know of the name: that there is nothing, too.
    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        if !self.tree.is_cached() {
            return None;
        }
        let (files, path) = (&self.open_files, self.path_of(name));
        match source::DirectorySource::open(&self.tree, files, name, Lookup::Cached, path) {
            Ok(source) => Some(Ok(Arc::new(source))),
            // It can't be said without waiting, or not for sure.
            Err(fault) if fault.failure == Failure::Busy => None,
            Err(fault) => Some(Err(fault)),
        }
    }

    fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        let sink = sink::DirectorySink::create(&self.tree, self.options, name, claimed, self.path_of(name))?;
        Ok(Box::new(sink))
    }
}
