//! How uploads appear in a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use stagecoach::error::Failure;
use stagecoach::store::Store;

use crate::support::{
    begun, both, directory, knows_unnamed_files, listing, name, options, read, scratch, upload, with,
};

#[test]
fn nothing_is_on_the_disk_before_the_first_octet() {
    // WR-10: a forged request makes no file.
    let root = scratch();
    for options in both(with(|options| options.create_dirs = true)) {
        let store = directory(root.path(), options);
        let waiting = [store.create(&name("file"), Some(100)), store.create(&name("made/file"), None)];
        assert!(waiting.iter().all(Result::is_ok));
        assert!(listing(root.path()).is_empty());
    }
}

#[test]
fn an_unfinished_upload_can_not_be_read() {
    let root = scratch();
    for options in both(options()) {
        let store = directory(root.path(), options);
        let sink = begun(&store, "file", b"half");
        let seen: Vec<_> = listing(root.path()).into_keys().collect();
        if options.unnamed_temporaries && knows_unnamed_files(root.path()) {
            assert!(seen.is_empty(), "{seen:?}");
        } else {
            let [temporary] = &seen[..] else { panic!("one temporary: {seen:?}") };
            assert!(temporary.starts_with(b".stagecoach-") && temporary.ends_with(b".part"));
            assert!(stagecoach::store::Name::from_request(temporary).is_err(), "it can't even be asked for");
        }
        drop(sink);
        assert!(listing(root.path()).is_empty());
    }
}

#[test]
fn the_mode_of_a_file_is_what_the_umask_leaves() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
    let umask = u32::from_str_radix(umask, 8).unwrap();
    for options in both(with(|options| options.create_dirs = true)) {
        let root = scratch();
        upload(&directory(root.path(), options), "made/file", b"x").unwrap();
        let mode = |path: &str| root.path().join(path).metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode("made/file"), 0o666 & !umask);
        assert_eq!(mode("made") & 0o777, 0o777 & !umask);
    }
}

#[test]
fn directories_are_made_only_for_whole_uploads() {
    for options in both(options()) {
        let root = scratch();
        assert_eq!(upload(&directory(root.path(), options), "a/b/file", b"x"), Err(Failure::NotFound));
        fs::write(root.path().join("plain"), "").unwrap();
        let mut options = options;
        options.create_dirs = true;
        let store = directory(root.path(), options);
        assert_eq!(upload(&store, "plain/file", b"x"), Err(Failure::NotFound));

        drop(begun(&store, "a/b/file", b"aborted"));
        assert_eq!(listing(root.path()).into_keys().collect::<Vec<_>>(), [b"plain"]);

        upload(&store, "a/b/file", b"whole").unwrap();
        assert_eq!(read(&store, "a/b/file").unwrap(), b"whole");
        assert_eq!(listing(root.path()).len(), 4, "a, a/b, a/b/file, plain");
    }
}

#[test]
fn the_new_directories_of_a_lost_upload_are_removed() {
    for options in both(with(|options| options.create_dirs = true)) {
        let root = scratch();
        let store = directory(root.path(), options);
        let sink = begun(&store, "a/b/file", b"late");
        // Another process puts a file where the upload needs a directory.
        let blocked = begun(&store, "c/d/file", b"late");
        fs::create_dir(root.path().join("c")).unwrap();
        fs::write(root.path().join("c/d"), "in the way").unwrap();
        assert_eq!(blocked.publish().unwrap_err().failure, Failure::NotFound);
        fs::remove_dir_all(root.path().join("c")).unwrap();
        upload(&store, "a/b/file", b"first").unwrap();
        assert_eq!(sink.publish().unwrap_err().failure, Failure::Exists);
        assert_eq!(read(&store, "a/b/file").unwrap(), b"first");
        assert_eq!(listing(root.path()).len(), 3, "the other's directories stay");

        // The directories that existed at the start are removed during the upload.
        let orphan = begun(&store, "a/b/x/file", b"late");
        fs::remove_dir_all(root.path().join("a")).unwrap();
        assert_eq!(orphan.publish().unwrap_err().failure, Failure::NotFound);
        assert!(listing(root.path()).is_empty());
    }
}

#[test]
fn many_uploads_make_the_same_directories_at_once() {
    for options in both(with(|options| options.create_dirs = true)) {
        let root = scratch();
        let store = directory(root.path(), options);
        let wins = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (store, wins) = (&store, &wins);
                scope.spawn(move || {
                    for round in 0..20 {
                        // Half of the uploads have the same name, and the losers remove their
                        // directories.
                        let own = if writer % 2 == 0 { writer } else { 99 };
                        match upload(store, format!("a/{round}/{own}"), b"x") {
                            Ok(()) => wins.fetch_add(1, Relaxed),
                            Err(Failure::Exists) => 0,
                            Err(other) => panic!("{other:?}"),
                        };
                    }
                });
            }
        });
        assert_eq!(wins.into_inner(), 20 * 5);
        assert_eq!(listing(root.path()).len(), 1 + 20 + 20 * 5);
    }
}

#[test]
fn a_name_taken_during_an_upload_is_not_replaced() {
    for options in both(with(|options| options.overwrite = true)) {
        let base = scratch();
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(base.path().join("outside"), "precious").unwrap();
        let store = directory(&root, options);
        let [onto_link, onto_directory, onto_hard_link] =
            ["link", "directory", "hard"].map(|asked| begun(&store, asked, b"new"));
        std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
        fs::create_dir(root.join("directory")).unwrap();
        fs::hard_link(base.path().join("outside"), root.join("hard")).unwrap();
        let before = listing(&root).into_keys().filter(|path| !path.starts_with(b".stagecoach-"));
        let before: Vec<_> = before.collect();
        assert_eq!(onto_link.publish().unwrap_err().failure, Failure::Forbidden);
        assert_eq!(onto_directory.publish().unwrap_err().failure, Failure::NotRegular);
        assert_eq!(onto_hard_link.publish().unwrap_err().failure, Failure::Forbidden);
        assert_eq!(listing(&root).into_keys().collect::<Vec<_>>(), before);
        assert_eq!(fs::read(base.path().join("outside")).unwrap(), b"precious");
    }
}

#[test]
fn a_large_upload_that_is_written_back_early_is_whole() {
    // More than the unit of writeback and of the check of free space.
    let content: Vec<u8> = (0..20_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for options in both(options()) {
        let root = scratch();
        let mut sink = directory(root.path(), options).create(&name("file"), None).unwrap();
        for slab in content.chunks(64 << 10) {
            sink.write(slab).unwrap();
        }
        sink.publish().unwrap();
        assert!(fs::read(root.path().join("file")).unwrap() == content);
    }
}
