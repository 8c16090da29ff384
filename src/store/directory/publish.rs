//! Publishing an upload: complete, on disk, and without replacing a file unless that was allowed.
//!
//! The order is that of WR-04: the octets, the name, the directories of the name. Only then may the
//! peer get its last ACK, because it may power off at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, openat, syncfs, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::DirectoryOptions;
use super::place::{Place, check_target};
use super::replaced::Replaced;
use super::temporary::Temporary;
use super::tree::step;
use crate::error::Fault;
use crate::store::io_fault;

/// Permissions of new directories before the umask.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

pub(super) fn publish(
    temporary: &mut Temporary,
    place: &Place,
    options: DirectoryOptions,
    path: &str,
) -> Result<(), Fault> {
    let fault = |error| io_fault(&error, path);
    if options.durable {
        // A full disk or quota may show here for the first time (WR-06).
        retry_on_intr(|| fsync(temporary.file())).map_err(|errno| fault(errno.into()))?;
    }
    let mut branch = Branch::grow(place).map_err(fault)?;
    // Another upload may have taken the name since this one began (WR-02, -08). If one takes it
    // right now, the kernel ensures that nothing is replaced.
    let replaced = check_target(branch.tip(), &place.file_name, options.overwrite, path)?;
    if options.overwrite {
        if let Some(replaced) = replaced {
            inherit(temporary, &replaced, options.durable).map_err(fault)?;
        }
        let named = temporary.replace(branch.tip(), &place.file_name);
        named.map_err(|error| place.replace_fault(&error, path))?;
    } else {
        temporary.link(branch.tip(), &place.file_name).map_err(fault)?;
    }
    if options.durable
        && let Err(error) = branch.sync(Some(temporary.file()))
    {
        // The name may be lost in a power failure, and the peer gets an error, so the file must not
        // stay. A replaced file is lost already, and a complete file is better than none.
        if !options.overwrite {
            let _ = unlinkat(branch.tip(), &*place.file_name, AtFlags::empty());
        }
        return Err(fault(error));
    }
    branch.keep();
    Ok(())
}

/// Gives the new file what it keeps of the replaced one.
fn inherit(temporary: &mut Temporary, replaced: &Replaced, durable: bool) -> io::Result<()> {
    // The name first: not every process may name a file that it has given away
    // (`protected_hardlinks`, proc(5)).
    temporary.set_name()?;
    replaced.hand_over_to(temporary.file())?;
    if durable {
        retry_on_intr(|| fsync(temporary.file()))?;
    }
    Ok(())
}

/// The directories from the ancestor down to the file's own. Those that we made are removed on
/// drop, unless [kept](Self::keep).
pub(super) struct Branch<'a> {
    place: &'a Place,
    /// The missing directories, opened, in the order of `place.missing`.
    grown: Vec<OwnedFd>,
    /// Whether we made each of them.
    made: Vec<bool>,
}

impl<'a> Branch<'a> {
    pub(super) fn grow(place: &'a Place) -> io::Result<Self> {
        let mut branch = Self { place, grown: Vec::new(), made: Vec::new() };
        for component in &place.missing {
            let made = match mkdirat(branch.tip(), &**component, DIRECTORY_MODE) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno.into()),
            };
            branch.made.push(made);
            // If it was just replaced by a link, the link isn't followed.
            let directory = step(branch.tip(), component)?;
            branch.grown.push(directory);
        }
        Ok(branch)
    }

    /// The deepest directory.
    pub(super) fn tip(&self) -> BorrowedFd<'_> {
        self.directory(self.grown.len())
    }

    /// The directory `depth` below the ancestor.
    fn directory(&self, depth: usize) -> BorrowedFd<'_> {
        match depth.checked_sub(1) {
            None => self.place.ancestor.as_fd(),
            Some(index) => self.grown[index].as_fd(),
        }
    }

    /// Syncs the names in all of them, also in directories that others made.
    pub(super) fn sync(&self, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        (0..=self.grown.len()).rev().try_for_each(|depth| sync_directory(self.directory(depth), file))
    }

    pub(super) fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for Branch<'_> {
    fn drop(&mut self) {
        for (depth, made) in self.made.iter().enumerate().rev() {
            if *made {
                // Fails if another upload has put something into it, which then needs it.
                let _ = unlinkat(self.directory(depth), &*self.place.missing[depth], AtFlags::REMOVEDIR);
            }
        }
    }
}

/// Syncs the names in `directory`; `file` is any file of the same file system.
pub(super) fn sync_directory(directory: BorrowedFd<'_>, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = match openat(directory, ".", flags, Mode::empty()) {
        Ok(readable) => readable,
        // A directory may be writable but not readable; then the whole file system is synced.
        Err(Errno::ACCESS) => return Ok(retry_on_intr(|| file.map_or(Err(Errno::ACCESS), syncfs))?),
        Err(errno) => return Err(errno.into()),
    };
    match retry_on_intr(|| fsync(&readable)) {
        // EINVAL: the file system has nothing to sync for a directory.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
