//! Lookups in the kernel's caches, without waiting.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::store::Name;
use crate::store::directory::Symlinks;

/// Whether files on the file system of `root` open without another party. A network file system, a
/// program (FUSE) or an overlay of those may hang in an open even if the name is cached.
#[cfg(target_os = "linux")]
pub(super) fn is_known(root: BorrowedFd<'_>) -> bool {
    /// ext2-ext4, XFS, Btrfs, F2FS, tmpfs, ramfs, SquashFS, EROFS, FAT, ISO 9660: see statfs(2).
    const LOCAL: [u32; 10] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0xf2f5_2010,
        0x0102_1994,
        0x8584_58f6,
        0x7371_7368,
        0xe0f5_e1e2,
        0x4d44,
        0x9660,
    ];
    // The field is signed in some C libraries, and wider than the number.
    rustix::fs::fstatfs(root).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_known(_: BorrowedFd<'_>) -> bool {
    false
}

/// Opens a name from the caches, as confined as any other lookup, and only on the root's own file
/// system.
///
/// # Errors
/// Those of a full lookup if they are certain, otherwise `EAGAIN`.
#[cfg(target_os = "linux")]
pub(super) fn open(
    root: BorrowedFd<'_>,
    name: &Name,
    symlinks: Symlinks,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, ResolveFlags, openat2};

    let confined = match symlinks {
        Symlinks::Inside => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        Symlinks::Deny => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        Symlinks::Follow => ResolveFlags::empty(),
    };
    let resolve = confined | ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
    openat2(root, name.as_path(), flags, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP => errno.into(),
        // For example: not cached; another file system; out of the root; no such call here.
        _ => Errno::AGAIN.into(),
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open(_: BorrowedFd<'_>, _: &Name, _: Symlinks, _: OFlags) -> io::Result<OwnedFd> {
    Err(Errno::AGAIN.into())
}
