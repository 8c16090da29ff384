//! A file of the directory, being read.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, retry_on_intr};

use super::tree::Tree;
use crate::error::{Failure, Fault};
use crate::store::{Name, Slab, Source, io_fault};

#[derive(Debug)]
pub(super) struct DirectorySource {
    file: OwnedFd,
    /// The file as it was at open: its size is what is served.
    opened: Stat,
    path: String,
    /// The file system doesn't know `RWF_NOWAIT`: remembered, so that it is asked once only.
    never_cached: AtomicBool,
}

impl DirectorySource {
    pub(super) fn open(tree: &Tree, name: &Name, path: String) -> Result<Self, Fault> {
        let fault = |error| io_fault(&error, &path);
        refuse_special(&tree.look(name).map_err(fault)?, &path)?;
        let file = tree.open_file(name).map_err(fault)?;
        // Looked at again: only what was opened counts, the name may lead elsewhere by now (SAFE-09).
        let opened = fstat(&file).map_err(|errno| fault(errno.into()))?;
        refuse_special(&opened, &path)?;
        Ok(Self { file, opened, path, never_cached: AtomicBool::new(false) })
    }

    /// How much of the file a call for `length` octets at `offset` is due. A file whose size is 0 is an empty file,
    /// even where reading it would give something (`/proc`): its end is what the size says (SAFE-12).
    fn due(&self, offset: u64, length: usize) -> usize {
        let left = size(&self.opened).saturating_sub(offset);
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }

    fn slab(&self, offset: u64, octets: Vec<u8>) -> Slab {
        let end = offset.saturating_add(octets.len() as u64) >= size(&self.opened);
        Slab { bytes: Bytes::from(octets), end }
    }

    /// Looks, after octets were read, whether they are still those of the file that was opened (R1350-58).
    ///
    /// - Smaller: it was truncated, and what is left may be another's beginning.
    /// - The same size, but written to since: rewritten in place. What was read may be a mixture.
    /// - Larger: appended to, as a log is; what was there at open is still there, and is what is served. A file that
    ///   is rewritten in place with something longer looks the same once it is done; it is caught only if one of
    ///   these looks falls into the time when it is shorter.
    ///
    /// The time of the last status change (ctime) doesn't count: it moves when an upload replaces the file's name,
    /// and this transfer is to end well with the old content then (WR-08).
    fn verify(&self) -> Result<(), Fault> {
        let now = fstat(&self.file).map_err(|errno| io_fault(&errno.into(), &self.path))?;
        let (before, after) = (size(&self.opened), size(&now));
        let rewritten = after == before
            && (now.st_mtime, now.st_mtime_nsec) != (self.opened.st_mtime, self.opened.st_mtime_nsec);
        if after < before {
            Err(self.changed(format_args!("shrank from {before} to {after} octets")))
        } else if rewritten {
            Err(self.changed("was rewritten in place"))
        } else {
            Ok(())
        }
    }

    fn changed(&self, how: impl std::fmt::Display) -> Fault {
        Fault::new(Failure::Changed, format_args!("{} {how}", self.path))
    }
}

impl Source for DirectorySource {
    fn size(&self) -> Option<u64> {
        Some(size(&self.opened))
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        let due = self.due(offset, length);
        // Read into memory that nobody has cleared first.
        let mut octets = Vec::with_capacity(due);
        while octets.len() < due {
            let position = offset + octets.len() as u64;
            let read = retry_on_intr(|| pread(&self.file, spare_capacity(&mut octets), position));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(errno) => return Err(io_fault(&errno.into(), &self.path)),
            }
        }
        octets.truncate(due);
        self.verify()?;
        if octets.len() < due {
            // Its size says otherwise still: some file systems (sysfs) only guess at sizes.
            return Err(self.changed(format_args!("ended {} octets early", due - octets.len())));
        }
        Ok(self.slab(offset, octets))
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        let due = self.due(offset, length);
        if due == 0 {
            self.verify()?;
            return Ok(Some(self.slab(offset, Vec::new())));
        }
        if self.never_cached.load(Relaxed) {
            return Ok(None);
        }
        // rustix has no `preadv2` into uninitialised memory: clearing it is some 2 % of what the read itself costs.
        let mut octets = vec![0; due];
        let read = retry_on_intr(|| {
            preadv2(&self.file, &mut [IoSliceMut::new(&mut octets)], offset, ReadWriteFlags::NOWAIT)
        });
        match read {
            Ok(count) if count == due => {}
            // Part of it is cached, or none: whoever may wait fetches it. Also if the file ends early: `fetch` judges.
            Ok(_) | Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.never_cached.store(true, Relaxed);
                return Ok(None);
            }
            Err(errno) => return Err(io_fault(&errno.into(), &self.path)),
        }
        self.verify()?;
        Ok(Some(self.slab(offset, octets)))
    }
}

fn refuse_special(stat: &Stat, path: &str) -> Result<(), Fault> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Fault::new(Failure::NotRegular, format_args!("{path} is a {other:?}"))),
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
