//! The root, and the resolution of names below it for each policy for symbolic links.

mod cached;
mod links;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, Stat, accessat, fstat, openat, statat};
use rustix::io::Errno;

use super::Symlinks;
use crate::error::{Failure, Fault};
use crate::store::{Name, io_fault};

/// Flags for directories on the way. `O_PATH` needs no permission to list them.
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Flags for examining a file without opening it: no FIFO is woken, no device is touched (SAFE-11).
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Flags for opening a file. It was regular when it was examined; if it has become a FIFO or a
/// terminal since, the open must neither wait nor take over the terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct Tree {
    root: Dir,
    /// Paths of the root: absolute links that begin with one of them lead below it.
    spellings: Vec<PathBuf>,
    symlinks: Symlinks,
    /// The file system can answer from the kernel's caches alone.
    cached: bool,
}

/// How far a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    Full,
    /// In the kernel's caches only. `EAGAIN` if they don't know, or aren't certain.
    Cached,
}

impl Tree {
    pub(super) fn open(root: &Path, symlinks: Symlinks) -> io::Result<Self> {
        let spellings = [std::path::absolute(root), std::fs::canonicalize(root)];
        let spellings = spellings.into_iter().flatten().collect();
        let root = Dir::open_ambient_dir(root, ambient_authority())?;
        may(root.as_fd(), b".", Access::EXEC_OK)?;
        let cached = cached::is_known(root.as_fd());
        Ok(Self { root, spellings, symlinks, cached })
    }

    /// Whether [`Lookup::Cached`] works.
    pub(super) fn is_cached(&self) -> bool {
        self.cached
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Examines what has this name, without touching it.
    pub(super) fn look(&self, name: &Name, lookup: Lookup) -> io::Result<Stat> {
        let stat = fstat(self.resolve(name, lookup, LOOK)?)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // Only an open with O_PATH | O_NOFOLLOW returns the link itself.
            FileType::Symlink => Err(Errno::LOOP.into()),
            _ => Ok(stat),
        }
    }

    /// Examines the name of a file that is or was open. This doesn't wait for a disk: the kernel
    /// caches the names of open files, and a directory that has just changed. `None` for names with
    /// several components, which need [`look`](Self::look).
    pub(super) fn look_again(&self, name: &Name) -> Option<Stat> {
        if name.parents().next().is_some() {
            return None;
        }
        statat(&self.root, name.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    pub(super) fn open_file(&self, name: &Name, lookup: Lookup) -> io::Result<OwnedFd> {
        self.resolve(name, lookup, READ)
    }

    /// Opens the directory of `components` as a base for other calls (`O_PATH`).
    pub(super) fn open_directory(&self, components: &[&[u8]]) -> io::Result<OwnedFd> {
        if components.is_empty() {
            return self.root.as_fd().try_clone_to_owned();
        }
        let path = components.join(&b'/');
        let path = Path::new(OsStr::from_bytes(&path));
        match self.symlinks {
            Symlinks::Inside => match self.root.open_dir(path) {
                Err(error) if leads_out(&error) => {
                    links::open_directory(self.root.as_fd(), &self.spellings, components)
                }
                opened => Ok(opened?.into()),
            },
            Symlinks::Deny => walk(self.root.as_fd(), components.iter().copied()),
            Symlinks::Follow => Ok(openat(&self.root, path, PASS, Mode::empty())?),
        }
    }

    /// Why a name didn't lead to a file, with the cause for the operator: the policy for links, a
    /// dangling link, a directory without permission.
    pub(super) fn fault(&self, error: &io::Error, name: &Name, path: &str) -> Fault {
        let errno = Errno::from_io_error(error);
        let forbidden = match self.symlinks {
            Symlinks::Deny if errno == Some(Errno::LOOP) => {
                "symbolic links are not followed (--symlinks deny)"
            }
            Symlinks::Inside if leads_out(error) => {
                "a symbolic link leads out of the root and is not followed (--symlinks inside)"
            }
            _ => return self.system_fault(error, name, path),
        };
        Fault::new(Failure::Forbidden, format_args!("{path}: {forbidden}"))
    }

    fn system_fault(&self, error: &io::Error, name: &Name, path: &str) -> Fault {
        match Errno::from_io_error(error) {
            Some(Errno::NOENT) if self.is_link(name) => Fault::new(
                Failure::NotFound,
                format_args!("{path} is a symbolic link whose target is missing"),
            ),
            Some(Errno::ACCESS) => match self.closed_directory(name, path) {
                Some(closed) => Fault::new(
                    Failure::Forbidden,
                    format_args!("{path}: the server may not enter the directory {closed}"),
                ),
                None => io_fault(error, path),
            },
            _ => io_fault(error, path),
        }
    }

    /// Whether the last component is a symbolic link, as far as the kernel's caches know. They know
    /// after a failed lookup, and boot loaders request many missing names.
    fn is_link(&self, name: &Name) -> bool {
        cached::open(self.root.as_fd(), name, self.symlinks, LOOK | OFlags::NOFOLLOW)
            .and_then(|found| Ok(fstat(found)?))
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
    }

    /// The path of the first directory on the way that this process may not enter.
    fn closed_directory<'a>(&self, name: &Name, path: &'a str) -> Option<&'a str> {
        let mut here = self.root.as_fd().try_clone_to_owned().ok()?;
        let mut parents = name.parents();
        loop {
            let left = parents.clone().count();
            if may(here.as_fd(), b".", Access::EXEC_OK).is_err() {
                return Some(directory_of(path, left));
            }
            here = step(here.as_fd(), parents.next()?).ok()?;
        }
    }

    fn resolve(&self, name: &Name, lookup: Lookup, flags: OFlags) -> io::Result<OwnedFd> {
        if lookup == Lookup::Cached {
            return cached::open(self.root.as_fd(), name, self.symlinks, flags);
        }
        match self.symlinks {
            Symlinks::Inside => {
                let mut options = OpenOptions::new();
                options.read(true).custom_flags(flags.bits().cast_signed());
                match self.root.open_with(name.as_path(), &options) {
                    Err(error) if leads_out(&error) => {
                        links::open_file(self.root.as_fd(), &self.spellings, name, flags)
                    }
                    opened => Ok(opened?.into_std().into()),
                }
            }
            Symlinks::Deny => {
                let parent = walk(self.root.as_fd(), name.parents())?;
                Ok(openat(parent, name.file_name(), flags | OFlags::NOFOLLOW, Mode::empty())?)
            }
            Symlinks::Follow => Ok(openat(&self.root, name.as_path(), flags, Mode::empty())?),
        }
    }
}

/// The path of the directory of a file, or of the one `levels` above that.
pub(super) fn directory_of(path: &str, levels: usize) -> &str {
    let mut directories = path.rmatch_indices('/').map(|(slash, _)| &path[..slash]);
    directories.nth(levels).filter(|path| !path.is_empty()).unwrap_or("/")
}

/// The error for something that is not a regular file.
pub(super) fn not_regular(found: FileType, path: &str) -> Fault {
    let what = match found {
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "not a regular file",
    };
    Fault::new(Failure::NotRegular, format_args!("{path} is {what}"))
}

/// Whether the kernel, or cap-std, refused a name because it leads out of the root: by an absolute
/// link (to anywhere), or by `..` in a link.
fn leads_out(error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(errno) => errno == Errno::XDEV,
        None => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Goes down one component at a time and through no symbolic link. A [`Name`] has no `..`, so this
/// can't leave `start`, whatever is renamed meanwhile. It needs no `openat2`.
pub(super) fn walk<'a>(
    start: BorrowedFd<'_>,
    components: impl Iterator<Item = &'a [u8]>,
) -> io::Result<OwnedFd> {
    let mut here = start.try_clone_to_owned()?;
    for component in components {
        here = step(here.as_fd(), component)?;
    }
    Ok(here)
}

/// Opens a subdirectory that isn't a symbolic link.
pub(super) fn step(here: BorrowedFd<'_>, component: &[u8]) -> io::Result<OwnedFd> {
    openat(here, component, PASS | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
        // With O_PATH, a link is "not a directory" like any file, but the peer must get code 2 for
        // a link and 1 for a file.
        Errno::NOTDIR if is_symlink(here, component) => Errno::LOOP.into(),
        _ => errno.into(),
    })
}

fn is_symlink(directory: BorrowedFd<'_>, component: &[u8]) -> bool {
    statat(directory, component, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Whether this process has that access to a name in `directory`. A forecast, to report early what
/// the final system call would report.
pub(super) fn may(directory: BorrowedFd<'_>, name: &[u8], access: Access) -> io::Result<()> {
    match accessat(directory, name, access, AtFlags::EACCESS) {
        // Some containers refuse the newer call for effective ids. The older one uses the real ids,
        // which are the same in a daemon.
        Err(Errno::PERM) => Ok(accessat(directory, name, access, AtFlags::empty())?),
        answer => Ok(answer?),
    }
}
