//! The root, and the resolution of names below it for each policy for symbolic links.

mod links;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{
    Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, accessat, fstat, fstatfs, openat, openat2,
    statat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::path::Arg;

use super::Symlinks;
use crate::error::{Failure, Fault};
use crate::store::Name;
use crate::store::errno::errno_fault;

/// Flags for directories on the way. `O_PATH` needs no permission to list them.
pub(super) const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Flags for examining a file without opening it: no FIFO is woken, no device is touched (SAFE-11).
pub(super) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Flags for opening a file. It was regular when it was examined; if it has become a FIFO or a
/// terminal since, the open must neither wait nor take over the terminal.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Dir,
    /// The root's path for the operator, without a trailing slash, escaped for the log like names.
    pub(super) path: String,
    /// Paths of the root: absolute links that begin with one of them lead below it.
    spellings: [PathBuf; 2],
    symlinks: Symlinks,
    /// Whether [`Lookup::Cached`] works.
    pub(super) is_cached: bool,
}

/// How far a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    Full,
    /// In the kernel's caches only. `EAGAIN` if they don't know, or aren't certain.
    Cached,
}

impl Tree {
    /// Opens the directory that an absolute path names.
    pub(super) fn open(named: &Path, symlinks: Symlinks) -> io::Result<Self> {
        let root = Dir::open_ambient_dir(named, ambient_authority())?;
        may(root.as_fd(), b".", Access::EXEC_OK)?;
        let resolved = std::fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
        let path = resolved.as_os_str().as_bytes().escape_ascii().to_string();
        let path = path.trim_end_matches('/').to_owned();
        let is_cached = is_known(root.as_fd());
        Ok(Self { root, path, spellings: [named.to_owned(), resolved], symlinks, is_cached })
    }

    pub(super) fn path_of(&self, name: &Name) -> String {
        format!("{}/{name}", self.path)
    }

    /// The error if the root was removed: failed lookups in it say nothing about the file.
    pub(super) fn check_exists(&self) -> Result<(), Fault> {
        if fstat(&self.root).is_ok_and(|stat| stat.st_nlink == 0) {
            return Err(Fault::new(Failure::Io, format_args!("the root {} was removed", self.path)));
        }
        Ok(())
    }

    /// Examines what has this name, without touching it.
    pub(super) fn look(&self, name: &Name, lookup: Lookup) -> Result<Stat, Errno> {
        let stat = fstat(self.open_name(name, lookup, LOOK)?)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // Only an open with O_PATH | O_NOFOLLOW returns the link itself.
            FileType::Symlink => Err(Errno::LOOP),
            _ => Ok(stat),
        }
    }

    /// Examines the name of a file that is or was open, without waiting for a disk: the kernel
    /// caches the names of open files. `None` for names with several components.
    pub(super) fn look_again(&self, name: &Name) -> Option<Stat> {
        if name.parents().next().is_some() {
            return None;
        }
        statat(&self.root, name.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    pub(super) fn open_name(&self, name: &Name, lookup: Lookup, flags: OFlags) -> Result<OwnedFd, Errno> {
        match lookup {
            Lookup::Full => self.open_path(name.as_path(), flags),
            Lookup::Cached => self.open_cached(name, flags),
        }
    }

    /// Opens a name from the kernel's caches, as confined as any other lookup, and only on the
    /// root's own file system. The errors are those of a full lookup if they are certain, or
    /// `EAGAIN`.
    fn open_cached(&self, name: &Name, flags: OFlags) -> Result<OwnedFd, Errno> {
        let confined = match self.symlinks {
            Symlinks::Inside => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Symlinks::Deny => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Symlinks::Follow => ResolveFlags::empty(),
        };
        let resolve = confined | ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
        let opened = openat2(&self.root, name.as_path(), flags, Mode::empty(), resolve);
        opened.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP => errno,
            // For example: not cached; another file system; out of the root; no such call here.
            _ => Errno::AGAIN,
        })
    }

    /// Opens a directory as a base for other calls (`O_PATH`); the empty path is the root.
    pub(super) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        if path.as_os_str().is_empty() {
            return fcntl_dupfd_cloexec(&self.root, 0);
        }
        self.open_path(path, PASS)
    }

    fn open_path(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.symlinks {
            Symlinks::Inside => match self.open_inside(path, flags) {
                Err(Errno::XDEV) => links::open(self.root.as_fd(), &self.spellings, path, flags),
                opened => opened,
            },
            Symlinks::Deny => walk(self.root.as_fd(), path, flags),
            Symlinks::Follow => openat(&self.root, path, flags, Mode::empty()),
        }
    }

    /// Follows links below the root. `EXDEV` for an absolute link (to anywhere), or a `..` in a
    /// link, that leads out of the root: cap-std has no errno for that.
    fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let opened = if flags == PASS {
            self.root.open_dir(path).map(OwnedFd::from)
        } else {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(flags.bits().cast_signed());
            self.root.open_with(path, &options).map(|file| file.into_std().into())
        };
        opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::XDEV))
    }

    /// Why a name didn't lead to a file: the policy for links, a dangling link, a directory.
    pub(super) fn fault(&self, errno: Errno, name: &Name, path: &str) -> Fault {
        let forbidden = match (errno, self.symlinks) {
            (Errno::LOOP, Symlinks::Deny) => "symbolic links are not followed (--symlinks deny)",
            (Errno::XDEV, Symlinks::Inside) => {
                "a symbolic link leads out of the root and is not followed (--symlinks inside)"
            }
            (Errno::NOENT, _) if self.is_link(name) => {
                let why = format_args!("{path} is a symbolic link whose target is missing");
                return Fault::new(Failure::NotFound, why);
            }
            (Errno::ACCESS, _) => match self.closed_directory(name, path) {
                Some(closed) => &format!("the server may not enter the directory {closed}"),
                None => return errno_fault(errno, path),
            },
            _ => return errno_fault(errno, path),
        };
        Fault::new(Failure::Forbidden, format_args!("{path}: {forbidden}"))
    }

    /// Whether the last component is a symbolic link, as far as the kernel's caches know.
    fn is_link(&self, name: &Name) -> bool {
        self.open_cached(name, LOOK | OFlags::NOFOLLOW)
            .and_then(fstat)
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
    }

    /// The path of the first directory on the way that this process may not enter.
    fn closed_directory<'a>(&self, name: &Name, path: &'a str) -> Option<&'a str> {
        let mut here = fcntl_dupfd_cloexec(&self.root, 0).ok()?;
        let mut parents = name.parents();
        loop {
            let left = parents.clone().count();
            if may(here.as_fd(), b".", Access::EXEC_OK).is_err() {
                return Some(directory_of(path, left));
            }
            here = step(here.as_fd(), parents.next()?, PASS).ok()?;
        }
    }
}

/// Whether files on the file system of `root` open without another party. A network file system, a
/// program (FUSE) or an overlay of those may hang in an open even if the name is cached.
fn is_known(root: BorrowedFd<'_>) -> bool {
    /// ext2-ext4, XFS, Btrfs, F2FS, tmpfs, ramfs, SquashFS, EROFS, FAT, ISO 9660: see statfs(2).
    const LOCAL: [u32; 10] = [
        0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x01021994, 0x858458f6, 0x73717368, 0xe0f5e1e2, 0x4d44,
        0x9660,
    ];
    // The field is signed in some C libraries, and wider than the number.
    fstatfs(root).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

/// The path of the directory of a file, or of the one `levels` above that.
pub(super) fn directory_of(path: &str, levels: usize) -> &str {
    let mut directories = path.rmatch_indices('/').map(|(slash, _)| &path[..slash]);
    directories.nth(levels).filter(|path| !path.is_empty()).unwrap_or("/")
}

/// Refuses anything but a regular file.
pub(super) fn check_regular(stat: &Stat, path: &str) -> Result<(), Fault> {
    let (failure, what) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        // A read follows links, or has failed already.
        FileType::Symlink => (Failure::Forbidden, "a symbolic link, which is not renamed or replaced"),
        FileType::Directory => (Failure::NotRegular, "a directory"),
        FileType::Fifo => (Failure::NotRegular, "a FIFO"),
        FileType::Socket => (Failure::NotRegular, "a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => (Failure::NotRegular, "a device"),
        FileType::Unknown => (Failure::NotRegular, "not a regular file"),
    };
    Err(Fault::new(failure, format_args!("{path} is {what}")))
}

/// Goes down one component at a time and through no symbolic link. A [`Name`] has no `..`, so this
/// can't leave `start`, whatever is renamed meanwhile. It needs no `openat2`.
fn walk(start: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut here = fcntl_dupfd_cloexec(start, 0)?;
    let mut components = path.iter().peekable();
    while let Some(component) = components.next() {
        let flags = if components.peek().is_some() { PASS } else { flags };
        here = step(here.as_fd(), component, flags)?;
    }
    Ok(here)
}

/// Opens a name that isn't a symbolic link.
pub(super) fn step(
    here: BorrowedFd<'_>,
    component: impl Arg + Copy,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    openat(here, component, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
        // With O_PATH, a link is "not a directory" like any file, but the peer must get code 2 for
        // a link and 1 for a file.
        Errno::NOTDIR if type_of(here, component) == FileType::Symlink => Errno::LOOP,
        _ => errno,
    })
}

/// The type of a name in `directory`, of a link itself; `Unknown` if there is nothing.
pub(super) fn type_of(directory: BorrowedFd<'_>, name: impl Arg) -> FileType {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

pub(super) fn is_same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether this process has that access to a name in `directory`, to be reported early.
pub(super) fn may(directory: BorrowedFd<'_>, name: &[u8], access: Access) -> Result<(), Errno> {
    match accessat(directory, name, access, AtFlags::EACCESS) {
        // Some containers refuse the newer call for effective ids. A daemon's real ids are the
        // same.
        Err(Errno::PERM) => accessat(directory, name, access, AtFlags::empty()),
        answer => answer,
    }
}
