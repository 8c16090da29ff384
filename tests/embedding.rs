//! What the library costs a program that embeds it, and needs no command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What only the program needs.
const OF_THE_PROGRAM: [&str; 8] =
    ["listenfd", "mimalloc", "sd-notify", "serde", "serde_json", "slog-term", "structopt", "time"];

/// Crates that it may cost. One more should be decided for, not slip in.
const CRATES_MAX: usize = 52;

/// What cargo writes to stdout and to stderr.
fn cargo(args: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there: it built this test");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "cargo {args:?}: {told}");
    (String::from_utf8(output.stdout).expect("names in UTF-8"), told)
}

#[test]
fn the_library_alone_depends_on_nothing_that_only_the_program_needs() {
    let (tree, _) =
        cargo(&["tree", "--locked", "--edges", "normal", "--no-default-features", "--prefix", "none"]);
    let names: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != "stagecoach").collect();
    let told = format!("{} crates without default features: {names:?}\n", names.len());
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedding.txt"), &told)
        .expect("a file for tests/run.sh");
    assert!(names.len() <= CRATES_MAX, "{told}");
    for name in OF_THE_PROGRAM {
        assert!(!names.contains(name), "{name} is needed without the program");
    }
}

/// Where the library is built without its default features; the other tests' directory is locked by whoever builds them.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("minimal")
}

/// Builds the library alone by this verb of cargo's, and returns what the compiler says.
fn build(verb: &[&str]) -> String {
    let target = target();
    let target = target.to_str().expect("a path in UTF-8");
    let alone = ["--quiet", "--locked", "--lib", "--no-default-features", "--target-dir", target];
    cargo(&[verb, &alone].concat()).1
}

/// With whichever of its features a program takes: what only one of them needs is not there without
/// it.
#[test]
fn the_library_compiles_alone_without_a_warning() {
    for features in [&[][..], &["--features", "testkit"], &["--features", "chaos"]] {
        let told = build(&[&["check"], features].concat());
        assert!(!told.contains("warning"), "{features:?}: {told}");
    }
}

/// The documentation of an item of the library without its default features.
fn page(item: &str) -> String {
    let path = target().join("doc/stagecoach").join(format!("{item}.html"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What an item has by itself, as `#method.route`: methods, fields, variants. Those that it has of traits are the traits'.
fn parts(item: &str) -> BTreeSet<String> {
    let page = page(item);
    let others =
        ["id=\"trait-implementations\"", "id=\"implementors\"", "id=\"foreign-impls\"", "id=\"deref-methods"];
    let end = others.iter().filter_map(|other| page.find(other)).min().unwrap_or(page.len());
    let ids = page[..end].split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let kinds = ["method", "tymethod", "variant", "structfield", "associatedconstant", "associatedtype"];
    let of_kind = ids.filter_map(|id| {
        let (kind, name) = id.split_once('.')?;
        // (Of two that are called the same, in two blocks, the second is `new-1`.)
        let name = name.split('-').next().unwrap_or(name);
        kinds.contains(&kind).then(|| format!("{item}#{kind}.{name}"))
    });
    of_kind.collect()
}

/// What `cargo doc` lists, as `extend/trait.Route`, and what it says of each, as `extend/trait.Route#tymethod.route`. A name that goes, or changes its kind, breaks somebody's program:
/// docs/stability.md.
#[test]
fn the_public_names_are_those_of_the_kept_list() {
    build(&["doc", "--no-deps"]);
    let all = page("all");
    let links = all.split("href=\"").skip(1).filter_map(|rest| rest.split(".html\"").next());
    let is_item = |link: &&str| !link.contains("..") && !link.contains(['"', '#']) && link.contains('.');
    let items: BTreeSet<String> = links.filter(is_item).map(str::to_owned).collect();
    let mut names: BTreeSet<String> = items.iter().flat_map(|item| parts(item)).collect();
    names.extend(items);
    for known in
        ["extend/trait.Route", "extend/trait.Route#tymethod.route", "wire/struct.Request#structfield.mode"]
    {
        assert!(names.contains(known), "{known} is not found: is the documentation read right?");
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/public-names.txt");
    if std::env::var_os("STAGECOACH_BLESS").is_some() {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        fs::write(&kept, lines).expect("the list can be written");
    }
    let kept = fs::read_to_string(kept).expect("a list is kept");
    let kept: BTreeSet<String> = kept.lines().map(str::to_owned).collect();
    let gone: Vec<_> = kept.difference(&names).collect();
    let new: Vec<_> = names.difference(&kept).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone: {gone:?}, new: {new:?}. If that is meant: STAGECOACH_BLESS=1 cargo test --test embedding"
    );
}
