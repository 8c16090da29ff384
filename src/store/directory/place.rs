//! The place of an upload's file, and whether the file may be there.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, FileType, Mode};
use rustix::io::Errno;

use super::replaced::Replaced;
use super::tree::{Tree, check_regular, directory_of, may, type_of};
use crate::error::{Failure, Fault};
use crate::limits::PARENT_ATTEMPTS_MAX;
use crate::store::errno::errno_fault;
use crate::store::{Name, io_fault};

#[derive(Debug)]
pub(super) struct Place {
    /// The deepest existing directory on the way. The temporary file is made in it.
    pub(super) ancestor: Arc<OwnedFd>,
    /// The missing directories below it.
    pub(super) missing: Vec<OsString>,
    pub(super) file_name: Vec<u8>,
    /// The file's path for the operator.
    pub(super) path: String,
}

impl Place {
    pub(super) fn find(tree: &Tree, name: &Name, create_dirs: bool) -> Result<Self, Fault> {
        let path = tree.path_of(name);
        match deepest_directory(tree, name.directory(), create_dirs) {
            Ok((ancestor, missing)) => {
                Ok(Self { ancestor: Arc::new(ancestor), missing, file_name: name.file_name().into(), path })
            }
            Err(Errno::NOENT) => {
                let directory = directory_of(&path, 0);
                let why = match create_dirs {
                    true => "is behind a symbolic link whose target is missing",
                    false => "is missing (--create-dirs makes it)",
                };
                Err(Fault::new(Failure::NotFound, format_args!("{path}: the directory {directory} {why}")))
            }
            Err(errno) => Err(tree.fault(errno, name, &path)),
        }
    }

    pub(super) fn fault(&self, error: impl Into<io::Error>) -> Fault {
        io_fault(&error.into(), &self.path)
    }

    /// Why no file can be made or replaced in the directory, whose path shows where to look.
    pub(super) fn directory_fault(&self, errno: Errno) -> Fault {
        let (path, above) = (&self.path, directory_of(&self.path, self.missing.len()));
        let why = match errno {
            Errno::ACCESS | Errno::ROFS => {
                format!("the directory {above} must be writable (also to replace a file)")
            }
            Errno::PERM => {
                format!("in the directory {above} only its owner may replace it (sticky bit) or no one may")
            }
            _ => return self.fault(errno),
        };
        errno_fault(errno, &format!("{path}: {why}"))
    }

    /// Checks whether the name in `directory` may be taken, and returns the file that has it.
    pub(super) fn check_target(
        &self,
        directory: BorrowedFd<'_>,
        overwrite: bool,
    ) -> Result<Option<Replaced>, Fault> {
        let path = &self.path;
        let found = Replaced::find(directory, &self.file_name).map_err(|errno| self.fault(errno))?;
        let Some(target) = found else { return Ok(None) };
        check_regular(&target.stat, path)?;
        if !overwrite {
            let why = format_args!("{path} already exists (--overwrite lets uploads replace files)");
            return Err(Fault::new(Failure::Exists, why));
        }
        let forbidden =
            |why: fmt::Arguments<'_>| Fault::new(Failure::Forbidden, format_args!("{path} {why}"));
        if target.stat.st_nlink > 1 {
            // One of its names may belong to someone else (SAFE-10).
            return Err(forbidden(format_args!("has other hard links")));
        }
        let mode = target.mode();
        // A rename, and root, would ignore the mode of a file that an operator made read-only.
        if !mode.contains(Mode::WUSR) {
            return Err(forbidden(format_args!("is write-protected (mode {:04o})", mode.as_raw_mode())));
        }
        may(directory, &self.file_name, Access::WRITE_OK).map_err(|errno| self.fault(errno))?;
        Ok(Some(target))
    }
}

/// The deepest existing directory on the way to `directory`, and the missing ones below it.
fn deepest_directory(
    tree: &Tree,
    directory: &Path,
    create_dirs: bool,
) -> Result<(OwnedFd, Vec<OsString>), Errno> {
    for _ in 0..PARENT_ATTEMPTS_MAX {
        let mut missing = Vec::new();
        let mut way = directory;
        let ancestor = loop {
            match (tree.open_directory(way), way.parent(), way.file_name()) {
                (Err(Errno::NOENT), Some(above), Some(component)) if create_dirs => {
                    missing.insert(0, component.to_owned());
                    way = above;
                }
                (opened, ..) => break opened?,
            }
        };
        match missing.first().map(|first| type_of(ancestor.as_fd(), first)) {
            None | Some(FileType::Unknown) => return Ok((ancestor, missing)),
            // Another upload has just made it.
            Some(FileType::Directory) => {}
            // A dangling link: its target is not ours to create.
            Some(_) => break,
        }
    }
    Err(Errno::NOENT)
}
