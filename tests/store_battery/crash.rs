//! SIGKILL in the middle of uploads leaves the directory as before (WR-05).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use stagecoach::store::{DirectoryOptions, Store};

use crate::support::{
    again, begun, both, directory, knows_unnamed_files, listing, name, role, scratch, upload, with,
};

const UPLOADS: usize = 20;

fn parse(role: &str) -> (&Path, DirectoryOptions) {
    let (unnamed, root) = role.split_once(':').unwrap();
    let options = with(|options| {
        options.overwrite = true;
        options.create_dirs = true;
        options.unnamed_temporaries = unnamed == "true";
    });
    (Path::new(root), options)
}

/// Starts `test` again on `root`. Returns once the child is ready.
fn start(test: &str, root: &Path, options: DirectoryOptions) -> Child {
    let role = format!("{}:{}", options.unnamed_temporaries, root.display());
    let mut child = again(test, &role).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the child ended early");
    // The pipe stays open for as long as the child may write to it.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the child is to be killed, not to end");
}

#[test]
fn uploads_that_were_killed_leave_nothing() {
    let test = "crash::uploads_that_were_killed_leave_nothing";
    if let Some(role) = role() {
        let (root, options) = parse(&role);
        let store = directory(root, options);
        let mut sinks: Vec<_> = (0..UPLOADS)
            .map(|upload| match upload % 3 {
                0 => format!("old{upload}"),
                1 => format!("new{upload}"),
                _ => format!("made{upload}/deep/new"),
            })
            .map(|asked| begun(&store, asked, b"first block"))
            .collect();
        println!("ready");
        // Each upload is at another block when the kill comes.
        loop {
            for (pace, sink) in sinks.iter_mut().enumerate() {
                sink.write(&[pace as u8; 512]).unwrap();
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
    for options in both(with(|options| options.overwrite = true)) {
        let root = scratch();
        (0..UPLOADS).for_each(|file| fs::write(root.path().join(format!("old{file}")), "old").unwrap());
        let before = listing(root.path());
        for pause_ms in [0, 7, 31] {
            let child = start(test, root.path(), options);
            std::thread::sleep(Duration::from_millis(pause_ms));
            kill(child);
            let left = listing(root.path()).len() - before.len();
            let unnamed = options.unnamed_temporaries && knows_unnamed_files(root.path());
            assert_eq!(
                left,
                if unnamed { 0 } else { UPLOADS },
                "only named temporaries wait for the next start"
            );
            let sweep = directory(root.path(), options).sweep_stale().unwrap();
            assert_eq!((sweep.removed, sweep.complete), (left, true));
            assert_eq!(listing(root.path()), before, "after {pause_ms} ms with {options:?}");
        }
    }
}

#[test]
fn a_kill_while_publishing_leaves_old_or_new_file() {
    let test = "crash::a_kill_while_publishing_leaves_old_or_new_file";
    const OCTETS: usize = 3000;
    if let Some(role) = role() {
        let (root, mut options) = parse(&role);
        options.durable = false; // More publications before the end comes.
        let store = directory(root, options);
        println!("ready");
        for version in 0.. {
            upload(&store, "file", &[version as u8; OCTETS]).unwrap();
        }
    }
    for options in both(with(|options| options.overwrite = true)) {
        let root = scratch();
        fs::write(root.path().join("file"), [0; OCTETS]).unwrap();
        for round in 0..12 {
            let child = start(test, root.path(), options);
            std::thread::sleep(Duration::from_micros(1237 * round));
            kill(child);
            let content = fs::read(root.path().join("file")).unwrap();
            assert_eq!(content, [content[0]; OCTETS], "whole, and of one version");
            let left = listing(root.path()).len() - 1;
            assert!(left <= 1, "{left} leftovers");
            let store = directory(root.path(), options);
            assert_eq!(store.sweep_stale().unwrap().removed, left);
            assert_eq!(listing(root.path()).into_keys().collect::<Vec<_>>(), [b"file"]);
            assert!(store.open(&name("file")).is_ok());
        }
    }
}
