//! What each policy for symbolic links lets through (SAFE-08).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use stagecoach::error::Failure;
use stagecoach::store::Symlinks;
use tempfile::TempDir;

use crate::support::{both, directory, listing, policy, read, scratch, upload, with};

const FORBIDDEN: Result<&str, Failure> = Err(Failure::Forbidden);
const NOT_FOUND: Result<&str, Failure> = Err(Failure::NotFound);

/// A root with a neighbour whose name begins like its own, and every kind of link.
fn tree() -> (TempDir, PathBuf) {
    let base = scratch();
    let root = base.path().join("root");
    fs::create_dir_all(root.join("dir/deep")).unwrap();
    fs::create_dir(base.path().join("root-sibling")).unwrap();
    fs::write(root.join("file"), "inside").unwrap();
    fs::write(root.join("dir/file"), "deeper").unwrap();
    fs::write(base.path().join("root-sibling/secret"), "secret").unwrap();
    let absolute = root.join("file");
    let neighbour = base.path().join("root-sibling");
    let links: [(&str, &str); 16] = [
        ("link", "file"),
        ("dirlink", "dir"),
        ("chain", "link"),
        ("dir/up", "../file"),
        ("dir/deep/up", "../../dirlink/file"),
        ("absolute", absolute.to_str().unwrap()),
        ("absolutedir", "/"),
        ("absoluteout", neighbour.to_str().unwrap()),
        ("out", "../root-sibling/secret"),
        ("outdir", "../root-sibling"),
        ("chainout", "out"),
        ("outandin", "../root/file"),
        ("dangling", "nothing"),
        ("danglingdir", "nothing/here"),
        ("loop", "loop"),
        ("pingpong", "dir/../pingpong"),
    ];
    for (link, target) in links {
        symlink(target, root.join(link)).unwrap();
    }
    (base, root)
}

#[test]
fn links_lead_where_the_policy_lets_them() {
    let (_base, root) = tree();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let table = [
        // asked, inside, deny, follow
        ("file", Ok("inside"), Ok("inside"), Ok("inside")),
        ("dir/file", Ok("deeper"), Ok("deeper"), Ok("deeper")),
        ("link", Ok("inside"), FORBIDDEN, Ok("inside")),
        ("chain", Ok("inside"), FORBIDDEN, Ok("inside")),
        ("dirlink/file", Ok("deeper"), FORBIDDEN, Ok("deeper")),
        ("dirlink/up", Ok("inside"), FORBIDDEN, Ok("inside")),
        ("dir/up", Ok("inside"), FORBIDDEN, Ok("inside")),
        ("dir/deep/up", Ok("deeper"), FORBIDDEN, Ok("deeper")),
        // The name goes up by the letter: through no link at all.
        ("outdir/../file", Ok("inside"), Ok("inside"), Ok("inside")),
        ("absolute", FORBIDDEN, FORBIDDEN, Ok("inside")),
        ("absolutedir/etc/passwd", FORBIDDEN, FORBIDDEN, Ok(passwd.as_str())),
        ("out", FORBIDDEN, FORBIDDEN, Ok("secret")),
        ("chainout", FORBIDDEN, FORBIDDEN, Ok("secret")),
        ("outdir/secret", FORBIDDEN, FORBIDDEN, Ok("secret")),
        ("outandin", FORBIDDEN, FORBIDDEN, Ok("inside")),
        ("dangling", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("danglingdir", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("dangling/x", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("loop", FORBIDDEN, FORBIDDEN, FORBIDDEN),
        ("loop/x", FORBIDDEN, FORBIDDEN, FORBIDDEN),
        ("pingpong", FORBIDDEN, FORBIDDEN, FORBIDDEN),
        ("file/x", NOT_FOUND, NOT_FOUND, NOT_FOUND),
        ("link/x", NOT_FOUND, FORBIDDEN, NOT_FOUND),
    ];
    for (asked, inside, deny, follow) in table {
        for (symlinks, expected) in
            [(Symlinks::Inside, inside), (Symlinks::Deny, deny), (Symlinks::Follow, follow)]
        {
            let store = directory(&root, policy(symlinks));
            let expected = expected.map(|content| content.as_bytes().to_vec());
            assert_eq!(read(&store, asked), expected, "{asked} with {symlinks:?}");
        }
    }
}

#[test]
fn uploads_go_through_links_only_where_the_policy_lets_them_and_never_onto_one() {
    let table = [
        // asked, inside, deny, follow
        ("dir/new", Ok(()), Ok(()), Ok(())),
        ("dirlink/new", Ok(()), Err(Failure::Forbidden), Ok(())),
        ("outdir/new", Err(Failure::Forbidden), Err(Failure::Forbidden), Ok(())),
        ("link", Err(Failure::Forbidden), Err(Failure::Forbidden), Err(Failure::Forbidden)),
        ("out", Err(Failure::Forbidden), Err(Failure::Forbidden), Err(Failure::Forbidden)),
        ("dangling", Err(Failure::Forbidden), Err(Failure::Forbidden), Err(Failure::Forbidden)),
        ("loop/new", Err(Failure::Forbidden), Err(Failure::Forbidden), Err(Failure::Forbidden)),
        ("danglingdir/new", Err(Failure::NotFound), Err(Failure::Forbidden), Err(Failure::NotFound)),
        ("absoluteout/new", Err(Failure::Forbidden), Err(Failure::Forbidden), Ok(())),
    ];
    for (asked, inside, deny, follow) in table {
        for (symlinks, expected) in
            [(Symlinks::Inside, inside), (Symlinks::Deny, deny), (Symlinks::Follow, follow)]
        {
            for changes in [(false, false), (true, false), (false, true), (true, true)] {
                let (base, root) = tree();
                let before = listing(base.path());
                let options = with(|options| {
                    options.symlinks = symlinks;
                    (options.overwrite, options.create_dirs) = changes;
                });
                for options in both(options) {
                    let outcome = upload(&directory(&root, options), asked, b"new");
                    let case = format!("{asked} with {options:?}");
                    assert_eq!(outcome, expected, "{case}");
                    match outcome {
                        Ok(()) => fs::remove_file(root.join(asked)).unwrap(),
                        Err(_) => assert_eq!(listing(base.path()), before, "{case}"),
                    }
                }
                assert_eq!(listing(base.path()), before, "{asked} with {options:?}");
            }
        }
    }
}

#[test]
fn the_root_may_be_a_link_itself_and_stays_what_it_was_at_start() {
    let (base, root) = tree();
    let link = base.path().join("srv");
    symlink("root", &link).unwrap();
    let store = directory(&link, policy(Symlinks::Deny));
    assert_eq!(read(&store, "file").unwrap(), b"inside");
    fs::remove_file(&link).unwrap();
    symlink("root-sibling", &link).unwrap();
    assert_eq!(read(&store, "secret"), Err(Failure::NotFound));
    fs::rename(&root, base.path().join("moved")).unwrap();
    assert_eq!(read(&store, "file").unwrap(), b"inside");
}

#[test]
fn links_of_the_kernel_are_not_followed() {
    // SAFE-12: /proc's links lead anywhere without a path.
    for symlinks in [Symlinks::Inside, Symlinks::Deny] {
        let store = directory("/proc/self".as_ref(), policy(symlinks));
        for asked in ["exe", "cwd/Cargo.toml", "root/etc/passwd"] {
            assert_eq!(read(&store, asked), Err(Failure::Forbidden), "{asked} with {symlinks:?}");
        }
    }
}
