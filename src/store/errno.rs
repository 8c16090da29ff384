//! Failures for errors of the operating system (R1350-52).

#[cfg(test)]
mod tests;

use std::io;

use rustix::io::Errno;

use crate::error::{Failure, Fault, Limit};

/// Turns an error of the operating system into a [`Fault`]. `path` is for the operator's log.
#[must_use]
pub fn io_fault(error: &io::Error, path: &str) -> Fault {
    let detail = format_args!("{path}: {error}");
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Fault::limited(Failure::Busy, Limit::OpenFiles, detail),
        _ => Fault::new(failure(error), detail),
    }
}

pub(super) fn errno_fault(errno: Errno, path: &str) -> Fault {
    io_fault(&errno.into(), path)
}

/// docs/decisions/08-errors.md has the reasons.
fn failure(error: &io::Error) -> Failure {
    let Some(errno) = Errno::from_io_error(error) else {
        // cap-std reports paths that lead out of the root without an errno.
        return match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Forbidden,
            io::ErrorKind::NotFound => Failure::NotFound,
            io::ErrorKind::WriteZero => Failure::DiskFull,
            _ => Failure::Io,
        };
    };
    match errno {
        // EILSEQ: some file systems only store Unicode names, so there is no such file.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ILSEQ => Failure::NotFound,
        // EXDEV: the error of `openat2` and of the directory store for a path that leaves the root.
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV | Errno::TXTBSY => Failure::Forbidden,
        Errno::ROFS => Failure::ReadOnly,
        // ENXIO: a socket, or a FIFO without a reader. ENODEV: a device without a driver.
        Errno::ISDIR | Errno::NXIO | Errno::NODEV => Failure::NotRegular,
        Errno::NOSPC | Errno::DQUOT => Failure::DiskFull,
        Errno::FBIG => Failure::TooLarge,
        Errno::EXIST => Failure::Exists,
        // EAGAIN: another process has a lease on the file, and we don't wait until it is broken.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Failure::Busy,
        // A network file system lost the open file.
        Errno::STALE => Failure::Changed,
        _ => Failure::Io,
    }
}
