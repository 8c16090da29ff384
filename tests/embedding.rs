//! What the library costs a program that embeds it, and needs no command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What only the program needs.
const OF_THE_PROGRAM: [&str; 8] =
    ["listenfd", "mimalloc", "sd-notify", "serde", "serde_json", "slog-term", "structopt", "time"];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there: it built this test");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?}: {told}");
    String::from_utf8(output.stdout).expect("names in UTF-8")
}

#[test]
fn the_library_alone_depends_on_nothing_that_only_the_program_needs() {
    let tree = cargo(&["tree", "--locked", "--edges", "normal", "--no-default-features", "--prefix", "none"]);
    let names: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != "stagecoach").collect();
    println!("{} crates without default features", names.len());
    for name in OF_THE_PROGRAM {
        assert!(!names.contains(name), "{name} is needed without the program");
    }
}

/// Where the library is built without its default features; the other tests' directory is locked by whoever builds them.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("minimal")
}

/// Builds the library alone by this verb of cargo's.
fn build(verb: &[&str]) {
    let target = target();
    let target = target.to_str().expect("a path in UTF-8");
    let alone = ["--quiet", "--locked", "--lib", "--no-default-features", "--target-dir", target];
    cargo(&[verb, &alone].concat());
}

#[test]
fn the_library_compiles_alone() {
    build(&["check"]);
}

/// What `cargo doc` lists, as `extend/trait.Route`. A name that goes, or changes its kind, breaks somebody's program: docs/stability.md.
#[test]
fn the_public_names_are_those_of_the_kept_list() {
    build(&["doc", "--no-deps"]);
    let all = fs::read_to_string(target().join("doc/stagecoach/all.html")).expect("a list of all items");
    let links = all.split("href=\"").skip(1).filter_map(|rest| rest.split(".html\"").next());
    let is_item = |link: &&str| !link.contains("..") && !link.contains(['"', '#']) && link.contains('.');
    let names: BTreeSet<&str> = links.filter(is_item).collect();
    assert!(names.contains("extend/trait.Route"), "{names:?}");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/public-names.txt");
    if std::env::var_os("STAGECOACH_BLESS").is_some() {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        fs::write(&kept, lines).expect("the list can be written");
    }
    let kept = fs::read_to_string(kept).expect("a list is kept");
    let kept: BTreeSet<&str> = kept.lines().collect();
    let gone: Vec<_> = kept.difference(&names).collect();
    let new: Vec<_> = names.difference(&kept).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "gone: {gone:?}, new: {new:?}. If that is meant: STAGECOACH_BLESS=1 cargo test --test embedding"
    );
}
