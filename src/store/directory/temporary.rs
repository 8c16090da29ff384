//! The file of an upload before it is published.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, linkat, openat, renameat,
    renameat_with, stat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use super::tree::is_same_file;
use crate::limits::TEMPORARY_NAME_ATTEMPTS_MAX;
use crate::store::name::temporary_name;

/// Permissions of published files before the umask.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o666);

/// An unnamed file if the file system supports that, otherwise a file with a name that is never
/// served. It is removed on drop, unless it has its final name.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    directory: Arc<OwnedFd>,
    /// Its temporary name, while it has one.
    name: Option<String>,
}

impl Temporary {
    pub(super) fn create(directory: &Arc<OwnedFd>, unnamed: bool, mode: Mode) -> Result<Self, Errno> {
        let of = |file: OwnedFd, name| Self { file: file.into(), directory: Arc::clone(directory), name };
        if unnamed && let Some(file) = create_unnamed(directory, mode)? {
            return Ok(of(file, None));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TEMPORARY_NAME_ATTEMPTS_MAX {
            let name = random_name()?;
            let temporary = match openat(directory, &name, flags, mode) {
                Err(Errno::EXIST) => continue,
                file => of(file?, Some(name)),
            };
            // A sweep of another process may have removed it before the lock was taken.
            if temporary.lock()? && fstat(&temporary.file)?.st_nlink > 0 {
                return Ok(temporary);
            }
        }
        Err(Errno::EXIST)
    }

    /// Gives the file its final name, if that is free.
    pub(super) fn link(&mut self, directory: BorrowedFd<'_>, file_name: &[u8]) -> Result<(), Errno> {
        let Some(name) = &self.name else {
            return self.link_unnamed(directory, file_name);
        };
        // A temporary name that is left is removed on drop.
        if rename_or_link(self.directory.as_fd(), name.as_bytes(), directory, file_name)? == OldName::Gone {
            self.name = None;
        }
        Ok(())
    }

    /// Gives the file a temporary name, because no system call links an unnamed file over another.
    pub(super) fn set_name(&mut self) -> Result<(), Errno> {
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
    pub(super) fn replace(&mut self, directory: BorrowedFd<'_>, file_name: &[u8]) -> Result<(), Errno> {
        self.set_name()?;
        if let Some(name) = &self.name {
            renameat(&self.directory, name, directory, file_name)?;
            self.name = None;
        }
        Ok(())
    }

    fn link_unnamed(&self, directory: BorrowedFd<'_>, file_name: &[u8]) -> Result<(), Errno> {
        linkat(CWD, proc_path(&self.file), directory, file_name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Takes the lock that keeps sweeps away; `false` if a sweep has it. If the file system has no
    /// locks, a sweep can't take one either and removes nothing.
    fn lock(&self) -> Result<bool, Errno> {
        match retry_on_intr(|| flock(&self.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno),
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

#[derive(Debug, PartialEq, Eq)]
pub(super) enum OldName {
    Gone,
    Left,
}

/// Gives a file a new name, without replacing a file. Where a rename can't do so (NFS), the file
/// gets a second name.
pub(super) fn rename_or_link(
    from: BorrowedFd<'_>,
    old: &[u8],
    to: BorrowedFd<'_>,
    new: &[u8],
) -> Result<OldName, Errno> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(from, old, to, new, AtFlags::empty()).map(|()| OldName::Left)
        }
        renamed => renamed.map(|()| OldName::Gone),
    }
}

/// An unnamed file; `None` if the file system has none, or if it couldn't be named later.
fn create_unnamed(directory: &OwnedFd, mode: Mode) -> Result<Option<OwnedFd>, Errno> {
    let file = match openat(directory, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode) {
        // The errors of file systems and kernels without it.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => return Ok(None),
        file => file?,
    };
    // It is named through /proc (linking by descriptor needs a capability before Linux 6.10).
    // Without /proc, or in a chroot, that would only fail after the last octet.
    let ours = fstat(&file)?;
    let is_reachable = stat(proc_path(&file)).is_ok_and(|there| is_same_file(&there, &ours));
    Ok(is_reachable.then_some(file))
}

pub(super) fn proc_path(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn random_name() -> Result<String, Errno> {
    let mut random = [0; 8];
    retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))?;
    Ok(temporary_name(u64::from_ne_bytes(random)))
}
