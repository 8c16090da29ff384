//! Uploads to the directory: the checks before the first octet, and writing.

use std::io::Write;
use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::fs::{Access, Advice, fadvise, fstatvfs};

use super::DirectoryOptions;
use super::place::Place;
use super::publish::publish;
use super::replaced::Replaced;
use super::temporary::{MODE, Temporary};
use super::tree::{Tree, may};
use crate::error::{Failure, Fault, Limit};
use crate::limits::{FREE_CHECK_OCTETS, NAME_COMPONENT_OCTETS_MAX, WRITEBACK_OCTETS};
use crate::store::{Name, PARTIAL_SUFFIX, Sink, partial_name_too_long};

#[derive(Debug)]
pub(super) struct DirectorySink {
    options: DirectoryOptions,
    place: Place,
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
    ) -> Result<Self, Fault> {
        let place = Place::find(tree, name, options.create_dirs)?;
        if place.missing.is_empty() {
            place.check_target(place.ancestor.as_fd(), options.overwrite)?;
        }
        may(place.ancestor.as_fd(), b".", Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|errno| place.directory_fault(errno))?;
        let mut sink = Self {
            options,
            place,
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
            let detail = format_args!("{}: an upload may have {limit} octets", self.place.path);
            return Err(Fault::limited(Failure::TooLarge, Limit::UploadSize, detail));
        }
        if octets > self.octets_unasked || octets == 0 {
            let disk = fstatvfs(&self.place.ancestor).map_err(|errno| self.place.fault(errno))?;
            let reserve = self.options.min_free_octets;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(reserve);
            // Even an empty file is refused if the reserve is already used.
            if octets > free || (free == 0 && reserve > 0) {
                return Err(self.no_room(octets, free));
            }
            self.octets_unasked = free.min(FREE_CHECK_OCTETS);
        }
        Ok(())
    }

    fn no_room(&self, octets: u64, free: u64) -> Fault {
        let (path, reserve, wanted) = (&self.place.path, self.options.min_free_octets, octets.max(1));
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

    fn write_all(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let count = octets.len() as u64;
        self.admit(count)?;
        if count > 0 {
            let temporary = self.take_temporary()?;
            let written = self.temporary.insert(temporary).file.write_all(octets);
            written.map_err(|error| self.place.fault(error))?;
        }
        self.octets_written += count;
        self.octets_unasked = self.octets_unasked.saturating_sub(count);
        self.start_writeback();
        Ok(())
    }

    /// Asks the kernel to start writing, because the peer waits for the final `fsync`.
    fn start_writeback(&mut self) {
        let Some(length) = NonZeroU64::new(self.octets_written - self.octets_flushed) else { return };
        if !self.options.durable || length.get() < WRITEBACK_OCTETS {
            return;
        }
        if let Some(temporary) = &self.temporary {
            let _ = fadvise(&temporary.file, self.octets_flushed, Some(length), Advice::DontNeed);
        }
        self.octets_flushed = self.octets_written;
    }

    /// The temporary file, made if there is none.
    fn take_temporary(&mut self) -> Result<Temporary, Fault> {
        if let Some(temporary) = self.temporary.take() {
            return Ok(temporary);
        }
        let (options, place) = (self.options, &self.place);
        // An upload that replaces a file must not be readable by more users before that, either.
        let replaced = if options.overwrite && place.missing.is_empty() {
            Replaced::find(place.ancestor.as_fd(), &place.file_name).ok().flatten()
        } else {
            None
        };
        let mode = replaced.map_or(MODE, |replaced| MODE & replaced.mode());
        let made = Temporary::create(&place.ancestor, options.unnamed_temporaries, mode);
        made.map_err(|errno| place.fault(errno))
    }
}

impl Sink for DirectorySink {
    fn path(&self) -> &str {
        &self.place.path
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
        publish(&mut self.take_temporary()?, &self.place, self.options)
    }

    fn publish_partial(mut self: Box<Self>) -> Result<String, Fault> {
        self.place.file_name.extend_from_slice(PARTIAL_SUFFIX.as_bytes());
        if self.place.file_name.len() > NAME_COMPONENT_OCTETS_MAX {
            return Err(partial_name_too_long(&self.place.path));
        }
        self.place.path.push_str(PARTIAL_SUFFIX);
        // Never replaces a file, even if complete uploads may: the other file may be complete.
        self.options.overwrite = false;
        let path = self.place.path.clone();
        match self.publish() {
            Err(fault) if fault.failure == Failure::Exists => {
                Err(Fault::new(Failure::Exists, format_args!("not kept: {path} already exists")))
            }
            published => published.map(|()| path),
        }
    }
}
