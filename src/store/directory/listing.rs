//! Listing of one directory.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Dir, DirEntry, FileType};

use super::Directory;
use super::sweep::{file_type, open_listing};
use super::tree::{Lookup, Tree};
use crate::error::Fault;
use crate::store::Name;
use crate::store::errno::errno_fault;

/// The files and directories of one directory, in no order. They are read one by one.
#[derive(Debug)]
pub struct Listing {
    entries: Dir,
    tree: Arc<Tree>,
    /// The listed directory; `None` is the root.
    directory: Option<Name>,
}

/// An entry of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The name, from the root.
    pub name: Name,
    /// Whether the entry is a directory instead of a file.
    pub is_directory: bool,
}

impl Directory {
    /// Lists the files and directories in `directory` (`None`: the root), without those below. The
    /// name is resolved like that of a file to read: below the root, and through symbolic links
    /// according to [`Symlinks`](super::Symlinks). May block, like the [`Listing`].
    ///
    /// Entries that a client can't ask for are left out: temporary files of uploads, symbolic links
    /// that are not followed, devices, sockets and FIFOs, and names that are not a valid [`Name`].
    /// Entries that appear or disappear meanwhile may be listed or not.
    ///
    /// # Errors
    /// The [`Failure`](crate::error::Failure) is
    /// - `NotFound`: there is no such directory;
    /// - `Forbidden`: the process may not list it, or a link on the way may not be followed;
    /// - `Busy` or `Io`: there are too many open files, the root was removed, or it can't be read.
    ///   The listing may have such errors too, and ends with the first.
    pub fn list(&self, directory: Option<&Name>) -> Result<Listing, Fault> {
        let tree = self.existing_root()?;
        let opened = tree.open_directory(directory.map_or(Path::new(""), Name::as_path));
        let opened = opened.and_then(|opened| open_listing(opened.as_fd(), b"."));
        let entries = opened.map_err(|errno| match directory {
            Some(name) => tree.fault(errno, name, &tree.path_of(name)),
            None => errno_fault(errno, &tree.path),
        })?;
        Ok(Listing { entries, tree, directory: directory.cloned() })
    }
}

impl Iterator for Listing {
    type Item = Result<Listed, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entries.read()? {
                Ok(entry) => {
                    if let Some(listed) = self.listed(&entry) {
                        return Some(Ok(listed));
                    }
                }
                Err(errno) => return Some(Err(errno_fault(errno, &self.tree.path))),
            }
        }
    }
}

impl Listing {
    /// `None` for an entry that a client can't ask for.
    fn listed(&self, entry: &DirEntry) -> Option<Listed> {
        let component = entry.file_name().to_bytes();
        let name = Name::listed(self.directory.as_ref(), component)?;
        let here = self.entries.fd().ok()?;
        let found = match file_type(here, component, entry.file_type()) {
            // The target counts, if it may be followed.
            FileType::Symlink => FileType::from_raw_mode(self.tree.look(&name, Lookup::Full).ok()?.st_mode),
            other => other,
        };
        let is_directory = found == FileType::Directory;
        (is_directory || found == FileType::RegularFile).then_some(Listed { name, is_directory })
    }
}
