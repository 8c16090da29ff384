//! A file that an upload replaces, and the attributes that the new file keeps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, openat};
use rustix::io::{Errno, retry_on_intr};

/// The permissions that are kept. Content from the network never runs with its owner's rights
/// (set-user-ID, set-group-ID).
const KEPT: u32 = 0o777;
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// A file, examined without opening it.
#[derive(Debug)]
pub(super) struct Replaced {
    file: OwnedFd,
    pub(super) stat: Stat,
}

impl Replaced {
    /// What has that name in `directory`; a link itself, not its target.
    pub(super) fn find(directory: BorrowedFd<'_>, file_name: &[u8]) -> io::Result<Option<Self>> {
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(directory, file_name, look, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let stat = fstat(&file)?;
        Ok(Some(Self { file, stat }))
    }

    /// The permissions, without the bits that are never kept.
    pub(super) fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.stat.st_mode & KEPT)
    }

    /// Whether its owner may write to it. If not, the file is meant to stay as it is.
    pub(super) fn is_writable(&self) -> bool {
        self.mode().contains(Mode::WUSR)
    }

    /// Passes the group, the ACL, the mode and the owner on to `heir`, as far as this process may.
    /// Nobody gets access who couldn't read the old file: if the group differs, it gets the
    /// permissions of all others.
    pub(super) fn hand_over_to(&self, heir: BorrowedFd<'_>) -> io::Result<()> {
        let made = fstat(heir)?;
        let (owner, group) = (self.stat.st_uid, self.stat.st_gid);
        let group = Gid::from_raw(group);
        let is_same_group = made.st_gid == group.as_raw() || fchown(heir, None, Some(group)).is_ok();
        let is_same_acl = acl::copy(&self.file, heir);
        let mut mode = self.mode().as_raw_mode();
        if !(is_same_group && is_same_acl) {
            mode &= !GROUP | ((mode & OTHERS) << 3);
        }
        // In a file with an ACL, the group's permissions are those of the mask.
        match retry_on_intr(|| fchmod(heir, Mode::from_raw_mode(mode))) {
            // A file system without permissions.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Last, because a process can't change the mode of a file that it has given away.
        if made.st_uid != owner {
            let _ = fchown(heir, Some(Uid::from_raw(owner)), None);
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod acl {
    use super::{AsRawFd, BorrowedFd, Errno, OwnedFd};
    use rustix::buffer::spare_capacity;
    use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, getxattr};

    /// POSIX ACLs, acl(5), as stored by Linux.
    const NAME: &str = "system.posix_acl_access";
    /// The longest attribute of Linux (`XATTR_SIZE_MAX`).
    const OCTETS_MAX: usize = 64 << 10;

    /// Gives the ACL of `file` to `heir`, or removes an inherited one if `file` has none. Returns
    /// whether both have the same now.
    pub(super) fn copy(file: &OwnedFd, heir: BorrowedFd<'_>) -> bool {
        let mut acl = Vec::with_capacity(OCTETS_MAX);
        // A file opened with `O_PATH` has its attributes only through this path.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match getxattr(&path, NAME, spare_capacity(&mut acl)) {
            Ok(_) => fsetxattr(heir, NAME, &acl, XattrFlags::empty()).is_ok(),
            Err(Errno::NODATA) => matches!(fremovexattr(heir, NAME), Ok(()) | Err(Errno::NODATA)),
            // A file system without ACLs.
            Err(Errno::OPNOTSUPP) => true,
            Err(_) => false,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod acl {
    use super::{BorrowedFd, OwnedFd};

    pub(super) fn copy(_: &OwnedFd, _: BorrowedFd<'_>) -> bool {
        true
    }
}
