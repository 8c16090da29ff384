//! A full disk (WR-06, WR-07): a file system of 1 MiB, mounted where only the test sees it.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::statvfs;
use stagecoach::error::Failure;
use stagecoach::store::{DirectoryOptions, Store};

use crate::support::{
    arguments, begun, both, directory, done, expect_done, listing, name, options, role, scratch, set_role,
    upload, with,
};

const DISK_OCTETS: u64 = 1 << 20;

/// Runs `test` again in a mount namespace of its own. `work` gets a path on a small disk.
fn on_small_disk(test: &str, work: impl FnOnce(&Path)) {
    if let Some(mounted) = role() {
        let free = free(Path::new(&mounted));
        assert!(free <= DISK_OCTETS, "{mounted} is to be a disk of 1 MiB and has {free} octets free");
        work(Path::new(&mounted));
        done();
        return;
    }
    let mount_point = scratch();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = "mount -t tmpfs -o size=1m,nr_inodes=20 none \"$1\" || {
        echo 'this test mounts a tmpfs in a namespace of its own: it needs root, or user namespaces' >&2; exit 1; }
        shift; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(mount_point.path());
    command.arg(std::env::current_exe().unwrap()).args(arguments(test));
    set_role(&mut command, mount_point.path().to_str().unwrap());
    expect_done(command);
}

fn free(disk: &Path) -> u64 {
    let disk = statvfs(disk).unwrap();
    disk.f_bavail * disk.f_frsize
}

/// Uploads until the disk is full. Returns the failure, and the number of written octets.
fn fill(store: &dyn Store, asked: &str) -> (Failure, u64) {
    let mut sink = store.create(&name(asked), None).unwrap();
    for taken in 0.. {
        if let Err(fault) = sink.write(&[7; 4096]) {
            assert_eq!(sink.publish().unwrap_err().failure, fault.failure);
            return (fault.failure, taken * 4096);
        }
        assert!(taken * 4096 < 2 * DISK_OCTETS, "the disk must be full by now");
    }
    unreachable!()
}

#[test]
fn a_full_disk_ends_the_upload_and_leaves_nothing() {
    on_small_disk("disk_full::a_full_disk_ends_the_upload_and_leaves_nothing", |disk| {
        for options in both(with(|options| (options.overwrite, options.create_dirs) = (true, true))) {
            fs::write(disk.join("old"), "old").unwrap();
            let before = (listing(disk), free(disk));
            let store = directory(disk, options);
            for asked in ["new", "old", "made/new"] {
                let (failure, taken) = fill(&store, asked);
                assert_eq!(failure, Failure::DiskFull);
                assert!(taken > DISK_OCTETS / 2, "{taken}");
                assert_eq!((listing(disk), free(disk)), before, "{asked} with {options:?}");
            }
            upload(&store, "new", &[1; 100_000]).unwrap();
            assert_eq!(fs::read(disk.join("new")).unwrap(), [1; 100_000]);
            fs::remove_file(disk.join("new")).unwrap();
        }
    });
}

#[test]
fn a_claim_that_does_not_fit_is_refused_at_once() {
    on_small_disk("disk_full::a_claim_that_does_not_fit_is_refused_at_once", |disk| {
        let refusal = |options: DirectoryOptions, claim| {
            directory(disk, options)
                .create(&name("new"), Some(claim))
                .map(drop)
                .map_err(|fault| fault.failure)
        };
        let free = free(disk);
        assert_eq!(refusal(options(), free), Ok(()));
        assert_eq!(refusal(options(), free + 1), Err(Failure::DiskFull));
        let reserve = with(|options| options.min_free_octets = 1000);
        assert_eq!(refusal(reserve, free - 1000), Ok(()));
        assert_eq!(refusal(reserve, free - 999), Err(Failure::DiskFull));
        let all = with(|options| options.min_free_octets = free);
        assert_eq!(refusal(all, 0), Err(Failure::DiskFull), "nothing is left above the reserve");
        // The text for the operator has the wanted octets and the free octets.
        let detail = |options: DirectoryOptions, claim| {
            let refused = directory(disk, options).create(&name("new"), Some(claim)).map(drop);
            refused.unwrap_err().detail.unwrap()
        };
        let (wanted, left) = (free + 1, free - 1000);
        let said = detail(options(), wanted);
        assert!(said.ends_with(&format!("no room for {wanted} octets more: {free} are free")), "{said}");
        let said = detail(reserve, free);
        let reserved = format!("{left} are free besides the reserve of 1000 (--min-free)");
        assert!(said.ends_with(&reserved), "{said}");
    });
}

#[test]
fn uploads_leave_the_reserve_alone() {
    on_small_disk("disk_full::uploads_leave_the_reserve_alone", |disk| {
        let reserve = DISK_OCTETS / 2;
        for options in both(with(|options| options.min_free_octets = reserve)) {
            let store = directory(disk, options);
            let mut sink = begun(&store, "new", &[1; 4096]);
            while sink.write(&[1; 4096]).is_ok() {
                assert!(free(disk) >= reserve, "{} octets are left", free(disk));
            }
            assert_eq!(sink.publish().unwrap_err().failure, Failure::DiskFull);
            let (failure, taken) = fill(&store, "other");
            assert_eq!(failure, Failure::DiskFull);
            assert!(taken + 8192 > DISK_OCTETS - reserve, "all above the reserve can be used: {taken}");
            assert!(listing(disk).is_empty());
        }
    });
}

#[test]
fn a_disk_without_room_for_another_file_is_full() {
    on_small_disk("disk_full::a_disk_without_room_for_another_file_is_full", |disk| {
        let mut files = 0;
        while fs::write(disk.join(format!("{files}")), "").is_ok() {
            files += 1;
        }
        let before = listing(disk);
        for options in both(with(|options| options.overwrite = true)) {
            let store = directory(disk, options);
            assert_eq!(upload(&store, "new", b"x"), Err(Failure::DiskFull));
            assert_eq!(upload(&store, "empty", b""), Err(Failure::DiskFull));
            assert_eq!(upload(&store, "0", b"x"), Err(Failure::DiskFull));
            assert_eq!(listing(disk), before);
        }
    });
}

#[test]
fn a_full_disk_removes_the_new_directories_again() {
    on_small_disk("disk_full::a_full_disk_removes_the_new_directories_again", |disk| {
        let mut files = 0;
        while fs::write(disk.join(format!("{files}")), "").is_ok() {
            files += 1;
        }
        // Makes room for the upload's file and the first of its two directories.
        fs::remove_file(disk.join("0")).unwrap();
        fs::remove_file(disk.join("1")).unwrap();
        let before = listing(disk);
        for options in both(with(|options| options.create_dirs = true)) {
            let sink = begun(&directory(disk, options), "made/second/new", b"whole");
            assert_eq!(sink.publish().unwrap_err().failure, Failure::DiskFull);
            assert_eq!(listing(disk), before, "{options:?}");
        }
    });
}
