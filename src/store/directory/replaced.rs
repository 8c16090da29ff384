//! A file that an upload replaces, and the attributes that the new file keeps.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    Gid, Mode, OFlags, Stat, Uid, XattrFlags, fchmod, fchown, fremovexattr, fsetxattr, fstat, getxattr,
    openat,
};
use rustix::io::{Errno, retry_on_intr};

use super::temporary::proc_path;
use super::tree::LOOK;

/// The permissions that are kept: content from the network never runs with its owner's rights.
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
    pub(super) fn find(directory: BorrowedFd<'_>, file_name: &[u8]) -> Result<Option<Self>, Errno> {
        let file = match openat(directory, file_name, LOOK | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => file?,
        };
        let stat = fstat(&file)?;
        Ok(Some(Self { file, stat }))
    }

    /// The permissions, without the bits that are never kept.
    pub(super) fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.stat.st_mode & KEPT)
    }

    /// Passes the group, the ACL, the mode and the owner on to `heir`, as far as this process may.
    /// If the group differs, it gets the permissions of all others.
    pub(super) fn hand_over_to(&self, heir: BorrowedFd<'_>) -> Result<(), Errno> {
        let made = fstat(heir)?;
        let (owner, group) = (Uid::from_raw(self.stat.st_uid), Gid::from_raw(self.stat.st_gid));
        let is_same_group = made.st_gid == group.as_raw() || fchown(heir, None, Some(group)).is_ok();
        let is_same_acl = copy_acl(&self.file, heir);
        let mut mode = self.mode().as_raw_mode();
        if !(is_same_group && is_same_acl) {
            mode &= !GROUP | ((mode & OTHERS) << 3);
        }
        // In a file with an ACL, the group's permissions are those of the mask.
        match retry_on_intr(|| fchmod(heir, Mode::from_raw_mode(mode))) {
            // A file system without permissions.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(errno),
        }
        // Last, because a process can't change the mode of a file that it has given away.
        if made.st_uid != owner.as_raw() {
            let _ = fchown(heir, Some(owner), None);
        }
        Ok(())
    }
}

/// Gives `heir` the POSIX ACL, acl(5), of `file`, or none. Returns whether both have the same now.
fn copy_acl(file: &OwnedFd, heir: BorrowedFd<'_>) -> bool {
    const NAME: &str = "system.posix_acl_access";
    /// The longest attribute of Linux (`XATTR_SIZE_MAX`).
    const OCTETS_MAX: usize = 64 << 10;
    let mut acl = Vec::with_capacity(OCTETS_MAX);
    // A file opened with `O_PATH` has its attributes only through this path.
    match getxattr(proc_path(file), NAME, spare_capacity(&mut acl)) {
        Ok(_) => fsetxattr(heir, NAME, &acl, XattrFlags::empty()).is_ok(),
        Err(Errno::NODATA) => matches!(fremovexattr(heir, NAME), Ok(()) | Err(Errno::NODATA)),
        // A file system without ACLs.
        Err(Errno::OPNOTSUPP) => true,
        Err(_) => false,
    }
}
