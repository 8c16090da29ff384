//! Uploads to the directory: the checks before the first octet, and writing.

use std::fmt;
use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::fs::{Access, Advice, Mode, fadvise, fstatvfs};
use rustix::io::{retry_on_intr, write};

use super::DirectoryOptions;
use super::place::{Place, check_target, place_fault};
use super::publish;
use super::replaced::Replaced;
use super::temporary::{MODE, Temporary};
use super::tree::{Tree, may};
use crate::error::{Failure, Fault, Limit};
use crate::limits::{FREE_CHECK_OCTETS, NAME_COMPONENT_OCTETS_MAX, WRITEBACK_OCTETS};
use crate::store::{Name, PARTIAL_SUFFIX, Sink, io_fault, partial_name_too_long};

#[derive(Debug)]
pub(super) struct DirectorySink {
    options: DirectoryOptions,
    place: Place,
    path: String,
    /// Made with the first octet: a request with a forged address must not create files (WR-10).
    temporary: Option<Temporary>,
    octets_written: u64,
    /// Those that the kernel was asked to write back.
    octets_flushed: u64,
    /// Octets that may be written before the free space is checked again.
    octets_unasked: u64,
    /// The error that ended the upload. An incomplete file is never published.
    failed: Option<Fault>,
}

impl DirectorySink {
    pub(super) fn create(
        tree: &Tree,
        options: DirectoryOptions,
        name: &Name,
        claimed: Option<u64>,
        path: String,
    ) -> Result<Self, Fault> {
        let place = Place::find(tree, name, options.create_dirs)
            .map_err(|error| place_fault(tree, &error, name, options.create_dirs, &path))?;
        if place.missing.is_empty() {
            check_target(place.ancestor.as_fd(), &place.file_name, options.overwrite, &path)?;
        }
        may(place.ancestor.as_fd(), b".", Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| place.directory_fault(&error, &path))?;
        let mut sink = Self {
            options,
            place,
            path,
            temporary: None,
            octets_written: 0,
            octets_flushed: 0,
            octets_unasked: 0,
            failed: None,
        };
        sink.admit(claimed.unwrap_or(0))?;
        Ok(sink)
    }

    /// Checks that `octets` more are allowed and that there is room for them.
    fn admit(&mut self, octets: u64) -> Result<(), Fault> {
        let limit = self.options.upload_octets_max;
        if self.octets_written.saturating_add(octets) > limit {
            let detail = format_args!("{}: an upload may have {limit} octets", self.path);
            return Err(Fault::limited(Failure::TooLarge, Limit::UploadSize, detail));
        }
        if octets > self.octets_unasked || octets == 0 {
            let free = self.octets_free()?;
            if octets > free || self.disk_is_at_its_reserve(free) {
                return Err(self.no_room(octets, free));
            }
            self.octets_unasked = free.min(FREE_CHECK_OCTETS);
        }
        Ok(())
    }

    /// The error for `octets` more if only `free` are left.
    fn no_room(&self, octets: u64, free: u64) -> Fault {
        let (path, reserve, wanted) = (&self.path, self.options.min_free_octets, octets.max(1));
        let reserved = match reserve {
            0 => String::new(),
            _ => format!(" besides the reserve of {reserve} (--min-free)"),
        };
        let detail = format_args!("{path}: no room for {wanted} octets more: {free} are free{reserved}");
        // A full disk without a reserve is not a limit of ours.
        if reserve > 0 && octets <= free.saturating_add(reserve) {
            Fault::limited(Failure::DiskFull, Limit::FreeDisk, detail)
        } else {
            Fault::new(Failure::DiskFull, detail)
        }
    }

    /// Even an empty file is refused if the reserve is already used.
    fn disk_is_at_its_reserve(&self, octets_free: u64) -> bool {
        octets_free == 0 && self.options.min_free_octets > 0
    }

    /// Octets free above the reserve.
    fn octets_free(&self) -> Result<u64, Fault> {
        let disk = fstatvfs(&self.place.ancestor).map_err(|errno| io_fault(&errno.into(), &self.path))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(free.saturating_sub(self.options.min_free_octets))
    }

    fn write_all(&mut self, mut octets: &[u8]) -> Result<(), Fault> {
        self.admit(octets.len() as u64)?;
        while !octets.is_empty() {
            let written = {
                let file = self.temporary()?.file();
                retry_on_intr(|| write(file, octets))
            };
            match written {
                Ok(0) => return Err(self.fault(Failure::DiskFull, "the file system took no more octets")),
                Ok(count) => {
                    octets = &octets[count..];
                    self.octets_written += count as u64;
                    self.octets_unasked = self.octets_unasked.saturating_sub(count as u64);
                }
                Err(errno) => return Err(io_fault(&errno.into(), &self.path)),
            }
        }
        self.start_writeback();
        Ok(())
    }

    /// Asks the kernel to start writing, because the peer waits for the final `fsync`. No crate has
    /// `sync_file_range` without `unsafe`; on Linux this advice starts the same writeback and only
    /// drops pages that are already on disk. Failures don't matter.
    fn start_writeback(&mut self) {
        let Some(length) = NonZeroU64::new(self.octets_written - self.octets_flushed) else { return };
        if !self.options.durable || length.get() < WRITEBACK_OCTETS {
            return;
        }
        if let Some(temporary) = &self.temporary {
            let _ = fadvise(temporary.file(), self.octets_flushed, Some(length), Advice::DontNeed);
        }
        self.octets_flushed = self.octets_written;
    }

    fn temporary(&mut self) -> Result<&mut Temporary, Fault> {
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => {
                let (directory, mode) = (&self.place.ancestor, self.temporary_mode());
                Temporary::create(directory, self.options.unnamed_temporaries, mode)
                    .map_err(|error| io_fault(&error, &self.path))?
            }
        };
        Ok(self.temporary.insert(temporary))
    }

    /// An upload that replaces a file must not be readable by more users before that, either.
    fn temporary_mode(&self) -> Mode {
        let replaced = if self.options.overwrite && self.place.missing.is_empty() {
            Replaced::find(self.place.ancestor.as_fd(), &self.place.file_name).ok().flatten()
        } else {
            None
        };
        replaced.map_or(MODE, |replaced| MODE & replaced.mode())
    }

    fn fault(&self, failure: Failure, detail: impl fmt::Display) -> Fault {
        Fault::new(failure, format_args!("{}: {detail}", self.path))
    }
}

impl Sink for DirectorySink {
    fn path(&self) -> &str {
        &self.path
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone());
        }
        self.write_all(octets).inspect_err(|fault| {
            self.failed = Some(fault.clone());
            // The disk may be full: frees the space before the peer gets the error.
            self.temporary = None;
        })
    }

    fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        if let Some(fault) = self.failed.take() {
            return Err(fault);
        }
        self.temporary()?;
        let Self { options, place, path, temporary, .. } = *self;
        let Some(mut temporary) = temporary else {
            return Err(Fault::new(Failure::Internal, "an upload lost its temporary file"));
        };
        publish::publish(&mut temporary, &place, options, &path)
    }

    fn publish_partial(mut self: Box<Self>) -> Result<String, Fault> {
        let name = [&*self.place.file_name, PARTIAL_SUFFIX.as_bytes()].concat();
        if name.len() > NAME_COMPONENT_OCTETS_MAX {
            return Err(partial_name_too_long(&self.path));
        }
        self.place.file_name = name.into_boxed_slice();
        self.path.push_str(PARTIAL_SUFFIX);
        // Never replaces a file, even if complete uploads may: the other file may be complete.
        self.options.overwrite = false;
        let path = self.path.clone();
        match self.publish() {
            Err(fault) if fault.failure == Failure::Exists => {
                Err(Fault::new(Failure::Exists, format_args!("not kept: {path} already exists")))
            }
            published => published.map(|()| path),
        }
    }
}
