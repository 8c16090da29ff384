//! Reading of files of the directory.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::io::IoSliceMut;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Stat, fstat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, retry_on_intr};
use tokio::task::spawn_blocking;

use super::open_files::{OpenFile, OpenFiles};
use super::slabs::{Found, Reading, SharedSlab, memory_for};
use super::tree::{Lookup, READ, Tree, check_regular};
use crate::error::{Failure, Fault};
use crate::limits::SLAB_OCTETS;
use crate::store::errno::errno_fault;
use crate::store::{Later, Name, Slab, Source};

#[derive(Debug)]
pub(super) struct DirectorySource {
    file: Arc<OpenFile>,
    path: String,
    /// A slab that this transfer is going to read, and others wait for.
    claimed: Mutex<Option<Reading>>,
}

/// A part of a file within one slab.
#[derive(Debug, Clone, Copy)]
struct Piece {
    number: u64,
    /// Offset of the slab in the file.
    slab_offset: u64,
    slab_length: usize,
    /// Offset of the piece in the slab.
    start: usize,
    length: usize,
}

impl DirectorySource {
    pub(super) fn open(tree: &Tree, files: &OpenFiles, name: &Name, lookup: Lookup) -> Result<Self, Fault> {
        let path = tree.path_of(name);
        if lookup == Lookup::Cached
            && let Some(file) = files.find_named(name, |name| tree.look_again(name))
        {
            return Ok(Self::new(file, path));
        }
        let fault = |errno| open_fault(tree, errno, name, &path);
        let seen = tree.look(name, lookup).map_err(fault)?;
        check_regular(&seen, &path)?;
        if let Some(file) = files.find(&seen) {
            return Ok(Self::new(file, path));
        }
        let descriptor = tree.open_name(name, lookup, READ).map_err(fault)?;
        // Checked again, because the name may lead elsewhere by now (SAFE-09).
        let opened = fstat(&descriptor).map_err(fault)?;
        check_regular(&opened, &path)?;
        Ok(Self::new(files.add(name, descriptor, opened), path))
    }

    fn new(file: Arc<OpenFile>, path: String) -> Self {
        Self { file, path, claimed: Mutex::default() }
    }

    /// Whether fetching this slab waits for nobody: it is here, or this transfer reads it.
    fn claim(&self, number: u64) -> bool {
        let mut claimed = self.claimed();
        if claimed.as_ref().is_some_and(|reading| reading.number == number) {
            return true;
        }
        *claimed = self.file.slabs.claim(number);
        claimed.is_some() || matches!(self.file.slabs.find(number), Found::Here(_))
    }

    /// A panic elsewhere leaves it consistent, because each change is a single step.
    fn claimed(&self) -> MutexGuard<'_, Option<Reading>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a slab once another transfer has read it, or reads it if that failed.
    async fn fetch_after(self, number: u64, offset: u64, length: usize) -> Result<Slab, Fault> {
        loop {
            self.file.slabs.settled(number).await;
            if let Some(slab) = self.fetch_cached(offset, length)? {
                return Ok(slab);
            }
            if self.claim(number) {
                break;
            }
        }
        match spawn_blocking(move || self.fetch(offset, length)).await {
            Ok(slab) => slab,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Err(Failure::ShuttingDown.into()),
        }
    }

    /// How many octets a call returns. The size decides, even if reads return more (`/proc`,
    /// SAFE-12).
    fn due(&self, offset: u64, length: usize) -> usize {
        let left = size(&self.file.opened).saturating_sub(offset);
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }

    /// The piece for a call, if it is within one slab.
    fn piece(&self, offset: u64, due: usize) -> Option<Piece> {
        let start = usize::try_from(offset % SLAB_OCTETS as u64).ok()?;
        let slab_offset = offset - start as u64;
        let slab_length = self.due(slab_offset, SLAB_OCTETS);
        let fits = due > 0 && start + due <= slab_length;
        let number = slab_offset / SLAB_OCTETS as u64;
        fits.then_some(Piece { number, slab_offset, slab_length, start, length: due })
    }

    fn find(&self, piece: Piece) -> Result<Found, Fault> {
        let found = self.file.slabs.find(piece.number);
        // One verified read of the whole file is no mixture, whatever happened since.
        if matches!(found, Found::Here(_)) && size(&self.file.opened) != piece.length as u64 {
            self.verify()?;
        }
        Ok(found)
    }

    fn slab(&self, offset: u64, bytes: Bytes) -> Slab {
        let end = offset.saturating_add(bytes.len() as u64) >= size(&self.file.opened);
        Slab { bytes, end }
    }

    fn slab_of(&self, piece: Piece, shared: Arc<SharedSlab>) -> Slab {
        self.file.keep(&shared);
        self.slab(piece.slab_offset + piece.start as u64, shared.bytes(piece.start, piece.length))
    }

    /// Reads all of `due` octets of the opened file; may block.
    fn read(&self, offset: u64, due: usize) -> Result<Vec<u8>, Fault> {
        // Read into uninitialised memory.
        let mut octets = Vec::with_capacity(due);
        while octets.len() < due {
            let position = offset + octets.len() as u64;
            let read = retry_on_intr(|| pread(&self.file.descriptor, spare_capacity(&mut octets), position));
            if read.map_err(|errno| errno_fault(errno, &self.path))? == 0 {
                break;
            }
        }
        octets.truncate(due);
        self.verify()?;
        if octets.len() < due {
            // The size hasn't changed: some file systems (sysfs) only estimate sizes.
            return Err(self.changed(format_args!("ended {} octets early", due - octets.len())));
        }
        Ok(octets)
    }

    /// The same, if the page cache has the octets.
    fn read_cached(&self, offset: u64, due: usize) -> Result<Option<Vec<u8>>, Fault> {
        if self.file.never_cached.load(Relaxed) {
            return Ok(None);
        }
        // rustix has no `preadv2` into uninitialised memory.
        let mut octets = memory_for(due);
        let (file, now) = (&self.file.descriptor, ReadWriteFlags::NOWAIT);
        let read = retry_on_intr(|| preadv2(file, &mut [IoSliceMut::new(&mut octets)], offset, now));
        match read {
            Ok(count) if count == due => {}
            // Not all cached: left to a call that may block. `fetch` handles an early end.
            Ok(_) | Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.file.never_cached.store(true, Relaxed);
                return Ok(None);
            }
            Err(errno) => return Err(errno_fault(errno, &self.path)),
        }
        self.verify()?;
        Ok(Some(octets))
    }

    /// Checks after a read whether the octets are still those of the opened file (R1350-58). A
    /// larger file was appended to, like a log: the part from open is still there. The time of the
    /// last status change (ctime) doesn't count: it moves when an upload replaces the file's name,
    /// and this transfer then has to complete with the old content (WR-08).
    fn verify(&self) -> Result<(), Fault> {
        let now = fstat(&self.file.descriptor).map_err(|errno| errno_fault(errno, &self.path))?;
        let opened = &self.file.opened;
        let written_at = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
        match size(&now).cmp(&size(opened)) {
            Less => Err(self.changed(format_args!("shrank from {} to {} octets", size(opened), size(&now)))),
            Equal if written_at(&now) != written_at(opened) => Err(self.changed("was rewritten in place")),
            Equal | Greater => Ok(()),
        }
    }

    fn changed(&self, how: impl std::fmt::Display) -> Fault {
        Fault::new(Failure::Changed, format_args!("{} {how}", self.path))
    }
}

impl Source for DirectorySource {
    fn size(&self) -> Option<u64> {
        Some(size(&self.file.opened))
    }

    fn modified(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.file.opened.st_mtime).ok()?;
        let since_epoch = Duration::from_secs(seconds) + Duration::from_nanos(self.file.opened.st_mtime_nsec);
        SystemTime::UNIX_EPOCH.checked_add(since_epoch)
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        let due = self.due(offset, length);
        let Some(piece) = self.piece(offset, due) else {
            return Ok(self.slab(offset, self.read(offset, due)?.into()));
        };
        let shared = match self.find(piece)? {
            Found::Here(shared) => shared,
            _ if piece.is_rest() => {
                let read = || self.read(piece.slab_offset, piece.slab_length);
                match self.claimed().take_if(|reading| reading.number == piece.number) {
                    Some(reading) => reading.read(read)?,
                    None => self.file.slabs.find_or_read(piece.number, read)?,
                }
            }
            _ => return Ok(self.slab(offset, self.read(offset, due)?.into())),
        };
        Ok(self.slab_of(piece, shared))
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        let due = self.due(offset, length);
        if due == 0 {
            self.verify()?;
            return Ok(Some(self.slab(offset, Bytes::new())));
        }
        let private = || Ok(self.read_cached(offset, due)?.map(|octets| self.slab(offset, octets.into())));
        let Some(piece) = self.piece(offset, due) else { return private() };
        let shared = match self.find(piece)? {
            Found::Here(shared) => shared,
            _ if !piece.is_rest() => return private(),
            Found::Reading => return Ok(None),
            Found::Missing => match self.read_cached(piece.slab_offset, piece.slab_length)? {
                Some(octets) => self.file.slabs.add(piece.number, octets),
                None => return Ok(None),
            },
        };
        Ok(Some(self.slab_of(piece, shared)))
    }

    /// One read that hangs must not take all threads of an arbiter: only one transfer takes a
    /// thread.
    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        let piece = self.piece(offset, self.due(offset, length)).filter(Piece::is_rest)?;
        if self.claim(piece.number) {
            return None;
        }
        let another = Self::new(Arc::clone(&self.file), self.path.clone());
        Some(Box::pin(another.fetch_after(piece.number, offset, length)))
    }

    /// Only closing the descriptor may block, and `Descriptor` handles that.
    fn drops_at_once(&self) -> bool {
        true
    }
}

impl Piece {
    /// Whether the piece reaches to the end of its slab: then the whole slab is read and shared. A
    /// peer that wants less is unproven, and must not make the server hold a whole slab.
    fn is_rest(&self) -> bool {
        self.start + self.length == self.slab_length
    }
}

/// Why a file can't be opened for reading. Some file systems (FAT, NTFS) return EINVAL for names
/// that they can't store, open(2): there is no such file.
fn open_fault(tree: &Tree, errno: Errno, name: &Name, path: &str) -> Fault {
    match errno {
        Errno::INVAL => Fault::new(Failure::NotFound, format_args!("{path}: {errno}")),
        _ => tree.fault(errno, name, path),
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests;
