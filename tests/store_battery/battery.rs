//! The contract of every store. Each case runs against each store.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use stagecoach::error::Failure;
use stagecoach::store::{Memory, MemoryOptions, Source, Store, Symlinks};
use tempfile::TempDir;

use crate::support::{answers_from_caches, begun, directory, name, options, read, scratch, upload};

/// The settings that a case needs.
#[derive(Clone, Copy)]
struct Terms {
    overwrite: bool,
    upload_octets_max: u64,
}

const KEEP: Terms = Terms { overwrite: false, upload_octets_max: 1 << 30 };
const OVERWRITE: Terms = Terms { overwrite: true, ..KEEP };

type Put = Box<dyn Fn(&str, &[u8])>;

/// A store, and direct access to its files.
struct Fixture {
    store: Arc<dyn Store>,
    put: Put,
    _root: Option<TempDir>,
}

fn memory(terms: Terms) -> Fixture {
    let mut options = MemoryOptions::default();
    options.overwrite = terms.overwrite;
    options.upload_octets_max = terms.upload_octets_max;
    let memory = Memory::new(options);
    let store = Arc::new(memory.clone());
    let put = move |asked: &str, content: &[u8]| {
        memory.insert(name(asked), Bytes::copy_from_slice(content));
    };
    Fixture { store, put: Box::new(put), _root: None }
}

fn on_disk(terms: Terms, symlinks: Symlinks, unnamed: bool, durable: bool) -> Fixture {
    let root = scratch();
    let mut options = options();
    options.overwrite = terms.overwrite;
    options.upload_octets_max = terms.upload_octets_max;
    options.symlinks = symlinks;
    options.unnamed_temporaries = unnamed;
    options.durable = durable;
    let store = Arc::new(directory(root.path(), options));
    let path = root.path().to_owned();
    let put =
        move |asked: &str, content: &[u8]| std::fs::write(Path::new(&path).join(asked), content).unwrap();
    Fixture { store, put: Box::new(put), _root: Some(root) }
}

macro_rules! battery {
    ($($store:ident: $make:expr;)*) => { $(
        mod $store {
            use super::*;

            fn make(terms: Terms) -> Fixture {
                $make(terms)
            }

            cases! {
                reads_at_any_offset
                a_missing_file_is_not_found
                open_cached_answers_like_open
                uploads_of_any_size_come_back
                a_file_that_is_there_is_kept
                overwriting_waits_until_the_new_file_is_whole
                an_aborted_upload_leaves_nothing
                a_kept_partial_upload_replaces_no_file
                the_first_to_publish_wins
                the_last_to_publish_wins_with_overwrite
                one_of_many_uploads_at_once_wins
                an_upload_is_not_seen_before_it_is_whole
                a_reader_keeps_the_file_that_it_opened
                an_empty_upload_makes_an_empty_file
                an_upload_ends_at_the_size_limit
                a_claim_above_the_limit_is_refused_at_once
                a_failed_upload_is_never_published
                names_are_octets
                many_threads_read_one_source
            }
        }
    )* };
}

macro_rules! cases {
    ($($case:ident)*) => { $(
        #[test]
        fn $case() {
            super::$case(make);
        }
    )* };
}

battery! {
    in_memory: memory;
    in_a_directory: |terms| on_disk(terms, Symlinks::Inside, true, true);
    with_named_temporaries: |terms| on_disk(terms, Symlinks::Inside, false, true);
    without_symlinks: |terms| on_disk(terms, Symlinks::Deny, true, false);
    with_all_symlinks: |terms| on_disk(terms, Symlinks::Follow, false, false);
}

type Make = fn(Terms) -> Fixture;

const SLAB: usize = 64 << 10;
const SIZES: [usize; 9] = [0, 1, 511, 512, 513, SLAB - 1, SLAB, SLAB + 1, 3 * SLAB + 7];

/// Octets that differ by position, so that an error by one is visible.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8 ^ (index >> 8) as u8).collect()
}

fn reads_at_any_offset(make: Make) {
    let fixture = make(KEEP);
    for size in SIZES {
        let content = content(size);
        (fixture.put)("file", &content);
        let source = fixture.store.open(&name("file")).unwrap();
        assert_eq!(source.size(), Some(size as u64));
        assert!(source.path().ends_with("file"));
        for offset in [0, 1, 511, size.saturating_sub(1), size, size + 1, usize::MAX] {
            for length in [0, 1, 511, 512, SLAB - 1, SLAB, SLAB + 1, 8 * SLAB] {
                let start = offset.min(size);
                let stop = start.saturating_add(length).min(size);
                let slab = source.fetch(offset as u64, length).unwrap();
                assert_eq!(slab.bytes, content[start..stop], "size {size} offset {offset} length {length}");
                assert_eq!(slab.end, stop == size, "size {size} offset {offset} length {length}");
                if let Some(cached) = source.fetch_cached(offset as u64, length).unwrap() {
                    assert_eq!(cached, slab, "size {size} offset {offset} length {length}");
                }
            }
        }
    }
}

fn a_missing_file_is_not_found(make: Make) {
    let fixture = make(KEEP);
    for asked in ["missing", "missing/deeper", ".missing"] {
        assert_eq!(read(&*fixture.store, asked), Err(Failure::NotFound));
    }
}

fn open_cached_answers_like_open(make: Make) {
    let fixture = make(KEEP);
    if fixture._root.as_ref().is_some_and(|root| !answers_from_caches(root.path())) {
        return;
    }
    (fixture.put)("file", b"content");
    for asked in ["file", "missing"] {
        let open = || fixture.store.open(&name(asked)).map_err(|fault| fault.to_string());
        // Once a second `open_cached` leaves the answer to `open`.
        let (opened, cached) = [(); 10]
            .iter()
            .find_map(|()| Some((open(), fixture.store.open_cached(&name(asked))?)))
            .expect(asked);
        let size_and_path = |source: Arc<dyn Source>| (source.size(), source.path().to_owned());
        assert_eq!(
            cached.map_err(|fault| fault.to_string()).map(size_and_path),
            opened.map(size_and_path),
            "{asked}"
        );
    }
}

fn uploads_of_any_size_come_back(make: Make) {
    let fixture = make(KEEP);
    for size in SIZES {
        let content = content(size);
        for (way, piece) in [512, 1428, SLAB].into_iter().enumerate() {
            let asked = format!("{size}-{way}");
            let mut sink = fixture.store.create(&name(&asked), Some(size as u64)).unwrap();
            assert!(sink.path().ends_with(&asked));
            for octets in content.chunks(piece) {
                sink.write(octets).unwrap();
            }
            sink.publish().unwrap();
            assert_eq!(read(&*fixture.store, &asked).unwrap(), content);
        }
    }
}

fn a_file_that_is_there_is_kept(make: Make) {
    let fixture = make(KEEP);
    (fixture.put)("file", b"old");
    let refused = fixture.store.create(&name("file"), None).unwrap_err();
    assert_eq!(refused.failure, Failure::Exists);
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"old");
}

fn overwriting_waits_until_the_new_file_is_whole(make: Make) {
    let fixture = make(OVERWRITE);
    (fixture.put)("file", b"old, and longer");
    let mut sink = begun(&*fixture.store, "file", b"new");
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"old, and longer", "nothing is truncated (WR-09)");
    sink.write(b" one").unwrap();
    sink.publish().unwrap();
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"new one");

    drop(begun(&*fixture.store, "file", b"aborted"));
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"new one");
}

fn an_aborted_upload_leaves_nothing(make: Make) {
    let fixture = make(KEEP);
    drop(fixture.store.create(&name("file"), Some(10)).unwrap());
    drop(begun(&*fixture.store, "file", &content(SLAB + 1)));
    assert_eq!(read(&*fixture.store, "file"), Err(Failure::NotFound));
    upload(&*fixture.store, "file", b"second try").unwrap();
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"second try");
}

fn a_kept_partial_upload_replaces_no_file(make: Make) {
    for terms in [KEEP, OVERWRITE] {
        let fixture = make(terms);
        let kept = begun(&*fixture.store, "file", b"half");
        (fixture.put)("file", b"whole");
        let path = kept.publish_partial().unwrap();
        assert!(path.ends_with("file.partial"), "{path}");
        assert_eq!(read(&*fixture.store, "file").unwrap(), b"whole");
        assert_eq!(read(&*fixture.store, "file.partial").unwrap(), b"half");

        let second = begun(&*fixture.store, "other", b"half");
        (fixture.put)("other.partial", b"whole");
        assert_eq!(second.publish_partial().unwrap_err().failure, Failure::Exists);
        assert_eq!(read(&*fixture.store, "other.partial").unwrap(), b"whole");
        assert_eq!(read(&*fixture.store, "other"), Err(Failure::NotFound));

        let long = begun(&*fixture.store, "l".repeat(250), b"half");
        assert!(long.publish_partial().is_err(), "no file can have the name");
    }
}

fn the_first_to_publish_wins(make: Make) {
    // WR-02, WR-08.
    let fixture = make(KEEP);
    let early = begun(&*fixture.store, "file", b"began first");
    let late = begun(&*fixture.store, "file", b"ended first");
    late.publish().unwrap();
    assert_eq!(early.publish().unwrap_err().failure, Failure::Exists);
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"ended first");
}

fn the_last_to_publish_wins_with_overwrite(make: Make) {
    let fixture = make(OVERWRITE);
    let early = begun(&*fixture.store, "file", b"began first");
    let late = begun(&*fixture.store, "file", b"ended first");
    late.publish().unwrap();
    early.publish().unwrap();
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"began first");
}

fn one_of_many_uploads_at_once_wins(make: Make) {
    let fixture = make(KEEP);
    let sinks: Vec<_> = (0..8_u8).map(|writer| begun(&*fixture.store, "file", &[writer; 1000])).collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = sinks.into_iter().map(|sink| scope.spawn(|| sink.publish())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<usize> = (0..8).filter(|&writer| outcomes[writer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|f| f.failure == Failure::Exists));
    assert_eq!(read(&*fixture.store, "file").unwrap(), [winners[0] as u8; 1000]);
}

fn an_upload_is_not_seen_before_it_is_whole(make: Make) {
    // WR-12.
    let fixture = make(KEEP);
    let sink = begun(&*fixture.store, "file", b"half");
    assert_eq!(read(&*fixture.store, "file"), Err(Failure::NotFound));
    sink.publish().unwrap();
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"half");
}

fn a_reader_keeps_the_file_that_it_opened(make: Make) {
    // WR-08: the old content or the new, never a mixture.
    let fixture = make(OVERWRITE);
    let old = content(2 * SLAB);
    (fixture.put)("file", &old);
    let source = fixture.store.open(&name("file")).unwrap();
    assert_eq!(source.fetch(0, SLAB).unwrap().bytes, old[..SLAB]);
    upload(&*fixture.store, "file", b"new").unwrap();
    let rest = source.fetch(SLAB as u64, SLAB).unwrap();
    assert_eq!(rest.bytes, old[SLAB..]);
    assert!(rest.end);
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"new");
}

fn an_empty_upload_makes_an_empty_file(make: Make) {
    // WR-13.
    let fixture = make(KEEP);
    fixture.store.create(&name("untouched"), None).unwrap().publish().unwrap();
    begun(&*fixture.store, "empty", b"").publish().unwrap();
    for asked in ["untouched", "empty"] {
        let source = fixture.store.open(&name(asked)).unwrap();
        assert_eq!(source.size(), Some(0));
        let slab = source.fetch(0, 512).unwrap();
        assert!(slab.bytes.is_empty() && slab.end);
    }
}

fn an_upload_ends_at_the_size_limit(make: Make) {
    // WR-07.
    let fixture = make(Terms { upload_octets_max: 1000, ..KEEP });
    for (size, outcome) in [(999, Ok(())), (1000, Ok(())), (1001, Err(Failure::TooLarge))] {
        assert_eq!(upload(&*fixture.store, size.to_string(), &content(size)), outcome, "{size}");
    }
    assert_eq!(read(&*fixture.store, "1000").unwrap(), content(1000));
    assert_eq!(read(&*fixture.store, "1001"), Err(Failure::NotFound));
    let mut at_once = fixture.store.create(&name("at once"), None).unwrap();
    assert_eq!(at_once.write(&content(1001)).unwrap_err().failure, Failure::TooLarge);
}

fn a_claim_above_the_limit_is_refused_at_once(make: Make) {
    let fixture = make(Terms { upload_octets_max: 1000, ..KEEP });
    assert!(fixture.store.create(&name("file"), Some(1000)).is_ok());
    for claim in [1001, u64::MAX] {
        let refused = fixture.store.create(&name("file"), Some(claim)).unwrap_err();
        assert_eq!(refused.failure, Failure::TooLarge, "{claim}");
    }
    let mut lying = fixture.store.create(&name("file"), Some(1)).unwrap();
    lying.write(&content(1000)).unwrap();
    assert_eq!(lying.write(b"x").unwrap_err().failure, Failure::TooLarge, "a claim is a claim only");
}

fn a_failed_upload_is_never_published(make: Make) {
    let fixture = make(Terms { upload_octets_max: 1000, ..OVERWRITE });
    (fixture.put)("file", b"old");
    let mut sink = begun(&*fixture.store, "file", &content(1000));
    assert_eq!(sink.write(b"x").unwrap_err().failure, Failure::TooLarge);
    assert_eq!(sink.write(b"").unwrap_err().failure, Failure::TooLarge, "it stays over");
    assert_eq!(sink.publish().unwrap_err().failure, Failure::TooLarge);
    assert_eq!(read(&*fixture.store, "file").unwrap(), b"old");
}

fn names_are_octets(make: Make) {
    // SAFE-04, -15, MAL-08.
    let fixture = make(KEEP);
    let asked: [&[u8]; 8] =
        [b"caf\xe9", b"caf\xc3\xa9", b"\xff", b" ", b".dot", b"a%2fb", b"x;mode=netascii", b"FILE"];
    for (index, asked) in asked.iter().enumerate() {
        upload(&*fixture.store, asked, &[index as u8]).unwrap();
    }
    for (index, asked) in asked.iter().enumerate() {
        assert_eq!(read(&*fixture.store, asked).unwrap(), [index as u8]);
    }
    assert_eq!(read(&*fixture.store, "file"), Err(Failure::NotFound), "case is exact (SAFE-13)");
    upload(&*fixture.store, [b'n'; 255], b"long").unwrap();
    assert_eq!(read(&*fixture.store, [b'n'; 255]).unwrap(), b"long");
}

fn many_threads_read_one_source(make: Make) {
    let fixture = make(KEEP);
    let content = content(3 * SLAB + 7);
    (fixture.put)("file", &content);
    let source = fixture.store.open(&name("file")).unwrap();
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let (source, content) = (&source, &content);
            scope.spawn(move || {
                for offset in (reader..content.len()).step_by(4096) {
                    let stop = (offset + 1428).min(content.len());
                    assert_eq!(source.fetch(offset as u64, 1428).unwrap().bytes, content[offset..stop]);
                }
            });
        }
    });
}
