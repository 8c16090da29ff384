//! New names for files, in place of the old name or in addition to it.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, unlinkat};
use rustix::io::Errno;

use super::Directory;
use super::place::Place;
use super::publish::{Branch, sync_directory};
use super::replaced::Replaced;
use super::temporary::{OldName, rename_or_link};
use super::tree::{READ, check_regular};
use crate::error::Fault;
use crate::store::Name;
use crate::store::errno::errno_fault;

impl Directory {
    /// Renames the file `from` to `to`, without replacing a file. The content is not copied, and
    /// transfers of the file continue.
    ///
    /// May block. Both names are resolved like those of uploads: below the root, and through
    /// symbolic links only according to [`Symlinks`](super::Symlinks), never as the last component.
    /// With [`create_dirs`](super::DirectoryOptions::create_dirs), missing directories of `to` are
    /// created. With [`durable`](super::DirectoryOptions::durable), the names are on disk when this
    /// returns; if that fails, the file has its new name all the same.
    ///
    /// # Errors
    /// The [`Failure`](crate::error::Failure) is
    /// - `NotFound`: there is no file `from`, or no directory for `to`;
    /// - `Exists`: the name `to` is taken;
    /// - `NotRegular`: `from` is not a regular file;
    /// - `Forbidden`: `from` is a symbolic link, a link on the way may not be followed, the process
    ///   may not write to one of the directories, or the names are on different file systems;
    /// - `ReadOnly`, `DiskFull` or `Io`: the file system refuses, or the root was removed.
    pub fn rename(&self, from: &Name, to: &Name) -> Result<(), Fault> {
        self.name_anew(from, to, |old_directory, old, new_directory, new| {
            match rename_or_link(old_directory, old, new_directory, new)? {
                OldName::Gone => Ok(()),
                OldName::Left => unlinkat(old_directory, old, AtFlags::empty()),
            }
        })
    }

    /// Gives the file `from` the additional name `to` (a hard link). An upload doesn't replace a
    /// file with several names, as long as it has them. Everything else is as for
    /// [`rename`](Self::rename).
    ///
    /// # Errors
    /// Those of [`rename`](Self::rename). `Forbidden` also means that the process may not link a
    /// file of another owner (`protected_hardlinks`, proc(5)), or that there are no hard links.
    pub fn link(&self, from: &Name, to: &Name) -> Result<(), Fault> {
        // Without flags, a link as the last component is not followed.
        self.name_anew(from, to, |old_directory, old, new_directory, new| {
            linkat(old_directory, old, new_directory, new, AtFlags::empty())
        })
    }

    fn name_anew(
        &self,
        from: &Name,
        to: &Name,
        give: impl FnOnce(BorrowedFd<'_>, &[u8], BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let tree = self.existing_root()?;
        let from_path = tree.path_of(from);
        let directory =
            tree.open_directory(from.directory()).map_err(|errno| tree.fault(errno, from, &from_path))?;
        // If the source becomes something else before the rename, that is still in the root.
        let source = Replaced::find(directory.as_fd(), from.file_name());
        let source = source.and_then(|source| source.ok_or(Errno::NOENT));
        let source = source.map_err(|errno| errno_fault(errno, &from_path))?;
        check_regular(&source.stat, &from_path)?;
        let place = Place::find(&tree, to, self.options.create_dirs)?;
        let fault = |errno| errno_fault(errno, &format!("{from_path} as {}", place.path));
        let mut branch = Branch::grow(&place).map_err(fault)?;
        give(directory.as_fd(), from.file_name(), branch.tip(), &place.file_name).map_err(fault)?;
        branch.keep();
        if self.options.durable {
            // `syncfs` needs the file for a directory that can't be read.
            let file = openat(branch.tip(), &*place.file_name, READ | OFlags::NOFOLLOW, Mode::empty()).ok();
            let file = file.as_ref().map(AsFd::as_fd);
            branch.sync(file).and_then(|()| sync_directory(directory.as_fd(), file)).map_err(fault)?;
        }
        Ok(())
    }
}
