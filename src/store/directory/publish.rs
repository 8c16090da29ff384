//! Publishing an upload, in the order of WR-04: the octets, the name, the directories of the name.
//! Only then may the peer get its last ACK, because it may power off at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, fsync, mkdirat, syncfs, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::DirectoryOptions;
use super::place::Place;
use super::replaced::Replaced;
use super::sweep::LIST;
use super::temporary::Temporary;
use super::tree::{PASS, step};
use crate::error::Fault;

/// Permissions of new directories before the umask.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

pub(super) fn publish(
    temporary: &mut Temporary,
    place: &Place,
    options: DirectoryOptions,
) -> Result<(), Fault> {
    if options.durable {
        // A full disk or quota may show here for the first time (WR-06).
        temporary.file.sync_all().map_err(|error| place.fault(error))?;
    }
    let mut branch = Branch::grow(place).map_err(|errno| place.fault(errno))?;
    // Another upload may have taken the name since this one began (WR-02, -08).
    let replaced = place.check_target(branch.tip(), options.overwrite)?;
    if options.overwrite {
        if let Some(replaced) = replaced {
            inherit(temporary, &replaced, options.durable).map_err(|error| place.fault(error))?;
        }
        let named = temporary.replace(branch.tip(), &place.file_name);
        named.map_err(|errno| place.directory_fault(errno))?;
    } else {
        temporary.link(branch.tip(), &place.file_name).map_err(|errno| place.fault(errno))?;
    }
    if options.durable
        && let Err(errno) = branch.sync(Some(temporary.file.as_fd()))
    {
        // The name may be lost in a power failure, and the peer gets an error, so the file must not
        // stay. A replaced file is lost already, and a complete file is better than none.
        if !options.overwrite {
            let _ = unlinkat(branch.tip(), &*place.file_name, AtFlags::empty());
        }
        return Err(place.fault(errno));
    }
    branch.keep();
    Ok(())
}

/// Gives the new file what it keeps of the replaced one.
fn inherit(temporary: &mut Temporary, replaced: &Replaced, durable: bool) -> io::Result<()> {
    // The name first, because of `protected_hardlinks`, proc(5): the file may be given away.
    temporary.set_name()?;
    replaced.hand_over_to(temporary.file.as_fd())?;
    if durable { temporary.file.sync_all() } else { Ok(()) }
}

/// The directories from the ancestor down to the file's own. Those that we made are removed on
/// drop, unless [kept](Self::keep).
pub(super) struct Branch<'a> {
    place: &'a Place,
    directories: Vec<Arc<OwnedFd>>,
    /// Whether we made each of them except the ancestor.
    made: Vec<bool>,
}

impl<'a> Branch<'a> {
    pub(super) fn grow(place: &'a Place) -> Result<Self, Errno> {
        let mut branch = Self { place, directories: vec![Arc::clone(&place.ancestor)], made: Vec::new() };
        for component in &place.missing {
            let made = match mkdirat(branch.tip(), component, DIRECTORY_MODE) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno),
            };
            branch.made.push(made);
            // If it was just replaced by a link, the link isn't followed.
            let directory = step(branch.tip(), component, PASS)?;
            branch.directories.push(Arc::new(directory));
        }
        Ok(branch)
    }

    /// The deepest directory.
    pub(super) fn tip(&self) -> BorrowedFd<'_> {
        self.directories.last().unwrap_or(&self.place.ancestor).as_fd()
    }

    /// Syncs the names in all of them, also in directories that others made.
    pub(super) fn sync(&self, file: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        self.directories.iter().rev().try_for_each(|directory| sync_directory(directory.as_fd(), file))
    }

    pub(super) fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for Branch<'_> {
    fn drop(&mut self) {
        let made = self.directories.iter().zip(&self.place.missing).zip(&self.made);
        for ((above, component), made) in made.rev() {
            if *made {
                // Fails if another upload has put something into it, which then needs it.
                let _ = unlinkat(above, component, AtFlags::REMOVEDIR);
            }
        }
    }
}

/// Syncs the names in `directory`; `file` is any file of the same file system.
pub(super) fn sync_directory(directory: BorrowedFd<'_>, file: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let readable = match step(directory, ".", LIST) {
        // A directory may be writable but not readable; then the whole file system is synced.
        Err(Errno::ACCESS) => return retry_on_intr(|| file.map_or(Err(Errno::ACCESS), syncfs)),
        readable => readable?,
    };
    match retry_on_intr(|| fsync(&readable)) {
        // EINVAL: the file system has nothing to sync for a directory.
        Err(Errno::INVAL) => Ok(()),
        synced => synced,
    }
}
