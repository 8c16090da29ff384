//! The file that an upload is written to before it has its name.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, linkat, openat, renameat,
    renameat_with, stat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::limits::TEMPORARY_NAME_ATTEMPTS_MAX;
use crate::store::temporary_name::temporary_name;

/// What a published file may be at most; the umask of the process takes its part away.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o666);

/// A file without a name where the file system knows such, else one with a name that is never served. It is gone
/// when dropped, unless it was given its real name.
#[derive(Debug)]
pub(super) struct Temporary {
    file: OwnedFd,
    /// The directory that it was made in.
    directory: Arc<OwnedFd>,
    /// Its temporary name, while it has one.
    name: Option<String>,
}

impl Temporary {
    pub(super) fn create(directory: &Arc<OwnedFd>, unnamed: bool, mode: Mode) -> io::Result<Self> {
        if unnamed && let Some(file) = create_unnamed(directory, mode)? {
            return Ok(Self { file, directory: Arc::clone(directory), name: None });
        }
        Self::create_named(directory, mode)
    }

    fn create_named(directory: &Arc<OwnedFd>, mode: Mode) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TEMPORARY_NAME_ATTEMPTS_MAX {
            let name = random_name()?;
            let file = match openat(directory, &name, flags, mode) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let temporary = Self { file, directory: Arc::clone(directory), name: Some(name) };
            // Between its creation and its lock, a sweep of another process may have taken it for stale.
            if temporary.lock()? && fstat(&temporary.file)?.st_nlink > 0 {
                return Ok(temporary);
            }
        }
        Err(Errno::EXIST.into())
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Gives it its real name, if nothing has that name.
    pub(super) fn link(&mut self, directory: BorrowedFd<'_>, file_name: &[u8]) -> io::Result<()> {
        let Some(name) = &self.name else {
            return self.link_unnamed(directory, file_name);
        };
        match renameat_with(&self.directory, name, directory, file_name, RenameFlags::NOREPLACE) {
            Ok(()) => self.name = None,
            // Not every file system can (NFS). A second link can't replace anything either; the first goes with us.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(&self.directory, name, directory, file_name, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Gives it a temporary name, if it has none. No system call links a file without a name over
    /// another.
    pub(super) fn set_name(&mut self) -> io::Result<()> {
        if self.name.is_none() {
            // Should we crash before it has its real one.
            self.lock()?;
            let name = random_name()?;
            self.link_unnamed(self.directory.as_fd(), name.as_bytes())?;
            self.name = Some(name);
        }
        Ok(())
    }

    /// Gives it its real name, in place of what may have it now.
    pub(super) fn replace(&mut self, directory: BorrowedFd<'_>, file_name: &[u8]) -> io::Result<()> {
        self.set_name()?;
        if let Some(name) = &self.name {
            renameat(&self.directory, name, directory, file_name)?;
            self.name = None;
        }
        Ok(())
    }

    fn link_unnamed(&self, directory: BorrowedFd<'_>, file_name: &[u8]) -> io::Result<()> {
        Ok(linkat(CWD, proc_path(&self.file), directory, file_name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Takes the lock that tells a sweep to stay away; `false` if a sweep has it. Where the file system has no locks,
    /// a sweep gets none either and removes nothing.
    fn lock(&self) -> io::Result<bool> {
        match retry_on_intr(|| flock(&self.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Should it fail, the next sweep has it.
            let _ = unlinkat(&self.directory, name, AtFlags::empty());
        }
    }
}

/// A file without a name, or `None` where such can't be had or couldn't be named later.
fn create_unnamed(directory: &OwnedFd, mode: Mode) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match openat(directory, ".", flags, mode) {
        Ok(file) => file,
        // What file systems and kernels without it say.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // It gets its name through /proc (to link by descriptor needs a capability before Linux 6.10): without one, or
    // in a chroot, that would fail only after the last octet.
    let ours = fstat(&file)?;
    let reachable =
        stat(proc_path(&file)).is_ok_and(|there| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino));
    Ok(reachable.then_some(file))
}

fn proc_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn random_name() -> io::Result<String> {
    let mut random = [0; 8];
    retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))?;
    Ok(temporary_name(u64::from_ne_bytes(random)))
}
