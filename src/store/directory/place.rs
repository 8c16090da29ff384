//! The place of an upload's file, and whether the file may be there.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, FileType, statat};
use rustix::io::Errno;

use super::replaced::Replaced;
use super::tree::{Tree, directory_of, may, not_regular};
use crate::error::{Failure, Fault};
use crate::limits::PARENT_ATTEMPTS_MAX;
use crate::store::{Name, io_fault};

#[derive(Debug)]
pub(super) struct Place {
    /// The deepest existing directory on the way. The temporary file is made in it.
    pub(super) ancestor: Arc<OwnedFd>,
    /// The missing directories below it.
    pub(super) missing: Vec<Box<[u8]>>,
    pub(super) file_name: Box<[u8]>,
}

impl Place {
    pub(super) fn find(tree: &Tree, name: &Name, create_dirs: bool) -> io::Result<Self> {
        let parents: Vec<&[u8]> = name.parents().collect();
        let mut attempt = 1;
        let (ancestor, depth) = loop {
            let (ancestor, depth) = deepest_directory(tree, &parents, create_dirs)?;
            let Some(first_missing) = parents.get(depth) else { break (ancestor, depth) };
            match statat(&ancestor, *first_missing, AtFlags::SYMLINK_NOFOLLOW) {
                Err(_) => break (ancestor, depth),
                // Another upload has just made it.
                Ok(there)
                    if FileType::from_raw_mode(there.st_mode) == FileType::Directory
                        && attempt < PARENT_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                // A dangling link: its target is not ours to create.
                Ok(_) => return Err(Errno::NOENT.into()),
            }
        };
        Ok(Self {
            ancestor: Arc::new(ancestor),
            missing: parents[depth..].iter().map(|&component| component.into()).collect(),
            file_name: name.file_name().into(),
        })
    }

    /// Why no file can be made in the directory, whose path shows the operator where to look.
    pub(super) fn directory_fault(&self, error: &io::Error, path: &str) -> Fault {
        let directory = self.directory_of(path);
        let must = format!("{path}: the directory {directory} must be writable (also to replace a file)");
        io_fault(error, &must)
    }

    pub(super) fn replace_fault(&self, error: &io::Error, path: &str) -> Fault {
        match Errno::from_io_error(error) {
            Some(Errno::PERM) => {
                let directory = self.directory_of(path);
                let why = "only its owner may replace it (sticky bit) or no one may (immutable)";
                io_fault(error, &format!("{path}: in the directory {directory} {why}"))
            }
            Some(Errno::ACCESS | Errno::ROFS) => self.directory_fault(error, path),
            _ => io_fault(error, path),
        }
    }

    /// The path of the deepest existing directory on the way of `path`.
    fn directory_of<'a>(&self, path: &'a str) -> &'a str {
        directory_of(path, self.missing.len())
    }
}

pub(super) fn place_fault(
    tree: &Tree,
    error: &io::Error,
    name: &Name,
    create_dirs: bool,
    path: &str,
) -> Fault {
    let why = match Errno::from_io_error(error) {
        Some(Errno::NOENT) if create_dirs => "is behind a symbolic link whose target is missing",
        Some(Errno::NOENT) => "is missing (--create-dirs makes it)",
        _ => return tree.fault(error, name, path),
    };
    let directory = directory_of(path, 0);
    Fault::new(Failure::NotFound, format_args!("{path}: the directory {directory} {why}"))
}

/// Checks whether a name in `directory` may be taken, and returns the file that has it. Called
/// before the first octet, and again at the end because that may have changed.
pub(super) fn check_target(
    directory: BorrowedFd<'_>,
    file_name: &[u8],
    overwrite: bool,
    path: &str,
) -> Result<Option<Replaced>, Fault> {
    let found = Replaced::find(directory, file_name).map_err(|error| io_fault(&error, path))?;
    let Some(target) = found else { return Ok(None) };
    match FileType::from_raw_mode(target.stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => {
            return Err(Fault::new(
                Failure::Forbidden,
                format_args!("{path} is a symbolic link, which uploads don't replace"),
            ));
        }
        other => return Err(not_regular(other, path)),
    }
    if !overwrite {
        let why = format_args!("{path} already exists (--overwrite lets uploads replace files)");
        return Err(Fault::new(Failure::Exists, why));
    }
    if target.stat.st_nlink > 1 {
        // One of its names may belong to someone else (SAFE-10).
        return Err(Fault::new(Failure::Forbidden, format_args!("{path} has other hard links")));
    }
    // A rename would ignore the mode, but an operator who made a file read-only wants to keep it.
    // The kernel lets root write to it all the same.
    if !target.is_writable() {
        let mode = target.mode().as_raw_mode();
        return Err(Fault::new(
            Failure::Forbidden,
            format_args!("{path} is write-protected (mode {mode:04o})"),
        ));
    }
    may(directory, file_name, Access::WRITE_OK).map_err(|error| io_fault(&error, path))?;
    Ok(Some(target))
}

/// The deepest existing directory on the way, and the number of components that lead to it.
fn deepest_directory(tree: &Tree, parents: &[&[u8]], create_dirs: bool) -> io::Result<(OwnedFd, usize)> {
    let mut depth = parents.len();
    loop {
        match tree.open_directory(&parents[..depth]) {
            Ok(directory) => return Ok((directory, depth)),
            Err(error) if create_dirs && depth > 0 && is_missing(&error) => depth -= 1,
            Err(error) => return Err(error),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOENT)
}
