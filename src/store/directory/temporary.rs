//! The file of an upload before it is published.

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

/// Permissions of published files before the umask.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o666);

/// An unnamed file if the file system supports that, otherwise a file with a name that is never
/// served. It is removed on drop, unless it has its final name.
#[derive(Debug)]
pub(super) struct Temporary {
    file: OwnedFd,
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
            // A sweep of another process may have removed it before the lock was taken.
            if temporary.lock()? && fstat(&temporary.file)?.st_nlink > 0 {
                return Ok(temporary);
            }
        }
        Err(Errno::EXIST.into())
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Gives the file its final name, if that is free.
    pub(super) fn link(&mut self, directory: BorrowedFd<'_>, file_name: &[u8]) -> io::Result<()> {
        let Some(name) = &self.name else {
            return self.link_unnamed(directory, file_name);
        };
        match renameat_with(&self.directory, name, directory, file_name, RenameFlags::NOREPLACE) {
            Ok(()) => self.name = None,
            // Not every file system supports it (NFS). A second link can't replace anything either;
            // the first is removed on drop.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(&self.directory, name, directory, file_name, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Gives the file a temporary name, because no system call links an unnamed file over another.
    pub(super) fn set_name(&mut self) -> io::Result<()> {
        if self.name.is_none() {
            // For a crash before it has its final name.
            self.lock()?;
            let name = random_name()?;
            self.link_unnamed(self.directory.as_fd(), name.as_bytes())?;
            self.name = Some(name);
        }
        Ok(())
    }

    /// Gives the file its final name, replacing any other file.
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

    /// Takes the lock that keeps sweeps away; `false` if a sweep has it. If the file system has no
    /// locks, a sweep can't take one either and removes nothing.
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
            // On failure, the next sweep removes it.
            let _ = unlinkat(&self.directory, name, AtFlags::empty());
        }
    }
}

/// An unnamed file; `None` if the file system has none, or if it couldn't be named later.
fn create_unnamed(directory: &OwnedFd, mode: Mode) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match openat(directory, ".", flags, mode) {
        Ok(file) => file,
        // The errors of file systems and kernels without it.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // It is named through /proc (linking by descriptor needs a capability before Linux 6.10).
    // Without /proc, or in a chroot, that would only fail after the last octet.
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
