//! How an upload gets its name: whole, on the disk, and never in place of another unless that was allowed.
//!
//! The order is WR-04's: the file's octets, its name, the directories that the name is in. Only then may the peer
//! hear that its upload is safe, for it may power off at once.

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

/// What a directory that we make may be at most; the umask of the process takes its part away.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

pub(super) fn publish(
    temporary: &mut Temporary,
    place: &Place,
    options: DirectoryOptions,
    path: &str,
) -> Result<(), Fault> {
    let fault = |error| io_fault(&error, path);
    if options.durable {
        // Where a full disk or quota may show for the first time (WR-06).
        retry_on_intr(|| fsync(temporary.file())).map_err(|errno| fault(errno.into()))?;
    }
    let mut branch = Branch::grow(place).map_err(fault)?;
    // Another upload may have won the name since this one began (WR-02, -08). If one wins it right now, the kernel
    // sees to it that nothing is replaced.
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
        // The name may be gone after a power cut, and the peer will hear of a failure: so it must be gone now. What
        // it replaced is lost already, and a whole file is better than none.
        if !options.overwrite {
            let _ = unlinkat(branch.tip(), &*place.file_name, AtFlags::empty());
        }
        return Err(fault(error));
    }
    branch.keep();
    Ok(())
}

/// Gives the file that takes another's place what it keeps of that.
fn inherit(temporary: &mut Temporary, replaced: &Replaced, durable: bool) -> io::Result<()> {
    // Named first: not every process may name a file that it has given away (protected_hardlinks,
    // proc(5)).
    temporary.set_name()?;
    replaced.hand_over_to(temporary.file())?;
    if durable {
        retry_on_intr(|| fsync(temporary.file()))?;
    }
    Ok(())
}

/// The directories from the ancestor down to the file's own, of which those that we made go again when dropped,
/// unless [kept](Self::keep).
pub(super) struct Branch<'a> {
    place: &'a Place,
    /// The missing directories, opened, in the order of `place.missing`.
    grown: Vec<OwnedFd>,
    /// For each of these, whether it was we who made it.
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
            // Were it replaced by a link just now, it isn't followed.
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

    /// Puts the names in all of them on the disk, also those that another upload made: it may not have come to it.
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
                // It fails if another upload has put something into it; then it is needed.
                let _ = unlinkat(self.directory(depth), &*self.place.missing[depth], AtFlags::REMOVEDIR);
            }
        }
    }
}

/// Puts the names in `directory` on the disk; `file` is any file of its file system.
pub(super) fn sync_directory(directory: BorrowedFd<'_>, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = match openat(directory, ".", flags, Mode::empty()) {
        Ok(readable) => readable,
        // A drop box may be written to but not listed; then all of its file system is synced.
        Err(Errno::ACCESS) => return Ok(retry_on_intr(|| file.map_or(Err(Errno::ACCESS), syncfs))?),
        Err(errno) => return Err(errno.into()),
    };
    match retry_on_intr(|| fsync(&readable)) {
        // A file system that has nothing to sync for a directory.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
