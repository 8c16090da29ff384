//! Which failure a peer is told of for which error of the system (R1350-52).

#[cfg(test)]
mod tests;

use std::io;

use rustix::io::Errno;

use crate::error::{Failure, Fault, Limit};

/// The one place where an error of the operating system becomes a [`Fault`]. `path` is for the operator's log.
#[must_use]
pub fn io_fault(error: &io::Error, path: &str) -> Fault {
    let detail = format_args!("{path}: {error}");
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Fault::limited(Failure::Busy, Limit::OpenFiles, detail),
        _ => Fault::new(failure(error), detail),
    }
}

/// U-Boot stops on codes 1 and 2 and repeats for ever on every other: what is missing must be
/// [`Failure::NotFound`], what is refused one of the failures with code 2.
fn failure(error: &io::Error) -> Failure {
    let Some(errno) = Errno::from_io_error(error) else {
        // cap-std tells of a path that leads out of the root without an errno.
        return match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Forbidden,
            io::ErrorKind::NotFound => Failure::NotFound,
            _ => Failure::Io,
        };
    };
    match errno {
        // EILSEQ: some file systems hold Unicode names only, so there's no file with that name.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ILSEQ => Failure::NotFound,
        // EXDEV is what openat2 says of a path that leaves the root, and the directory store after
        // it.
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV | Errno::TXTBSY => Failure::Forbidden,
        Errno::ROFS => Failure::ReadOnly,
        // ENXIO: a socket, or a FIFO that nobody reads. ENODEV: a device without a driver.
        Errno::ISDIR | Errno::NXIO | Errno::NODEV => Failure::NotRegular,
        Errno::NOSPC | Errno::DQUOT => Failure::DiskFull,
        Errno::FBIG => Failure::TooLarge,
        Errno::EXIST => Failure::Exists,
        // EAGAIN: someone holds a shared transfer on the file, and we don't wait for it to be broken.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Failure::Busy,
        // A network file system lost the file that was opened.
        Errno::STALE => Failure::Changed,
        _ => Failure::Io,
    }
}
