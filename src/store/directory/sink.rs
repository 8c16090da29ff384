//! An upload to the directory: what is checked before its first octet, and how it is written.

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
    /// Made by the first octet: a request with a forged address must not make files (WR-10).
    temporary: Option<Temporary>,
    octets_written: u64,
    /// Of those, octets that the kernel was told to write back.
    octets_flushed: u64,
    /// Octets that may be written before the free space is asked for again.
    octets_unasked: u64,
    /// Why the upload is over. A file that lacks octets is never published.
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

    /// Whether `octets` more are allowed, and there is room for them.
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

    /// `octets` more are too many where so many are `free`.
    fn no_room(&self, octets: u64, free: u64) -> Fault {
        let (path, reserve, wanted) = (&self.path, self.options.min_free_octets, octets.max(1));
        let reserved = match reserve {
            0 => String::new(),
            _ => format!(" besides the reserve of {reserve} (--min-free)"),
        };
        let detail = format_args!("{path}: no room for {wanted} octets more: {free} are free{reserved}");
        // (A disk that is full without a reserve is no limit of ours.)
        if reserve > 0 && octets <= free.saturating_add(reserve) {
            Fault::limited(Failure::DiskFull, Limit::FreeDisk, detail)
        } else {
            Fault::new(Failure::DiskFull, detail)
        }
    }

    /// Even an empty file is refused where the reserve is used up already.
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

    /// Tells the kernel to start writing, so that the last `fsync`, while which the peer waits, has little left to
    /// do. No crate offers `sync_file_range` without `unsafe`; on Linux this advice starts the same writeback and
    /// drops only pages that are on the disk already. It is advice: if it fails, nothing is lost.
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

    /// What is to replace a file that others may not read isn't theirs to read before, either.
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
            // The disk may be full: its room is given back now, not when the peer has heard of it.
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
        // It takes no other's place, not even where whole uploads may: the other may be a whole
        // file.
        self.options.overwrite = false;
        let path = self.path.clone();
        match self.publish() {
            Err(fault) if fault.failure == Failure::Exists => {
                Err(Fault::new(Failure::Exists, format_args!("not kept: {path} is there already")))
            }
            published => published.map(|()| path),
        }
    }
}
