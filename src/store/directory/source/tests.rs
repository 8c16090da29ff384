use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::Symlinks;
use super::*;

/// A file of one slab, for `count` transfers.
fn sources(count: usize) -> (TempDir, Vec<Arc<DirectorySource>>) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), content()).unwrap();
    let tree = Tree::open(root.path(), Symlinks::Inside).unwrap();
    let name = Name::from_request(b"file").unwrap();
    let open = DirectorySource::open(&tree, &OpenFiles::default(), &name, Lookup::Full);
    let first = open.unwrap();
    let sources = (0..count)
        .map(|_| Arc::new(DirectorySource::new(Arc::clone(&first.file), first.path.clone())))
        .collect();
    (root, sources)
}

fn content() -> Vec<u8> {
    (0..SLAB_OCTETS).map(|at| (at / 7) as u8).collect()
}

/// Reads the whole file like a transfer.
async fn read(source: Arc<DirectorySource>) -> Result<Slab, Fault> {
    match source.fetch_later(0, SLAB_OCTETS) {
        Some(later) => later.await,
        None => spawn_blocking(move || source.fetch(0, SLAB_OCTETS)).await.unwrap(),
    }
}

/// An arbiter with few threads that may block.
fn in_arbiter(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_time().max_blocking_threads(2).build().unwrap().block_on(test);
}

#[test]
fn a_hanging_read_takes_one_thread_only() {
    let (_root, mut sources) = sources(9);
    in_arbiter(async {
        let hanging = sources.pop().unwrap();
        let (begin, begun) = mpsc::channel();
        let (wake, asleep) = mpsc::channel();
        let first = spawn_blocking(move || {
            hanging.file.slabs.find_or_read(0, || {
                begin.send(()).unwrap();
                asleep.recv().unwrap();
                Ok(content())
            })
        });
        begun.recv().unwrap();
        let readers: Vec<_> = sources.into_iter().map(|source| tokio::spawn(read(source))).collect();
        tokio::task::yield_now().await;
        let other_file = spawn_blocking(|| ());
        let is_read = timeout(Duration::from_secs(5), other_file).await.is_ok();
        wake.send(()).unwrap();
        assert!(is_read, "all threads wait for one file");
        let shared = first.await.unwrap().unwrap().bytes(0, 1).as_ptr();
        for reader in readers {
            let slab = reader.await.unwrap().unwrap();
            assert!(slab.bytes == content() && slab.bytes.as_ptr() == shared);
        }
    });
}

#[test]
fn a_slab_is_read_by_one_and_by_another_on_failure() {
    let (_root, sources) = sources(9);
    in_arbiter(async {
        let mut sources = sources.into_iter();
        let first = sources.next().unwrap();
        assert!(first.fetch_later(0, SLAB_OCTETS).is_none(), "this one is to read");
        assert!(first.fetch_later(0, SLAB_OCTETS).is_none(), "still");
        let readers: Vec<_> = sources.map(|source| tokio::spawn(read(source))).collect();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!readers.iter().any(tokio::task::JoinHandle::is_finished));
        // Its transfer ends before the read.
        drop(first);
        for reader in readers {
            let slab = timeout(Duration::from_secs(5), reader).await.expect("no further waiting");
            assert!(slab.unwrap().unwrap().bytes == content());
        }
    });
}

#[test]
fn a_peer_that_wants_part_of_a_slab_waits_for_nobody() {
    let (_root, sources) = sources(2);
    in_arbiter(async {
        assert!(sources[0].fetch_later(0, SLAB_OCTETS).is_none(), "this one is to read");
        assert!(sources[1].fetch_later(0, 512).is_none());
        let (part, all) = (sources[1].fetch(0, 512).unwrap(), sources[0].fetch(0, SLAB_OCTETS).unwrap());
        assert!(part.bytes == content()[..512] && all.bytes == content());
    });
}

#[test]
fn a_name_that_no_file_can_have_is_missing_no_outage() {
    let root = tempfile::tempdir().unwrap();
    let tree = Tree::open(root.path(), Symlinks::Inside).unwrap();
    let name = Name::from_request(b"aux?").unwrap();
    let failure = |errno: Errno| open_fault(&tree, errno, &name, "/srv/aux?").failure;
    assert_eq!(failure(Errno::INVAL), Failure::NotFound);
    assert_eq!(failure(Errno::NOENT), Failure::NotFound);
    for errno in [Errno::IO, Errno::STALE, Errno::MFILE, Errno::NFILE, Errno::TIMEDOUT, Errno::NOTCONN] {
        assert!(failure(errno).is_outage(), "{errno:?}");
    }
}
