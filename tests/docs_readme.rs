//! Runs the commands of the README as they are written.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::daemon::{Daemon, binary};
use stagecoach::error::Failure;
use stagecoach::observe::Outcome;
use stagecoach::wire::ErrorCode;

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn readme() -> String {
    page("README.md")
}

/// The lines of code below a heading, up to the next heading.
fn code(readme: &str, heading: &str) -> Vec<String> {
    let (_, section) = readme.split_once(heading).unwrap_or_else(|| panic!("{heading} is gone"));
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

/// `PATH`, with the directory of the program first.
fn path() -> String {
    let program = binary();
    let directory = program.parent().expect("a directory");
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default())
}

fn sh(line: &str) -> (Option<i32>, String) {
    let output = Command::new("sh").args(["-c", line]).env("PATH", path()).output().expect("sh");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.into_owned())
}

#[test]
fn the_commands_of_the_readme_work() {
    let place = tempfile::tempdir().expect("a directory");
    let here = format!("{}/", place.path().display());
    let mut daemon = None;
    let mut ran = Vec::new();
    for line in code(&readme(), "## Serve, read, write") {
        let line = line.replace("/tmp/", &here);
        if line.starts_with("stagecoach --root") {
            let mut command = Command::new("sh");
            // Another process may use the default port.
            command.args(["-c", &format!("exec {line} --host 127.0.0.1 --port 0")]).env("PATH", path());
            daemon = Some(Daemon::spawn(command));
            continue;
        }
        let port = daemon.as_ref().map_or(9069, Daemon::port);
        let (code, said) = sh(&line.replace("9069", &port.to_string()));
        let is_refused = line.contains("# refused");
        assert_eq!(code != Some(0), is_refused, "{line}: {said}");
        ran.push((line, said));
    }
    let daemon = daemon.expect("a command that serves");
    let reads: Vec<_> =
        ran.iter().filter(|(line, _)| line.contains("hello.txt") && !line.contains("echo")).collect();
    assert!(reads.len() >= 2, "{ran:?}");
    assert!(reads.iter().all(|(_, said)| said.contains("hello")), "{reads:?}");
    assert_eq!(fs::read_to_string(place.path().join("tftp/news.txt")).expect("it was written"), "news\n");
    let log = daemon.stop().log;
    assert!(log.contains("write failed") && log.contains("File already exists"), "{log}");
}

/// Checks every flag in the README, the systemd unit and the Dockerfile.
#[test]
fn the_readme_types_no_flag_that_is_not_there() {
    let mut commands = 0;
    for line in readme().lines().filter_map(|line| line.strip_prefix("    ")) {
        let typed = line.trim_start_matches("sudo ").trim_start_matches("ExecStart=/usr/local/bin/");
        let entry: String;
        let typed = match typed.strip_prefix("ENTRYPOINT ") {
            Some(words) => {
                entry = words.replace(['[', ']', '"', ','], " ");
                entry.trim()
            }
            None => typed,
        };
        if typed.starts_with("stagecoach ") {
            let command = typed.split(" #").next().unwrap_or_default();
            let (code, said) = sh(&format!("{command} --help"));
            assert_eq!(code, Some(0), "{line}: {said}");
            commands += 1;
        }
    }
    assert!(commands >= 7, "{commands}");
}

/// The words in backticks of the first column of the table below a heading.
fn explained(page: &str, heading: &str) -> Vec<String> {
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("{heading} is gone"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let first = rows.filter_map(|row| row.split(" | ").next());
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn every_outcome_and_counter_is_explained() {
    let (readme, log) = (readme(), page("docs/log.md"));
    let client = || (ErrorCode::NOT_DEFINED, String::new());
    let ((code, message), (aborted, why)) = (client(), client());
    let outcomes = [
        Outcome::Complete,
        Outcome::Unconfirmed,
        Outcome::Declined { code, message },
        Outcome::PeerAborted { code: aborted, message: why },
        Outcome::Unanswered,
        Outcome::TimedOut,
        Outcome::PeerGone,
        Outcome::Superseded,
        Outcome::Failed(Failure::Io),
        Outcome::Outage(Failure::Io),
    ];
    let explained_outcomes = explained(&log, "\n## Outcomes");
    for outcome in outcomes.iter().map(Outcome::as_str).chain(["refused"]) {
        assert!(explained_outcomes.iter().any(|word| word == outcome), "{outcome}");
        assert!(!readme.contains(&format!("| `{outcome}` |")), "{outcome} is explained twice");
    }
    let example = log.lines().find_map(|line| line.trim().strip_prefix("INFO counters, ")).expect("counters");
    let mut counters: Vec<_> = example.split(", ").filter_map(|field| field.split(": ").next()).collect();
    let mut explained_counters = explained(&log, "\n## Counters");
    counters.sort_unstable();
    explained_counters.sort_unstable();
    assert_eq!(explained_counters, counters);
    // GitHub makes such anchors from headings.
    for (_, after) in readme.match_indices("docs/log.md#").map(|(at, link)| readme.split_at(at + link.len()))
    {
        let anchor = after.split(')').next().unwrap_or_default();
        assert!(log.lines().any(|line| line.to_lowercase() == format!("## {anchor}")), "#{anchor}");
    }
}
