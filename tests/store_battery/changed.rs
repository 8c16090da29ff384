//! A file that changes during a read never looks complete (R1350-58).

use std::fs::{self, OpenOptions};
use std::io::{IoSliceMut, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{ReadWriteFlags, preadv2};
use stagecoach::error::Failure;
use stagecoach::store::{Source, Store};
use tempfile::TempDir;

use crate::support::{directory, name, options, scratch};

const OLD: &[u8] = &[b'o'; 4096];

/// A file, with its first half read.
fn half_read() -> (TempDir, PathBuf, Arc<dyn Source>) {
    let root = scratch();
    let path = root.path().join("file");
    fs::write(&path, OLD).unwrap();
    let source = directory(root.path(), options()).open(&name("file")).unwrap();
    assert_eq!(source.fetch(0, 2048).unwrap().bytes, OLD[..2048]);
    // Longer than a tick of the clock of file times.
    std::thread::sleep(Duration::from_millis(50));
    (root, path, source)
}

fn assert_changed(source: &dyn Source) {
    assert_eq!(source.fetch(2048, 2048).unwrap_err().failure, Failure::Changed);
    match source.fetch_cached(2048, 2048) {
        Ok(Some(slab)) => panic!("{slab:?}"),
        Ok(None) => {}
        Err(fault) => assert_eq!(fault.failure, Failure::Changed),
    }
}

#[test]
fn a_file_that_shrank_is_an_error() {
    for size in [0, 1000, 2048, 4095] {
        let (_root, path, source) = half_read();
        OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
        assert_changed(&*source);
    }
    // Applies even if the next octets are still there, as later ones may not be.
    let (_root, path, source) = half_read();
    OpenOptions::new().write(true).open(path).unwrap().set_len(4000).unwrap();
    assert_eq!(source.fetch(2048, 512).unwrap_err().failure, Failure::Changed);
}

#[test]
fn a_file_that_was_rewritten_in_place_is_an_error() {
    let (_root, path, source) = half_read();
    OpenOptions::new().write(true).open(path).unwrap().write_all(&[b'n'; 4096]).unwrap();
    assert_changed(&*source);
}

#[test]
fn a_file_that_grew_is_served_with_its_old_size() {
    let (_root, path, source) = half_read();
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
    let rest = source.fetch(2048, 1 << 16).unwrap();
    assert_eq!(rest.bytes, OLD[2048..]);
    assert!(rest.end);
    assert_eq!(source.size(), Some(4096));
    assert!(source.fetch(4096, 512).unwrap().bytes.is_empty());
}

#[test]
fn a_replaced_or_removed_file_is_read_to_its_end() {
    let (root, path, source) = half_read();
    fs::write(root.path().join("new"), "new").unwrap();
    fs::rename(root.path().join("new"), &path).unwrap();
    assert_eq!(source.fetch(2048, 2048).unwrap().bytes, OLD[2048..]);
    let (_root, path, source) = half_read();
    fs::remove_file(path).unwrap();
    assert_eq!(source.fetch(2048, 2048).unwrap().bytes, OLD[2048..]);
}

#[test]
fn a_slab_just_read_is_served_without_waiting() {
    let (_root, path, source) = half_read();
    let waited = source.fetch(0, 4096).unwrap();
    let mut octets = [0; 4096];
    let file = fs::File::open(path).unwrap();
    let promised = preadv2(file, &mut [IoSliceMut::new(&mut octets)], 0, ReadWriteFlags::NOWAIT);
    // Where the file system can't promise an answer without waiting, each answer is `None`.
    let expected = promised.is_ok().then_some(waited);
    assert_eq!(source.fetch_cached(0, 4096).unwrap(), expected);
    assert_eq!(source.fetch_cached(0, 4096).unwrap(), expected);
}
