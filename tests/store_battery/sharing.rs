//! Readers of one file share its slabs in memory, but never the slabs of another file or of an
//! older state.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stagecoach::internals::limits::SLAB_OCTETS;
use stagecoach::store::{Slab, Source, Store};
use tempfile::TempDir;

use crate::support::{directory, name, options, read, scratch};

const SLABS: usize = 3;

/// A file of some slabs, old enough for its times to show any later change.
fn settled(octets: &[u8]) -> (TempDir, PathBuf, impl Store) {
    let root = scratch();
    let path = root.path().join("file");
    fs::write(&path, octets).unwrap();
    let store = directory(root.path(), options());
    settle(&path);
    (root, path, store)
}

fn settle(path: &Path) {
    let changed = fs::metadata(path).unwrap().modified().unwrap();
    while SystemTime::now().duration_since(changed).unwrap_or_default() < Duration::from_millis(300) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn content() -> Vec<u8> {
    (0..SLABS * SLAB_OCTETS - 100).map(|at| (at / 7) as u8).collect()
}

/// A slab, and its address in memory.
fn place(source: &dyn Source, slab: usize) -> (*const u8, Slab) {
    let offset = (slab * SLAB_OCTETS) as u64;
    let slab = source.fetch(offset, SLAB_OCTETS).unwrap();
    (slab.bytes.as_ptr(), slab)
}

#[test]
fn a_thousand_readers_share_one_descriptor() {
    let content = content();
    let (_root, path, store) = settled(&content);
    let sources: Vec<_> = (0..1000).map(|_| store.open(&name("file")).unwrap()).collect();
    for slab in 0..SLABS {
        let (first, held) = place(&*sources[0], slab);
        let others = sources.iter().map(|source| place(&**source, slab)).collect::<Vec<_>>();
        assert!(others.iter().all(|(place, other)| *place == first && *other == held));
        let part = sources[1].fetch((slab * SLAB_OCTETS) as u64 + 10, 500).unwrap();
        assert_eq!(part.bytes.as_ptr(), first.wrapping_add(10));
        // A read that does not wait finds the same slab.
        let cached = sources[2].fetch_cached((slab * SLAB_OCTETS) as u64, SLAB_OCTETS).unwrap();
        assert_eq!(cached.unwrap().bytes.as_ptr(), first);
        let until = content.len().min((slab + 1) * SLAB_OCTETS);
        assert_eq!(held.bytes, content[slab * SLAB_OCTETS..until]);
    }
    assert_eq!(open_descriptors_of(&path), 1);
}

fn open_descriptors_of(file: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .filter(|entry| fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(|path| path == file))
        .count()
}

#[test]
fn a_later_reader_shares_the_slabs_of_others() {
    let (_root, _path, store) = settled(&content());
    let (first, late) = (store.open(&name("file")).unwrap(), store.open(&name("file")).unwrap());
    let place_then = place(&*first, 0).0;
    // Otherwise the allocator might reuse the address of a freed slab.
    let _others: Vec<_> = (0..8).map(|_| vec![0_u8; SLAB_OCTETS]).collect();
    assert_eq!(place(&*late, 0).0, place_then);
}

#[test]
fn an_unanswered_request_reads_no_slab() {
    let (_root, _path, store) = settled(&content());
    let (forged, proven) = (store.open(&name("file")).unwrap(), store.open(&name("file")).unwrap());
    let first_block = forged.fetch(0, 512).unwrap();
    let slab = proven.fetch(512, SLAB_OCTETS - 512).unwrap();
    assert_ne!(slab.bytes.as_ptr(), first_block.bytes.as_ptr().wrapping_add(512));
    // The slab is in memory now, so the read costs nothing.
    assert_eq!(forged.fetch(0, 512).unwrap().bytes.as_ptr(), slab.bytes.as_ptr().wrapping_sub(512));
}

#[test]
fn a_rewritten_file_with_an_old_time_is_opened_anew() {
    let old = vec![b'o'; SLABS * SLAB_OCTETS];
    let (_root, path, store) = settled(&old);
    let before = store.open(&name("file")).unwrap();
    let held = place(&*before, 0);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&vec![b'n'; SLABS * SLAB_OCTETS]).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(read(&store, "file").unwrap(), vec![b'n'; SLABS * SLAB_OCTETS]);
    drop(held);
}

#[test]
fn a_replaced_file_is_opened_anew_by_new_readers() {
    let (root, path, store) = settled(&vec![b'o'; SLABS * SLAB_OCTETS]);
    let before: Arc<dyn Source> = store.open(&name("file")).unwrap();
    assert_eq!(place(&*before, 0).1.bytes, vec![b'o'; SLAB_OCTETS]);
    fs::write(root.path().join("other"), vec![b'n'; SLABS * SLAB_OCTETS]).unwrap();
    fs::rename(root.path().join("other"), &path).unwrap();
    let after = store.open(&name("file")).unwrap();
    for slab in 0..SLABS {
        assert_eq!(place(&*before, slab).1.bytes, vec![b'o'; SLAB_OCTETS]);
        assert_eq!(place(&*after, slab).1.bytes, vec![b'n'; SLAB_OCTETS]);
    }
}

/// The clock of a file system advances in steps. A file may change twice within one step.
#[test]
fn a_file_changed_twice_at_once_is_opened_anew() {
    let root = scratch();
    let path = root.path().join("file");
    let store = directory(root.path(), options());
    File::create(&path).unwrap();
    let mut sources = Vec::new();
    for round in 0..200 {
        let octets = vec![round as u8; SLAB_OCTETS];
        OpenOptions::new().write(true).open(&path).unwrap().write_all(&octets).unwrap();
        let source = store.open(&name("file")).unwrap();
        let slab = source.fetch(0, SLAB_OCTETS).unwrap();
        assert_eq!(slab.bytes, octets, "round {round}");
        sources.push((source, slab));
    }
}
