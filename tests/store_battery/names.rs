//! What a directory offers besides reads and writes: new names for its files, and listings.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use stagecoach::error::Failure;
use stagecoach::store::{Directory, Name, Store, Symlinks};
use tempfile::TempDir;

use crate::support::{begun, directory, listing, name, options, policy, read, scratch, upload, with};

type Act = fn(&Directory, &Name, &Name) -> Result<(), stagecoach::error::Fault>;

/// The two ways to a new name.
const ACTS: [Act; 2] = [Directory::rename, Directory::link];

/// A root with a sibling, and links that stay in the root or lead out.
fn tree() -> (TempDir, PathBuf) {
    let base = scratch();
    let root = base.path().join("root");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::create_dir(base.path().join("outside")).unwrap();
    fs::write(base.path().join("outside/secret"), "secret").unwrap();
    fs::write(root.join("file"), "content").unwrap();
    fs::write(root.join("dir/deep"), "deeper").unwrap();
    for (link, target) in [
        ("link", "file"),
        ("dirlink", "dir"),
        ("out", "../outside/secret"),
        ("outdir", "../outside"),
        ("dangling", "nothing"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    (base, root)
}

/// The listed names, each with whether it is a directory.
fn listed(store: &Directory, below: Option<&str>) -> BTreeMap<String, bool> {
    let below = below.map(name);
    let all = store.list(below.as_ref()).unwrap();
    all.map(Result::unwrap).map(|it| (it.name.to_string(), it.is_directory)).collect()
}

fn failure(done: Result<(), stagecoach::error::Fault>) -> Option<Failure> {
    done.err().map(|fault| fault.failure)
}

#[test]
fn rename_and_link_give_a_file_a_new_name() {
    for create_dirs in [false, true] {
        let (_base, root) = tree();
        let store = directory(&root, with(|it| it.create_dirs = create_dirs));
        let inode = fs::metadata(root.join("file")).unwrap().ino();
        store.link(&name("file"), &name("dir/second")).unwrap();
        assert_eq!(read(&store, "file").as_deref(), Ok(&b"content"[..]));
        assert_eq!(read(&store, "dir/second").as_deref(), Ok(&b"content"[..]));
        store.rename(&name("file"), &name("dirlink/third")).unwrap();
        assert_eq!(read(&store, "file"), Err(Failure::NotFound));
        assert_eq!(fs::metadata(root.join("dir/third")).unwrap().ino(), inode, "nothing is copied");
        let made = failure(store.rename(&name("dir/third"), &name("new/directory/file")));
        assert_eq!(made, (!create_dirs).then_some(Failure::NotFound));
        assert_eq!(root.join("new/directory/file").exists(), create_dirs);
    }
}

#[test]
fn rename_and_link_replace_no_file() {
    let (_base, root) = tree();
    let store = directory(&root, with(|it| it.overwrite = true));
    let before = listing(&root);
    for act in ACTS {
        for (from, to, why) in [
            ("file", "dir/deep", Failure::Exists),
            ("file", "file", Failure::Exists),
            ("file", "dir", Failure::Exists),
            ("file", "dangling", Failure::Exists),
            ("file", "no/directory", Failure::NotFound),
            ("missing", "new", Failure::NotFound),
            ("no/file", "new", Failure::NotFound),
            ("dir", "new", Failure::NotRegular),
            ("link", "new", Failure::Forbidden),
            ("out", "new", Failure::Forbidden),
        ] {
            assert_eq!(failure(act(&store, &name(from), &name(to))), Some(why), "{from} as {to}");
        }
    }
    assert_eq!(listing(&root), before);
}

#[test]
fn no_name_leads_out_of_the_root() {
    let (base, root) = tree();
    for symlinks in [Symlinks::Inside, Symlinks::Deny] {
        let store = directory(&root, policy(symlinks));
        for act in ACTS {
            for (from, to) in [("outdir/secret", "stolen"), ("file", "outdir/planted")] {
                let why = failure(act(&store, &name(from), &name(to)));
                assert_eq!(why, Some(Failure::Forbidden), "{symlinks:?}: {from} as {to}");
            }
        }
        let why = store.list(Some(&name("outdir"))).map(drop);
        assert_eq!(failure(why), Some(Failure::Forbidden), "{symlinks:?}");
    }
    assert_eq!(fs::read_dir(base.path().join("outside")).unwrap().count(), 1);
    assert!(!root.join("stolen").exists());
}

#[test]
fn a_listing_has_only_names_clients_can_ask_for() {
    let (_base, root) = tree();
    let unnamed = with(|it| it.unnamed_temporaries = false);
    let store = directory(&root, unnamed);
    // An upload in progress, and one that a crash has left.
    let upload = begun(&store, "new", b"half");
    fs::write(root.join(".stagecoach-0123456789abcdef.part"), "left").unwrap();
    fs::write(root.join(".hidden"), "").unwrap();
    fs::write(root.join(r"back\slash"), "").unwrap();
    fs::write(root.join("new\nline"), "").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"latin\xff")), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(fs::read_dir(&root).unwrap().count() > 11, "the temporary files are there");
    let all = listed(&store, None);
    let wanted = [
        (".hidden", false),
        ("dir", true),
        ("dirlink", true),
        ("file", false),
        (r"latin\xff", false),
        ("link", false),
    ];
    assert_eq!(all, wanted.map(|(name, is_directory)| (name.to_owned(), is_directory)).into());
    drop(upload);
    assert_eq!(listed(&store, Some("dirlink")), [("dirlink/deep".to_owned(), false)].into());
    let denying = listed(&directory(&root, policy(Symlinks::Deny)), None);
    assert!(!denying.contains_key("link") && !denying.contains_key("dirlink"), "{denying:?}");
    for (below, why) in [("missing", Failure::NotFound), ("file", Failure::NotFound)] {
        assert_eq!(failure(store.list(Some(&name(below))).map(drop)), Some(why), "{below}");
    }
}

#[test]
fn a_root_that_was_replaced_is_the_one_that_is_listed() {
    let base = scratch();
    let root = base.path().join("root");
    let fill = |root: &Path, file: &str| {
        fs::create_dir(root).unwrap();
        fs::write(root.join(file), "").unwrap();
    };
    fill(&root, "old");
    let store = directory(&root, options());
    fs::remove_dir_all(&root).unwrap();
    fill(&root, "new");
    store.follow();
    assert_eq!(listed(&store, None), [("new".to_owned(), false)].into());
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(failure(store.list(None).map(drop)), Some(Failure::Io));
    assert_eq!(failure(store.rename(&name("new"), &name("newer"))), Some(Failure::Io));
}

#[test]
fn a_file_with_two_names_is_not_replaced() {
    let (_base, root) = tree();
    let store = directory(&root, with(|it| it.overwrite = true));
    store.link(&name("file"), &name("second")).unwrap();
    assert_eq!(upload(&store, "file", b"new"), Err(Failure::Forbidden));
    fs::remove_file(root.join("second")).unwrap();
    assert_eq!(upload(&store, "file", b"new"), Ok(()));
    assert!(store.as_directory().is_some());
}
