//! Ten thousand aborted transfers leak no descriptor (SAFE-20).

use std::fs;

use stagecoach::store::Store;

use crate::support::{
    again, begun, both, directory, done, expect_done, listing, name, options, read, role, scratch,
};

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn ten_thousand_aborted_transfers_leak_nothing() {
    // Runs in a process of its own, because other tests open files at the same time.
    if role().is_none() {
        return expect_done(again("descriptors::ten_thousand_aborted_transfers_leak_nothing", "alone"));
    }
    let root = scratch();
    fs::write(root.path().join("file"), [1; 5000]).unwrap();
    fs::create_dir(root.path().join("dir")).unwrap();
    let stores = both(options()).map(|options| directory(root.path(), options));
    let before = (open_descriptors(), listing(root.path()));
    for round in 0..10_000 {
        let store = &stores[round % 2];
        drop(begun(store, "dir/new", b"aborted"));
        drop(store.create(&name("new"), None).unwrap());
        store.open(&name("file")).unwrap().fetch(0, 512).unwrap();
        assert!(read(store, "missing").is_err() && read(store, "dir").is_err());
        assert!(store.create(&name("file"), None).is_err());
    }
    assert_eq!((open_descriptors(), listing(root.path())), before);
    done();
}
