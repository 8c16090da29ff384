//! The effect of each policy for symbolic links (SAFE-08).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use stagecoach::error::Failure;
use stagecoach::store::{Store, Symlinks};
use tempfile::TempDir;

use crate::support::{both, directory, listing, name, policy, read, scratch, upload, with};

const FORBIDDEN: Result<&str, Failure> = Err(Failure::Forbidden);
const NOT_FOUND: Result<&str, Failure> = Err(Failure::NotFound);

/// A root, a sibling whose name begins with the root's name, and every kind of link.
fn tree() -> (TempDir, PathBuf) {
    let base = scratch();
    let root = base.path().join("root");
    fs::create_dir_all(root.join("dir/deep")).unwrap();
    fs::create_dir(base.path().join("root-sibling")).unwrap();
    fs::write(root.join("file"), "inside").unwrap();
    fs::write(root.join("dir/file"), "deeper").unwrap();
    fs::write(base.path().join("root-sibling/secret"), "secret").unwrap();
    let neighbour = base.path().join("root-sibling");
    let absolute = |path: &str| root.join(path).to_str().unwrap().to_owned();
    for (link, target) in [
        ("absolute", absolute("file")),
        ("absolutedirin", absolute("dir")),
        ("absolutechain", absolute("dir/back")),
        ("dir/back", absolute("absolutedirin/../dirlink/./file")),
        ("absolutespelled", root.to_str().unwrap().replace('/', "//./") + "/dir//file"),
        ("absoluteslash", absolute("file/")),
        ("absolutedangling", absolute("nothing")),
        ("absoluteup", absolute("../root/file")),
        ("absoluteloop", absolute("absoluteloop")),
        ("absolutesibling", format!("{}-sibling/secret", root.display())),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let links: [(&str, &str); 15] = [
        ("link", "file"),
        ("dirlink", "dir"),
        ("chain", "link"),
        ("dir/up", "../file"),
        ("dir/deep/up", "../../dirlink/file"),
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
        // `..` removes the text of the link's name, so the name goes through no link.
        ("outdir/../file", Ok("inside"), Ok("inside"), Ok("inside")),
        ("absolute", Ok("inside"), FORBIDDEN, Ok("inside")),
        ("absolutedirin/file", Ok("deeper"), FORBIDDEN, Ok("deeper")),
        ("absolutedirin/up", Ok("inside"), FORBIDDEN, Ok("inside")),
        ("absolutechain", Ok("deeper"), FORBIDDEN, Ok("deeper")),
        ("absolutespelled", Ok("deeper"), FORBIDDEN, Ok("deeper")),
        ("absoluteslash", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("absolute/x", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("absolutedangling", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("absolutedangling/x", NOT_FOUND, FORBIDDEN, NOT_FOUND),
        ("absoluteup", FORBIDDEN, FORBIDDEN, Ok("inside")),
        ("absoluteloop", FORBIDDEN, FORBIDDEN, FORBIDDEN),
        ("absolutesibling", FORBIDDEN, FORBIDDEN, Ok("secret")),
        ("absoluteout/secret", FORBIDDEN, FORBIDDEN, Ok("secret")),
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
fn uploads_follow_links_only_as_the_policy_allows() {
    let table = [
        // asked, inside, deny, follow
        ("dir/new", Ok(()), Ok(()), Ok(())),
        ("dirlink/new", Ok(()), Err(Failure::Forbidden), Ok(())),
        ("absolutedirin/new", Ok(()), Err(Failure::Forbidden), Ok(())),
        ("absolute", Err(Failure::Forbidden), Err(Failure::Forbidden), Err(Failure::Forbidden)),
        ("absolutedangling/new", Err(Failure::NotFound), Err(Failure::Forbidden), Err(Failure::NotFound)),
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
fn a_root_that_is_a_link_is_resolved_at_start() {
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

/// An absolute link may begin with the root's path as given, or with the path of the directory that
/// the root leads to.
#[test]
fn an_absolute_link_may_use_the_spelling_of_the_root() {
    let (base, root) = tree();
    let given = base.path().join("srv");
    symlink("root", &given).unwrap();
    symlink(given.join("file"), root.join("as-given")).unwrap();
    symlink(base.path().join("other/file"), root.join("elsewhere")).unwrap();
    let store = directory(&given, policy(Symlinks::Inside));
    assert_eq!(read(&store, "as-given").unwrap(), b"inside");
    assert_eq!(read(&store, "absolute").unwrap(), b"inside");
    assert_eq!(read(&store, "elsewhere"), Err(Failure::Forbidden));
    // If the root is `/`, every absolute link leads below it.
    let store = directory("/".as_ref(), policy(Symlinks::Inside));
    let name = given.join("absolute");
    assert_eq!(read(&store, name.to_str().unwrap()).unwrap(), b"inside");
}

#[test]
fn a_link_that_is_not_followed_is_named_as_the_reason() {
    let (_base, root) = tree();
    let refusal = |symlinks, asked: &str| {
        let store = directory(&root, policy(symlinks));
        let read = store.open(&name(asked)).unwrap_err().to_string();
        // The refusal of an upload below the link has the same text.
        let upload = store.create(&name(format!("{asked}/new")), None).unwrap_err().to_string();
        assert_eq!(read.replace(asked, ""), upload.replace(&format!("{asked}/new"), ""));
        read
    };
    for asked in ["dirlink", "outdir", "loop"] {
        let text = refusal(Symlinks::Deny, asked);
        assert!(
            text.ends_with(&format!("{asked}: symbolic links are not followed (--symlinks deny)")),
            "{text}"
        );
    }
    for asked in ["outdir", "absoluteout"] {
        let text = refusal(Symlinks::Inside, asked);
        assert!(text.contains("a symbolic link leads out of the root and is not followed"), "{text}");
    }
    let text = refusal(Symlinks::Inside, "loop");
    assert!(text.contains("Too many levels of symbolic links"), "{text}");
}

#[test]
fn links_of_the_kernel_are_not_followed() {
    // SAFE-12: the links in /proc lead anywhere without a path.
    for symlinks in [Symlinks::Inside, Symlinks::Deny] {
        let store = directory("/proc/self".as_ref(), policy(symlinks));
        for asked in ["exe", "cwd/Cargo.toml", "root/etc/passwd"] {
            assert_eq!(read(&store, asked), Err(Failure::Forbidden), "{asked} with {symlinks:?}");
        }
    }
}
