//! What the library costs a program that embeds it, and which names the library promises.

#[path = "embedding/library.rs"]
mod library;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use library::{Library, is_rigid, name};

/// Crates that only the program needs.
const OF_THE_PROGRAM: [&str; 8] =
    ["listenfd", "mimalloc", "sd-notify", "serde", "serde_json", "slog-term", "structopt", "time"];

/// Maximum number of crates in the library's dependencies. A further crate needs a decision.
const CRATES_MAX: usize = 52;

/// Runs cargo. Returns stdout and stderr.
fn cargo(args: &[&str]) -> (String, String) {
    run(Command::new(env!("CARGO")).args(args))
}

fn run(cargo: &mut Command) -> (String, String) {
    let output =
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo is there: it built this test");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{cargo:?}: {stderr}");
    (String::from_utf8(output.stdout).expect("names in UTF-8"), stderr)
}

#[test]
fn the_library_needs_no_crate_of_the_program() {
    let (tree, _) =
        cargo(&["tree", "--locked", "--edges", "normal", "--no-default-features", "--prefix", "none"]);
    let names: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != "stagecoach").collect();
    let summary = format!("{} crates without default features: {names:?}\n", names.len());
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedding.txt"), &summary)
        .expect("a file for tests/run.sh");
    assert!(names.len() <= CRATES_MAX, "{summary}");
    for name in OF_THE_PROGRAM {
        assert!(!names.contains(name), "{name} is needed without the program");
    }
}

/// Target directory of the builds without default features. Another build may hold the lock of the
/// other tests' directory.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("minimal")
}

/// A command that builds the library alone with this verb of cargo.
fn build(verb: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    let alone = ["--quiet", "--locked", "--lib", "--no-default-features", "--target-dir"];
    command.args(verb).args(alone).arg(target());
    command
}

/// Builds the library with each set of features that a program may choose. An item that only one
/// feature needs must not exist without the feature.
#[test]
fn the_library_compiles_alone_without_a_warning() {
    for features in [&[][..], &["--features", "testkit"], &["--features", "chaos"]] {
        let (_, stderr) = run(&mut build(&[&["check"], features].concat()));
        assert!(!stderr.contains("warning"), "{features:?}: {stderr}");
    }
}

#[test]
fn the_public_names_are_those_of_the_kept_list() {
    let names = Library::documented().names();
    for known in ["trait extend::Route", "fn extend::Route::route", "field wire::Request::mode"] {
        assert!(names.contains(known), "{known} is not found: is rustdoc's JSON read right?");
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

/// Enums that the RFCs have completed.
const EXHAUSTIVE: [&str; 3] = ["Direction", "Opcode", "Packet"];

/// A new field or variant must not break a program (docs/stability.md).
#[test]
fn growing_enums_and_structs_are_non_exhaustive() {
    let library = Library::documented();
    let rigid: BTreeSet<&str> = library.public().filter(|item| is_rigid(item)).filter_map(name).collect();
    assert_eq!(rigid, BTreeSet::from(EXHAUSTIVE));
}
