//! Listing of one directory.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{Dir, DirEntry, FileType};

use super::Directory;
use super::followed::Root;
use super::sweep::{file_type, open_listing};
use super::tree::Lookup;
use crate::error::Fault;
use crate::store::{Name, io_fault};

/// The files and directories of one directory, in no order. Entries are read one by one, so a huge
/// directory takes no memory.
#[derive(Debug)]
pub struct Listing {
    entries: Dir,
    root: Arc<Root>,
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
    /// according to [`Symlinks`](super::Symlinks).
    ///
    /// Entries that a client can't ask for are left out: temporary files of uploads, symbolic links
    /// that are not followed, devices, sockets and FIFOs, and names that are not a valid [`Name`].
    /// Entries that appear or disappear meanwhile may be listed or not.
    ///
    /// This and the [`Listing`] may block: use them only where a store may block.
    ///
    /// # Errors
    /// - [`NotFound`](crate::error::Failure::NotFound): there is no such directory.
    /// - [`Forbidden`](crate::error::Failure::Forbidden): the process may not list it, or a link on
    ///   the way may not be followed.
    /// - [`Busy`](crate::error::Failure::Busy) or [`Io`](crate::error::Failure::Io): there are too
    ///   many open files, the root was removed, or it can't be read. The listing may have such
    ///   errors too, and ends with the first.
    pub fn list(&self, directory: Option<&Name>) -> Result<Listing, Fault> {
        let root = self.existing_root()?;
        let components: Vec<&[u8]> = directory.into_iter().flat_map(Name::components).collect();
        let opened = root.tree.open_directory(&components);
        let opened = opened.and_then(|opened| open_listing(opened.as_fd(), b"."));
        let entries = opened.map_err(|error| match directory {
            Some(name) => root.tree.fault(&error, name, &root.path_of(name)),
            None => io_fault(&error, &root.path),
        })?;
        Ok(Listing { entries, root, directory: directory.cloned() })
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
                Err(errno) => return Some(Err(io_fault(&errno.into(), &self.root.path))),
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
        let is_directory = match file_type(here, component, entry.file_type()) {
            FileType::RegularFile => false,
            FileType::Directory => true,
            // The target counts, if it may be followed.
            FileType::Symlink => {
                let stat = self.root.tree.look(&name, Lookup::Full).ok()?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => false,
                    FileType::Directory => true,
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Listed { name, is_directory })
    }
}
