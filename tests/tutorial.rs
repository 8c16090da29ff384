//! Follows the steps of docs/extending.md to the letter, from an empty directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a reader does.
#[derive(Debug, PartialEq)]
enum Step<'t> {
    Write { path: &'t str, content: &'t str },
    Run(&'t str),
}

/// The fenced blocks of the section. Rust code goes to the last file that the paragraph before it
/// names.
fn steps(text: &str) -> Vec<Step<'_>> {
    let (_, section) = text.split_once("\n## Step by step\n").expect("the section");
    let section = section.split_once("\n## ").expect("another section follows").0;
    let mut steps = Vec::new();
    let mut parts = section.split("```");
    while let (Some(before), Some(block)) = (parts.next(), parts.next()) {
        let (language, content) = block.split_once('\n').expect("a block of several lines");
        steps.push(match language.split(',').next() {
            Some("rust") => {
                let path = before.trim().trim_end_matches(':').rsplit('`').nth(1).expect("a file's name");
                Step::Write { path, content }
            }
            Some("sh") => Step::Run(content),
            other => panic!("a block of {other:?}"),
        });
    }
    steps
}

#[test]
fn the_steps_of_the_tutorial_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/extending.md")).expect("the manual");
    let numbered =
        text.lines().filter(|line| line.split_once(". ").is_some_and(|(n, _)| n.parse::<u8>().is_ok()));
    assert!(numbered.count() <= 12, "too many steps");
    let home = tempfile::tempdir().expect("an empty directory");
    symlink(root, home.path().join("stagecoach")).expect("stagecoach lies beside");
    let mut directory = home.path().to_owned();
    for step in steps(&text) {
        match step {
            Step::Write { path, content } => fs::write(prepared(&directory, path), content).expect("a file"),
            Step::Run(script) => {
                run(&directory, script);
                if script.contains("cd boards") {
                    directory.push("boards");
                }
            }
        }
    }
}

fn prepared(directory: &Path, path: &str) -> PathBuf {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    path
}

fn run(directory: &Path, script: &str) {
    let ran = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        // A build from nothing would take as long as all other tests.
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial"))
        .output()
        .expect("bash");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{script}\n{out}\n{err}");
}
