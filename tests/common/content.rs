//! Files with generated content, so that tests need not keep a copy.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Octets that are generated or compared at a time.
const CHUNK: usize = 1 << 20;

/// A content of `len` octets. Each octet depends on its offset and the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) len: u64,
}

impl Content {
    pub(crate) fn new(seed: u64, len: u64) -> Self {
        Self { seed, len }
    }

    /// Fills `buffer` with the octets from `offset` on. Returns their number.
    pub(crate) fn fill(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut at = 0;
        while at < len {
            let position = offset + at as u64;
            let word = splitmix64(self.seed ^ (position / 8)).to_le_bytes();
            let word = &word[(position % 8) as usize..];
            let take = word.len().min(len - at);
            buffer[at..at + take].copy_from_slice(&word[..take]);
            at += take;
        }
        len
    }

    /// The whole content.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).expect("it fits the memory of a test")];
        self.fill(0, &mut bytes);
        bytes
    }

    /// Writes the content to a new file.
    pub(crate) fn write(&self, path: &Path) {
        let mut file = BufWriter::new(create(path));
        let mut chunk = vec![0; CHUNK];
        let mut offset = 0;
        while offset < self.len {
            let len = self.fill(offset, &mut chunk);
            file.write_all(&chunk[..len]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            offset += len as u64;
        }
        file.flush().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Describes how the file at `path` differs from this content.
    pub(crate) fn difference(&self, path: &Path) -> Option<String> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) => return Some(format!("{} can't be read: {e}", name_of(path))),
        };
        let len = file.metadata().map_or(0, |m| m.len());
        if len != self.len {
            return Some(format!("{} has {len} octets instead of {}", name_of(path), self.len));
        }
        let (mut is, mut should_be) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut offset = 0;
        while offset < self.len {
            let len = self.fill(offset, &mut should_be);
            if let Err(e) = file.read_exact(&mut is[..len]) {
                return Some(format!("{} can't be read: {e}", name_of(path)));
            }
            if let Some(at) = first_difference(&is[..len], &should_be[..len]) {
                return Some(format!("{} differs from octet {} on", name_of(path), offset + at as u64));
            }
            offset += len as u64;
        }
        None
    }
}

/// Describes how the file at `path` differs from `should_be`.
pub(crate) fn difference(path: &Path, should_be: &[u8]) -> Option<String> {
    let is = match fs::read(path) {
        Ok(is) => is,
        Err(e) => return Some(format!("{} can't be read: {e}", name_of(path))),
    };
    let at = first_difference(&is, should_be);
    if at.is_none() && is.len() == should_be.len() {
        return None;
    }
    let at = at.unwrap_or(is.len().min(should_be.len()));
    Some(format!(
        "{} has {} octets, should have {}; it differs from octet {at} on",
        name_of(path),
        is.len(),
        should_be.len()
    ))
}

/// Makes a file of `len` zero octets that takes no room on the disk.
pub(crate) fn sparse_file(path: &Path, len: u64) {
    create(path).set_len(len).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Whether all octets are zero. `memcmp` is fast even in an unoptimised test program.
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 65464] = [0; 65464];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// Text of `len` octets with all difficulties of netascii: LF, CR, CR LF, NUL and octets from 0x80
/// on. The ends of blocks of `blksize` encoded octets split each pair that the encoding makes (`0d
/// 0a`, `0d 00`). The last octet is a CR.
pub(crate) fn netascii_text(len: usize, blksize: usize) -> Vec<u8> {
    const ALPHABET: &[u8] = b"abc \n\r\0\t~\x7f\x80\x8d\x8a\xff";
    let mut text = Vec::with_capacity(len);
    let (mut encoded, mut ends) = (0usize, 0u32);
    while text.len() < len {
        let random = splitmix64((blksize << 32 | text.len()) as u64);
        let octet = if text.len() + 1 == len {
            b'\r'
        } else if encoded % blksize == blksize - 1 {
            ends += 1;
            if ends.is_multiple_of(2) { b'\n' } else { b'\r' }
        } else if random.is_multiple_of(32) && text.len() + 2 < len && (encoded + 1) % blksize != blksize - 1
        {
            text.push(b'\r');
            encoded += 2;
            b'\n'
        } else {
            ALPHABET[(random >> 32) as usize % ALPHABET.len()]
        };
        text.push(octet);
        encoded += if matches!(octet, b'\r' | b'\n') { 2 } else { 1 };
    }
    text
}

/// Encodes octets as netascii (RFC 1350 §1, RFC 764): LF becomes CR LF, CR becomes CR NUL.
pub(crate) fn to_netascii(local: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(local.len() + local.len() / 8);
    for &octet in local {
        match octet {
            b'\n' => wire.extend_from_slice(b"\r\n"),
            b'\r' => wire.extend_from_slice(b"\r\0"),
            _ => wire.push(octet),
        }
    }
    wire
}

/// The sorted names of everything below a directory, with the lengths of files. An unchanged
/// directory has an equal listing.
pub(crate) fn listing(directory: &Path) -> Vec<(PathBuf, u64)> {
    fn walk(directory: &Path, found: &mut Vec<(PathBuf, u64)>) {
        for entry in fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
            let entry = entry.unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            found.push((entry.path(), if metadata.is_file() { metadata.len() } else { 0 }));
            if metadata.is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, &mut found);
    found.sort();
    found
}

fn create(path: &Path) -> File {
    File::create_new(path).unwrap_or_else(|e| panic!("{} can't be made: {e}", path.display()))
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn first_difference(is: &[u8], should_be: &[u8]) -> Option<usize> {
    let shared = is.len().min(should_be.len());
    if is[..shared] == should_be[..shared] {
        return None;
    }
    is.iter().zip(should_be).position(|(a, b)| a != b)
}

fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
