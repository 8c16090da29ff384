//! Which attributes of a replaced file the new file keeps, and which files are not replaced.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use rustix::process::geteuid;
use stagecoach::error::Failure;
use stagecoach::store::{DirectoryOptions, Store};

use crate::support::{
    again, begun, both, directory, done, expect_done, listing, name, role, scratch, upload, with,
};

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const NOBODY: u32 = 65534;

fn overwriting() -> [DirectoryOptions; 2] {
    both(with(|options| options.overwrite = true))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Owner, group and mode.
fn rights(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// `rw-` for the owner, `r--` for user 77 and for the group, nothing for others, in Linux's format
/// (acl(5)).
fn acl_for_77() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 77), (4, 4, u32::MAX), (0x10, 6, u32::MAX), (0x20, 0, u32::MAX)];
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    [2_u32.to_le_bytes().to_vec()].into_iter().chain(entries.map(entry)).flatten().collect()
}

/// Sets the ACL of a file or a directory. Returns `false` if the file system has no ACLs.
fn set_acl(path: &Path, kind: &str) -> bool {
    match setxattr(path, kind, &acl_for_77(), XattrFlags::empty()) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP) => false,
        Err(errno) => panic!("{errno}"),
    }
}

fn acl(path: &Path) -> Option<Vec<u8>> {
    let mut acl = Vec::with_capacity(1000);
    getxattr(path, ACL, spare_capacity(&mut acl)).ok().map(|_| acl)
}

/// Makes a file that belongs to another user, if this process may.
fn file(path: &Path, mode: u32) {
    fs::write(path, "old").unwrap();
    if geteuid().is_root() {
        chown(path, Some(1234), Some(4321)).unwrap();
    }
    chmod(path, mode);
}

#[test]
fn owner_group_and_mode_are_kept() {
    for options in overwriting() {
        let root = scratch();
        for mode in [0o640, 0o600, 0o666, 0o777, 0o200] {
            let path = root.path().join(format!("{mode:o}"));
            file(&path, mode);
            let before = rights(&path);
            upload(&directory(root.path(), options), format!("{mode:o}"), b"new").unwrap();
            assert_eq!(rights(&path), before, "{options:?}");
            if geteuid().is_root() {
                assert_eq!((before.0, before.1), (1234, 4321));
                assert_eq!(fs::read(&path).unwrap(), b"new");
            }
        }
    }
}

#[test]
fn an_upload_has_no_setuid_or_setgid_bit() {
    for options in overwriting() {
        let root = scratch();
        let path = root.path().join("file");
        file(&path, 0o6755);
        assert_eq!(rights(&path).2, 0o6755);
        upload(&directory(root.path(), options), "file", b"new").unwrap();
        assert_eq!(rights(&path).2, 0o755);
    }
}

#[test]
fn an_acl_is_kept_and_none_is_inherited_in_its_place() {
    for options in overwriting() {
        let root = scratch();
        let (with_acl, without) = (root.path().join("with"), root.path().join("without"));
        file(&with_acl, 0o660);
        if !set_acl(&with_acl, ACL) {
            println!("there are no ACLs in {}", root.path().display());
            continue;
        }
        file(&without, 0o640);
        assert!(set_acl(root.path(), DEFAULT_ACL));
        let before = (rights(&with_acl), rights(&without), acl(&with_acl));
        assert!(before.2.is_some());
        let store = directory(root.path(), options);
        for asked in ["with", "without", "new"] {
            upload(&store, asked, b"new").unwrap();
        }
        assert_eq!((rights(&with_acl), rights(&without), acl(&with_acl)), before, "{options:?}");
        assert_eq!(acl(&without), None, "{options:?}");
        assert!(acl(&root.path().join("new")).is_some(), "a new file has what its directory gives");
    }
}

#[test]
fn an_unfinished_upload_has_no_wider_mode() {
    let root = scratch();
    file(&root.path().join("secret"), 0o600);
    let store = directory(
        root.path(),
        with(|options| (options.overwrite, options.unnamed_temporaries) = (true, false)),
    );
    let sink = begun(&store, "secret", b"half");
    let names = listing(root.path()).into_keys().map(|name| String::from_utf8(name).unwrap());
    let temporary: Vec<String> = names.filter(|name| name.starts_with(".stagecoach-")).collect();
    assert_eq!(temporary.len(), 1);
    assert_eq!(rights(&root.path().join(&temporary[0])).2, 0o600);
    // A kept partial file has no such bits either.
    assert!(sink.publish_partial().is_ok());
    assert_eq!(rights(&root.path().join("secret.partial")).2, 0o600);
}

#[test]
fn a_write_protected_file_is_not_replaced() {
    for options in overwriting() {
        let root = scratch();
        for mode in [0o444, 0o400, 0o466] {
            let path = root.path().join("file");
            fs::write(&path, "old").unwrap();
            // The file became write-protected during the upload.
            let late = begun(&directory(root.path(), options), "file", b"new");
            chmod(&path, mode);
            let fault = late.publish().unwrap_err();
            assert_eq!(fault.failure, Failure::Forbidden, "{mode:o}");
            let fault = directory(root.path(), options).create(&name("file"), None).unwrap_err();
            assert_eq!(fault.failure, Failure::Forbidden, "{mode:o}");
            let expected = format!("/file is write-protected (mode {mode:04o})");
            assert!(fault.to_string().ends_with(&expected), "{fault}");
            chmod(&path, 0o644);
            assert_eq!(listing(root.path()).into_values().collect::<Vec<_>>(), [Some(b"old".to_vec())]);
        }
    }
}

/// Runs `test` again as `nobody`, at a path that this process, as root, has prepared. Returns the
/// path in that run.
fn as_nobody_in(test: &str, prepare: impl FnOnce(&Path), look: impl FnOnce(&Path)) -> Option<PathBuf> {
    if let Some(role) = role() {
        assert!(!geteuid().is_root(), "this run is to be an ordinary user's");
        return Some(role.into());
    }
    if !geteuid().is_root() {
        println!("only root can prepare what this test is about");
        return None;
    }
    let root = scratch();
    chmod(root.path(), 0o755);
    prepare(root.path());
    let mut child = again(test, root.path().to_str().unwrap());
    child.uid(NOBODY).gid(NOBODY).current_dir("/").env("TMPDIR", "/tmp");
    expect_done(child);
    look(root.path());
    None
}

#[test]
fn a_group_that_can_not_be_kept_gets_no_rights() {
    let prepare = |root: &Path| {
        chmod(root, 0o777);
        file(&root.join("a"), 0o676);
        file(&root.join("b"), 0o666);
        fs::write(root.join("c"), "old").unwrap();
        chown(root.join("c"), Some(NOBODY), Some(4321)).unwrap();
        chmod(&root.join("c"), 0o660);
    };
    let look = |root: &Path| {
        assert_eq!(rights(&root.join("a")), (NOBODY, NOBODY, 0o666));
        assert_eq!(rights(&root.join("b")), (NOBODY, NOBODY, 0o666));
        assert_eq!(rights(&root.join("c")), (NOBODY, NOBODY, 0o600));
    };
    let test = "replacing::a_group_that_can_not_be_kept_gets_no_rights";
    let Some(root) = as_nobody_in(test, prepare, look) else { return };
    for options in overwriting() {
        for asked in ["a", "b", "c"] {
            upload(&directory(&root, options), asked, b"new").unwrap();
        }
    }
    done();
}

/// An operator makes the file in advance, writable for everybody, where nobody may make files. The
/// server does not rewrite the file in place (docs/decisions/06-uploads.md).
#[test]
fn an_unwritable_directory_is_named_in_the_log() {
    let prepare = |root: &Path| {
        for (directory, mode) in [("closed", 0o755), ("sticky", 0o1777)] {
            fs::create_dir(root.join(directory)).unwrap();
            chmod(&root.join(directory), mode);
            file(&root.join(directory).join("file"), 0o666);
        }
    };
    let look = |root: &Path| {
        for directory in ["closed", "sticky"] {
            let left = listing(&root.join(directory));
            assert_eq!(left.into_iter().collect::<Vec<_>>(), [(b"file".to_vec(), Some(b"old".to_vec()))]);
        }
    };
    let test = "replacing::an_unwritable_directory_is_named_in_the_log";
    let Some(root) = as_nobody_in(test, prepare, look) else { return };
    for options in both(with(|options| (options.overwrite, options.create_dirs) = (true, true))) {
        let store = directory(&root, options);
        let closed = root.join("closed");
        for asked in ["closed/file", "closed/new", "closed/made/by/us"] {
            let fault = store.create(&name(asked), None).unwrap_err();
            assert_eq!(fault.failure, Failure::Forbidden);
            let expected = format!("{asked}: the directory {} must be writable", closed.display());
            assert!(fault.to_string().contains(&expected), "{fault}");
        }
        let fault = begun(&store, "sticky/file", b"new").publish().unwrap_err();
        assert_eq!(fault.failure, Failure::Forbidden);
        let expected =
            format!("in the directory {} only its owner may replace it", root.join("sticky").display());
        assert!(fault.to_string().contains(&expected), "{fault}");
    }
    done();
}
