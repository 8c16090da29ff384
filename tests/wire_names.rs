//! Names in requests, and the names that must not lead out of the root (SAFE-, MAL-07 to MAL-09).

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::content::listing;
use common::daemon::Daemon;
use common::raw::{self, Client, Packet, ack, data, request};
use common::served::{GOOD, Served, directory};

const SECRET: &[u8] = b"nobody may read this";

/// A root with files that an attacker would want: `ROOT-private` and a file beside the root, and
/// links out of the root.
fn served_beside_secrets(flags: &[&str]) -> (Served, tempfile::TempDir) {
    let around = tempfile::tempdir().unwrap();
    let root = directory();
    let inside = |name: &str| root.path().join(name);
    fs::create_dir(inside("sub")).unwrap();
    fs::write(inside("sub/file"), b"inside").unwrap();
    fs::write(inside("file"), b"file").unwrap();
    fs::write(inside(".hidden"), b"hidden").unwrap();
    fs::write(inside("Case"), b"upper").unwrap();
    fs::write(around.path().join("secret"), SECRET).unwrap();
    symlink(around.path().join("secret"), inside("absolute-out")).unwrap();
    symlink(around.path(), inside("directory-out")).unwrap();
    symlink("../../../../../../../../etc/passwd", inside("relative-out")).unwrap();
    symlink("absolute-out", inside("link-to-link-out")).unwrap();
    symlink("sub/file", inside("inside")).unwrap();
    symlink("sub", inside("inside-directory")).unwrap();
    symlink("../file", inside("sub/up")).unwrap();
    symlink(root.path().join("file"), inside("absolute-in")).unwrap();
    symlink("loop", inside("loop")).unwrap();
    symlink("/proc/self/environ", inside("proc")).unwrap();
    symlink("/dev/zero", inside("zero")).unwrap();
    let daemon = Daemon::start(root.path(), flags);
    (Served::at(root, daemon), around)
}

/// The beginning of the file, or the code of the ERROR.
type Gets<'a> = Result<&'a [u8], u16>;

fn outcome(served: &Served, opcode: u16, name: &[u8]) -> Result<Vec<u8>, u16> {
    let mut client = served.ask(&request(opcode, name, "octet", &[]));
    match client.next() {
        Packet::Error { code, text } => {
            assert!(!text.contains('/'), "{text:?}");
            Err(code)
        }
        Packet::Data { payload, .. } => {
            client.send(&ack(1));
            Ok(payload)
        }
        Packet::Ack { block: 0, .. } => {
            client.send(&raw::error(0, "that is all"));
            Ok(Vec::new())
        }
        other => panic!("{}: {}", name.escape_ascii(), other.brief()),
    }
}

/// SAFE-02, -03, -04, -06, -13, -14, -15, -16; D3; R3617-02, -03.
#[test]
fn no_spelling_of_a_name_leads_out_of_the_root() {
    let (served, around) = served_beside_secrets(&[]);
    let odd: [&[u8]; 3] = [b"r\xc3\xa4t\xff\xfe", b"%2e%2e", b"x;mode=netascii"];
    for name in odd {
        fs::write(served.root.path().join(OsStr::from_bytes(name)), b"odd").unwrap();
    }
    let full = served.path("file").to_str().unwrap().to_owned();
    let secret = around.path().join("secret").to_str().unwrap().to_owned();
    let cases: Vec<(&[u8], Gets)> = vec![
        (b"file", Ok(b"file")),
        (b"/file", Ok(b"file")),
        (b"//file", Ok(b"file")),
        (b"/./file", Ok(b"file")),
        (b"./file", Ok(b"file")),
        (b"\\file", Ok(b"file")),
        (b"sub/file", Ok(b"inside")),
        (b"/sub//file", Ok(b"inside")),
        (b"sub\\file", Ok(b"inside")),
        (b"\\sub\\.\\file", Ok(b"inside")),
        // Resolved by the text of the name, these never leave the root.
        (b"sub/../file", Ok(b"file")),
        (b"no-such/../file", Ok(b"file")),
        (b"directory-out/../file", Ok(b"file")),
        (b".hidden", Ok(b"hidden")),
        (b"Case", Ok(b"upper")),
        (b"r\xc3\xa4t\xff\xfe", Ok(b"odd")),
        (b"%2e%2e", Ok(b"odd")),
        (b"x;mode=netascii", Ok(b"odd")),
        // Files that do not exist.
        (b"case", Err(1)),
        (b"CASE", Err(1)),
        (b"%66ile", Err(1)),
        (b"~", Err(1)),
        (b"~root/x", Err(1)),
        (b"$HOME", Err(1)),
        (b"%2e%2e/secret", Err(1)),
        (b"\xc0\xae\xc0\xae/secret", Err(1)),
        ("．．／secret".as_bytes(), Err(1)),
        ("..\u{2215}secret".as_bytes(), Err(1)),
        ("elif\u{202e}file".as_bytes(), Err(1)),
        (b"file ", Err(1)),
        (b"file.", Err(1)),
        (b"file/", Err(1)),
        (b"sub/", Err(1)),
        (b"C:file", Err(1)),
        (full.as_bytes(), Err(1)),
        (secret.as_bytes(), Err(1)),
        (b"/etc/passwd", Err(1)),
        (b".stagecoach-0123456789abcdef.part", Err(1)),
        // The root itself, directories, and paths above the root.
        (b"/", Err(2)),
        (b".", Err(2)),
        (b"//", Err(2)),
        (b"sub", Err(2)),
        (b"sub/..", Err(2)),
        (b"..", Err(2)),
        (b"../secret", Err(2)),
        (b"/../etc/passwd", Err(2)),
        (b"sub/../../secret", Err(2)),
        (b"a/b/../../../secret", Err(2)),
        (b"..\\secret", Err(2)),
        (b"sub\\..\\..\\secret", Err(2)),
        (b"..//secret", Err(2)),
        (b"./../secret", Err(2)),
        // MAL-09.
        (b"fi\x01le", Err(2)),
        (b"file\n", Err(2)),
        (b"\x1b[31mfile", Err(2)),
        (b"file\x7f", Err(2)),
    ];
    let before = listing(around.path());
    for (name, wanted) in &cases {
        let read = outcome(&served, 1, name);
        assert_eq!(read.as_deref().map_err(|code| *code), *wanted, "read {}", name.escape_ascii());
        // A name that can't be read because of its form can't be written either, and no existing
        // file is replaced.
        let write = outcome(&served, 2, name);
        match wanted {
            Err(2) => assert_eq!(write, Err(2), "write {}", name.escape_ascii()),
            Ok(_) => assert_eq!(write, Err(6), "write {}", name.escape_ascii()),
            _ => {}
        }
    }
    // A sibling whose name begins with the root's name.
    let root_name = served.root.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(outcome(&served, 1, format!("../{root_name}-private/x").as_bytes()), Err(2));
    assert_eq!(listing(around.path()), before);
    let log = served.daemon.log();
    let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(log.chars().all(harmless), "a name can't draw a wrong line in the log: {log}");
    served.still_serves();
}

/// SAFE-08, -11, -12 and `--symlinks`.
#[test]
fn links_are_followed_as_far_as_the_operator_allows() {
    let links: &[(&str, [Gets; 3])] = &[
        // name, inside, deny, follow
        ("inside", [Ok(b"inside"), Err(2), Ok(b"inside")]),
        ("inside-directory/file", [Ok(b"inside"), Err(2), Ok(b"inside")]),
        ("sub/up", [Ok(b"file"), Err(2), Ok(b"file")]),
        ("absolute-in", [Ok(b"file"), Err(2), Ok(b"file")]),
        ("absolute-out", [Err(2), Err(2), Ok(SECRET)]),
        ("directory-out/secret", [Err(2), Err(2), Ok(SECRET)]),
        ("link-to-link-out", [Err(2), Err(2), Ok(SECRET)]),
        ("loop", [Err(2), Err(2), Err(2)]),
        ("zero", [Err(2), Err(2), Err(2)]),
    ];
    for (index, flag) in ["inside", "deny", "follow"].into_iter().enumerate() {
        let (served, around) = served_beside_secrets(&["--symlinks", flag]);
        for (name, wanted) in links {
            let read = outcome(&served, 1, name.as_bytes());
            assert_eq!(read.as_deref().map_err(|code| *code), wanted[index], "--symlinks {flag}: {name}");
            // No upload replaces an existing file, least of all through a link.
            assert!(outcome(&served, 2, name.as_bytes()).is_err(), "--symlinks {flag}: write {name}");
        }
        if flag != "follow" {
            assert!(outcome(&served, 1, b"relative-out").is_err());
            assert!(outcome(&served, 1, b"proc").is_err());
            assert_eq!(outcome(&served, 2, b"directory-out/new"), Err(2), "--symlinks {flag}");
        }
        assert_eq!(fs::read(around.path().join("secret")).unwrap(), SECRET);
        assert_eq!(listing(around.path()).len(), 1);
        served.still_serves();
    }
}

/// SAFE-01, -07, WR-02: an upload goes where its name says, in every spelling of the name.
#[test]
fn uploads_land_below_the_root() {
    let (served, around) = served_beside_secrets(&[]);
    for (name, path) in
        [("/a", "a"), ("sub\\b", "sub/b"), ("./sub/../c", "c"), ("//sub//d", "sub/d"), ("C:x", "C:x")]
    {
        served.write(name, "octet", &[], name.as_bytes());
        assert_eq!(served.contents(path).as_deref(), Some(name.as_bytes()));
    }
    for (name, code) in
        [("../e", 2), ("sub/../../e", 2), ("directory-out/e", 2), ("no-such/e", 1), ("sub/", 1), ("/", 2)]
    {
        assert_eq!(outcome(&served, 2, name.as_bytes()), Err(code), "{name}");
    }
    assert_eq!(listing(around.path()).len(), 1);
    served.still_serves();
}

/// SAFE-09: a directory that is a link out of the root every other moment. `race.rs` in
/// `store_battery` does this 10^5 times.
#[test]
fn a_directory_swapped_for_a_link_never_leads_out() {
    let (served, around) = served_beside_secrets(&["--overwrite"]);
    fs::create_dir(served.path("real")).unwrap();
    fs::write(served.path("real/secret"), b"inside").unwrap();
    let (flip, real, out) = (served.path("flip"), served.path("real"), around.path().to_owned());
    let over = AtomicBool::new(false);
    let switch = |target: &Path| {
        let temporary = flip.with_extension("tmp");
        let _ = fs::remove_file(&temporary);
        symlink(target, &temporary).unwrap();
        fs::rename(&temporary, &flip).unwrap();
    };
    switch(Path::new("real"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                switch(&out);
                switch(Path::new("real"));
            }
        });
        let (mut inside, mut refused) = (0, 0);
        for _ in 0..400 {
            match outcome(&served, 1, b"flip/secret") {
                Ok(octets) => {
                    assert_eq!(octets, b"inside");
                    inside += 1;
                }
                Err(code) => {
                    assert!(matches!(code, 1 | 2), "ERROR {code}");
                    refused += 1;
                }
            }
            let mut client = served.ask(&raw::wrq("flip/secret", "octet", &[]));
            if let Packet::Ack { .. } = client.next() {
                client.send(&data(1, b"inside"));
                client.receive(Duration::from_secs(5)).expect("an answer");
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(inside + refused == 400);
    });
    assert_eq!(fs::read(around.path().join("secret")).unwrap(), SECRET);
    assert_eq!(listing(around.path()).len(), 1, "nothing was written outside");
    assert_eq!(fs::read(real.join("secret")).unwrap(), b"inside");
    served.still_serves();
}

/// SAFE-11: opening a FIFO without a writer would block.
#[test]
fn a_fifo_is_refused_without_waiting() {
    let served = Served::new(&["--overwrite"]);
    std::process::Command::new("mkfifo").arg(served.path("fifo")).status().unwrap();
    let clients: Vec<Client> =
        (0..40).map(|number| served.ask(&request(1 + number % 2, b"fifo", "octet", &[]))).collect();
    for mut client in clients {
        client.expect_error(2);
    }
    served.still_serves();
}

/// MAL-07: no system call gets a shortened name.
#[test]
fn names_too_long_for_a_file_system_are_not_found() {
    let served = Served::new(&["--create-dirs"]);
    let longest = "n".repeat(255);
    served.write(&longest, "octet", &[], b"content");
    assert_eq!(served.read(&longest, "octet", &[]), b"content");
    for name in ["n".repeat(256), format!("{}/x", "n".repeat(300)), "n/".repeat(1000), "x".repeat(2000)] {
        assert_eq!(outcome(&served, 1, name.as_bytes()), Err(1));
    }
    assert_eq!(outcome(&served, 2, "n".repeat(256).as_bytes()), Err(1));
    assert_eq!(served.contents(GOOD).unwrap().len(), 1300);
    served.still_serves();
}
