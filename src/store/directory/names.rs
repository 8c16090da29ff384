//! New names for files, in place of the old name or in addition to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, linkat, openat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::followed::Root;
use super::place::{Place, place_fault};
use super::publish::{Branch, sync_directory};
use super::replaced::Replaced;
use super::tree::not_regular;
use super::{Directory, DirectoryOptions};
use crate::error::{Failure, Fault};
use crate::store::{Name, io_fault};

/// Whether the old name is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OldName {
    Stays,
    Goes,
}

impl Directory {
    /// Renames the file `from` to `to`, without replacing a file. The content is not copied, and
    /// transfers of the file continue.
    ///
    /// Both names are resolved like those of uploads: below the root, and through symbolic links
    /// only according to [`Symlinks`](super::Symlinks). A link as the last component of `from` is
    /// not followed. (No [`Name`] is that of a temporary file.) With
    /// [`create_dirs`](DirectoryOptions::create_dirs), missing directories of `to` are created.
    /// With [`durable`](DirectoryOptions::durable), the names are on disk when this returns; if
    /// that fails, the file has its new name all the same.
    ///
    /// May block: call it only where a store may block, for example in
    /// [`Sink::publish`](crate::store::Sink::publish).
    ///
    /// # Errors
    /// - [`Failure::NotFound`]: there is no file `from`, or no directory for `to`.
    /// - [`Failure::Exists`]: the name `to` is taken.
    /// - [`Failure::NotRegular`]: `from` is not a regular file.
    /// - [`Failure::Forbidden`]: `from` is a symbolic link, a link on the way may not be followed,
    ///   the process may not write to one of the directories, or the names are on different file
    ///   systems.
    /// - [`Failure::ReadOnly`], [`Failure::DiskFull`] or [`Failure::Io`]: the file system refuses,
    ///   or the root was removed.
    pub fn rename(&self, from: &Name, to: &Name) -> Result<(), Fault> {
        name_anew(&*self.existing_root()?, self.options, from, to, OldName::Goes)
    }

    /// Gives the file `from` the additional name `to` (a hard link). An upload doesn't replace a
    /// file with several names, as long as it has them. Everything else is as for
    /// [`rename`](Self::rename).
    ///
    /// # Errors
    /// Those of [`rename`](Self::rename). [`Failure::Forbidden`] also means that the process may
    /// not link a file of another owner (`protected_hardlinks`, proc(5)), or that there are no hard
    /// links.
    pub fn link(&self, from: &Name, to: &Name) -> Result<(), Fault> {
        name_anew(&*self.existing_root()?, self.options, from, to, OldName::Stays)
    }
}

fn name_anew(
    root: &Root,
    options: DirectoryOptions,
    from: &Name,
    to: &Name,
    old: OldName,
) -> Result<(), Fault> {
    let (from_path, to_path) = (root.path_of(from), root.path_of(to));
    let parents: Vec<&[u8]> = from.parents().collect();
    let directory =
        root.tree.open_directory(&parents).map_err(|error| root.tree.fault(&error, from, &from_path))?;
    check_source(directory.as_fd(), from.file_name(), &from_path)?;
    let place = Place::find(&root.tree, to, options.create_dirs)
        .map_err(|error| place_fault(&root.tree, &error, to, options.create_dirs, &to_path))?;
    let fault = |error: io::Error| io_fault(&error, &format!("{from_path} as {to_path}"));
    let mut branch = Branch::grow(&place).map_err(fault)?;
    match old {
        OldName::Stays => link(&directory, from.file_name(), branch.tip(), &place.file_name),
        OldName::Goes => rename(&directory, from.file_name(), branch.tip(), &place.file_name),
    }
    .map_err(fault)?;
    branch.keep();
    if options.durable {
        let file = open(branch.tip(), &place.file_name);
        let file = file.as_ref().map(AsFd::as_fd);
        branch.sync(file).map_err(fault)?;
        if old == OldName::Goes {
            sync_directory(directory.as_fd(), file).map_err(fault)?;
        }
    }
    Ok(())
}

/// Checks that the source is a file. If it becomes something else before the rename, that is still
/// in the root, and nothing of it was opened.
fn check_source(directory: BorrowedFd<'_>, file_name: &[u8], path: &str) -> Result<(), Fault> {
    let found = Replaced::find(directory, file_name).map_err(|error| io_fault(&error, path))?;
    let source = found.ok_or_else(|| io_fault(&Errno::NOENT.into(), path))?;
    match FileType::from_raw_mode(source.stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Symlink => {
            Err(Fault::new(Failure::Forbidden, format_args!("{path} is a symbolic link, not a file")))
        }
        other => Err(not_regular(other, path)),
    }
}

fn link(from: &OwnedFd, old: &[u8], to: BorrowedFd<'_>, new: &[u8]) -> io::Result<()> {
    // Without flags, a link as the last component is not followed.
    Ok(linkat(from, old, to, new, AtFlags::empty())?)
}

fn rename(from: &OwnedFd, old: &[u8], to: BorrowedFd<'_>, new: &[u8]) -> io::Result<()> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // Not every file system supports it (NFS). A second name can't replace anything either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            link(from, old, to, new)?;
            Ok(unlinkat(from, old, AtFlags::empty())?)
        }
        named => Ok(named?),
    }
}

/// The file, if this process may read it. `syncfs` needs it for a directory that can't be read.
fn open(directory: BorrowedFd<'_>, file_name: &[u8]) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, file_name, flags, Mode::empty()).ok()
}
