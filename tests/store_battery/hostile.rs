//! Things that are not files: the store refuses each at once, without opening it (SAFE-11).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use stagecoach::error::Failure;
use stagecoach::store::{Directory, Name, Store, Symlinks};

use crate::support::{both, directory, listing, name, options, policy, read, scratch, upload, with};

const POLICIES: [Symlinks; 3] = [Symlinks::Inside, Symlinks::Deny, Symlinks::Follow];

/// Runs `work`, which must not hang.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(20)).expect("it must end at once, and hangs (or panicked)")
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

#[test]
fn non_files_are_refused_without_waiting() {
    let root = scratch();
    fs::create_dir(root.path().join("directory")).unwrap();
    fifo(&root.path().join("fifo"));
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
    let before = listing(root.path());
    for symlinks in POLICIES {
        for asked in ["directory", "fifo", "socket"] {
            let store = directory(root.path(), policy(symlinks));
            assert_eq!(
                in_time(move || read(&store, asked)),
                Err(Failure::NotRegular),
                "{asked} {symlinks:?}"
            );
            for overwrite in [false, true] {
                let store = directory(
                    root.path(),
                    with(|options| {
                        options.symlinks = symlinks;
                        options.overwrite = overwrite;
                    }),
                );
                let outcome = in_time(move || upload(&store, asked, b"new"));
                assert_eq!(outcome, Err(Failure::NotRegular), "{asked} {symlinks:?}");
            }
        }
    }
    assert_eq!(listing(root.path()), before);
}

#[test]
fn devices_are_refused() {
    for symlinks in POLICIES {
        for asked in ["zero", "null", "tty"] {
            let store = directory("/dev".as_ref(), policy(symlinks));
            assert_eq!(
                in_time(move || read(&store, asked)),
                Err(Failure::NotRegular),
                "{asked} {symlinks:?}"
            );
        }
    }
    let root = scratch();
    symlink("/dev/zero", root.path().join("zeroes")).unwrap();
    let store = directory(root.path(), policy(Symlinks::Follow));
    assert_eq!(in_time(move || read(&store, "zeroes")), Err(Failure::NotRegular));
}

#[test]
fn a_writer_blocked_at_a_fifo_is_not_woken() {
    let root = scratch();
    let path = root.path().join("fifo");
    fifo(&path);
    let (sender, writer) = mpsc::channel();
    let waits_at = path.clone();
    std::thread::spawn(move || {
        let opened = OpenOptions::new().write(true).open(waits_at);
        sender.send(opened.is_ok())
    });
    std::thread::sleep(Duration::from_millis(200));
    for symlinks in POLICIES {
        assert_eq!(read(&directory(root.path(), policy(symlinks)), "fifo"), Err(Failure::NotRegular));
    }
    assert!(
        writer.recv_timeout(Duration::from_millis(300)).is_err(),
        "the writer still waits for its reader"
    );
    let _reader = in_time(move || File::open(path).unwrap());
    assert!(writer.recv_timeout(Duration::from_secs(20)).unwrap());
}

#[test]
fn a_file_with_a_hard_link_is_not_overwritten() {
    // SAFE-10.
    let base = scratch();
    let root = base.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(base.path().join("outside"), "precious").unwrap();
    fs::hard_link(base.path().join("outside"), root.join("file")).unwrap();
    for options in both(with(|options| options.overwrite = true)) {
        assert_eq!(upload(&directory(&root, options), "file", b"new"), Err(Failure::Forbidden));
    }
    assert_eq!(upload(&directory(&root, options()), "file", b"new"), Err(Failure::Exists));
    assert_eq!(fs::read(root.join("file")).unwrap(), b"precious");
    assert_eq!(
        read(&directory(&root, options()), "file").unwrap(),
        b"precious",
        "reading it is the operator's"
    );
}

#[test]
fn a_file_without_a_size_is_an_empty_file() {
    // SAFE-12.
    let store = directory("/proc/self".as_ref(), options());
    assert!(!fs::read("/proc/self/status").unwrap().is_empty());
    assert_eq!(read(&store, "status").unwrap(), b"");
}

#[test]
fn no_spelling_leads_to_a_neighbour() {
    // SAFE-01, -06, and the sibling whose name begins with the root's name.
    let base = scratch();
    let root = base.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::create_dir(base.path().join("root-sibling")).unwrap();
    fs::write(base.path().join("root-sibling/secret"), "secret").unwrap();
    let absolute = base.path().join("root-sibling/secret");
    let spelled = [
        "../root-sibling/secret",
        "-sibling/secret",
        "..\\root-sibling\\secret",
        "/../root-sibling/secret",
        "%2e%2e/root-sibling/secret",
        "....//root-sibling/secret",
        ".../root-sibling/secret",
        "\u{ff0e}\u{ff0e}/root-sibling/secret",
        absolute.to_str().unwrap(),
    ];
    for symlinks in POLICIES {
        let store = directory(&root, policy(symlinks));
        for asked in spelled {
            let outcome = Name::from_request(asked.as_bytes())
                .and_then(|name| store.open(&name).map(drop))
                .map_err(|fault| fault.failure);
            assert!(matches!(outcome, Err(Failure::Forbidden | Failure::NotFound)), "{asked}: {outcome:?}");
        }
    }
}

#[test]
fn a_root_that_can_not_be_served_is_an_error() {
    let base = scratch();
    fs::write(base.path().join("file"), "").unwrap();
    for root in ["missing", "file", "file/below"] {
        let error = Directory::open(&base.path().join(root), options()).unwrap_err().to_string();
        assert!(error.contains(root) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_operator_reads_the_path_and_the_peer_does_not() {
    let root = scratch();
    let fault = directory(root.path(), options()).open(&name("some/missing")).unwrap_err();
    let path = root.path().to_str().unwrap();
    assert!(fault.detail.as_ref().unwrap().contains(path), "{fault}");
    assert_eq!(fault.failure.to_string(), "File not found");
}
