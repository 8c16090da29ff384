//! Runs the verb `bench` against the real daemon: its counts are right, and failures count as
//! failures.

mod common;

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Output};

use common::content::Content;
use common::daemon;
use common::served::Served;
use serde_json::Value;

const CONTENT: Content = Content { seed: 3, len: 100_000 };

fn bench(what: &str, port: u16, flags: &[&str]) -> Output {
    let mut command = Command::new(daemon::binary());
    command.args(["bench", what, "--to", &format!("127.0.0.1:{port}")]).args(flags);
    command.output().expect("the binary")
}

/// The report of a `bench` that ends with this exit code.
#[track_caller]
fn report(output: &Output, code: i32) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Serves a file `f`. A copy of the file is outside of the root.
fn served(flags: &[&str]) -> (Served, tempfile::TempDir) {
    let (served, beside) = (Served::new(flags), tempfile::tempdir().expect("a directory"));
    CONTENT.write(&served.path("f"));
    CONTENT.write(&beside.path().join("f"));
    (served, beside)
}

#[test]
fn every_transfer_and_octet_of_a_read_is_counted() {
    let (served, beside) = served(&[]);
    let file = beside.path().join("f");
    let flags = ["--name", "f", "-n", "60", "-c", "20", "--check", file.to_str().expect("UTF-8")];
    let output = bench("get", served.daemon.port(), &flags);
    let report = report(&output, 0);
    assert_eq!((&report["ok"], &report["failed"]), (&60.into(), &0.into()), "{report}");
    assert_eq!(report["octets"], 60 * CONTENT.len, "{report}");
    assert_eq!(report["concurrency"], 20, "{report}");
    let times = ["p50", "p90", "p99", "max"].map(|rank| report["latency_us"][rank].as_u64().expect("a time"));
    assert!(times.is_sorted() && times[0] > 0, "{report}");
    assert!(report["first_answer_us"]["p50"].as_u64() <= report["latency_us"]["p50"].as_u64(), "{report}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("stagecoach: get: 60 succeeded") && said.lines().count() == 1, "{said}");
    let ended = served.daemon.stop();
    let lines = ended.log.lines().filter(|line| line.contains("INFO read complete"));
    assert_eq!(lines.count(), 60, "the server has seen as many: {}", ended.log);
}

#[test]
fn a_file_with_other_octets_is_no_success() {
    let (served, beside) = served(&[]);
    let file = beside.path().join("f");
    for change in [|all: &mut Vec<u8>| all[70_000] ^= 1, |all: &mut Vec<u8>| all.push(0)] {
        let mut all = served.contents("f").expect("served");
        change(&mut all);
        fs::write(&file, all).expect("written");
        let flags = ["--name", "f", "-n", "3", "--quiet", "--check", file.to_str().expect("UTF-8")];
        let output = bench("get", served.daemon.port(), &flags);
        let report = report(&output, 1);
        assert_eq!((&report["ok"], &report["failed"]), (&0.into(), &3.into()), "{report}");
        assert_eq!(report["failures"]["what came is not what --check has"], 3, "{report}");
        assert!(!output.stderr.is_empty(), "quiet is only what goes well");
    }
}

#[test]
fn uploads_have_names_and_the_size_that_was_asked_for() {
    let (served, _) = served(&[]);
    let flags = ["--name", "up-{}", "-n", "12", "-c", "4", "--size", "150K", "--quiet"];
    let output = bench("put", served.daemon.port(), &flags);
    let report = report(&output, 0);
    assert_eq!((&report["ok"], &report["octets"]), (&12.into(), &(12 * (150 << 10)).into()), "{report}");
    assert!(output.stderr.is_empty());
    let first = served.contents("up-0").expect("uploaded");
    assert_eq!(first.len(), 150 << 10);
    assert!((1..12).all(|number| served.contents(&format!("up-{number}")).as_ref() == Some(&first)));
    assert_eq!(served.contents("up-12"), None);
}

#[test]
fn bench_counts_refusals_by_their_text() {
    let (served, _) = served(&[]);
    let port = served.daemon.port();
    let refused = report(&bench("put", port, &["--name", "f", "-n", "5"]), 4);
    assert_eq!(refused["failures"]["ERROR 6 \"File already exists\""], 5, "{refused}");
    let absent = report(&bench("get", port, &["--name", "absent", "-n", "7", "-c", "3"]), 4);
    assert_eq!(absent["failures"]["ERROR 1 \"File not found\""], 7, "{absent}");
    assert_eq!((&absent["ok"], &absent["transfers_per_s"]), (&0.into(), &0.0.into()), "{absent}");
}

#[test]
fn bench_miss_counts_a_present_file_as_failed() {
    let (served, _) = served(&[]);
    let missing = report(&bench("miss", served.daemon.port(), &["-n", "200", "-c", "16"]), 0);
    assert_eq!((&missing["ok"], &missing["octets"]), (&200.into(), &0.into()), "{missing}");
    let present = report(&bench("miss", served.daemon.port(), &["--name", "f", "-n", "2"]), 1);
    assert_eq!(present["failures"]["the file is there"], 2, "{present}");
    let forbidden = report(&bench("miss", served.daemon.port(), &["--name", ".", "-n", "2"]), 4);
    assert_eq!((&forbidden["ok"], &forbidden["failed"]), (&0.into(), &2.into()), "{forbidden}");
}

#[test]
fn a_server_that_is_silent_or_not_there_is_told_apart() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = silent.local_addr().expect("bound").port();
    let flags = ["--name", "f", "-n", "4", "-c", "4", "--ack-timeout", "0.05", "--timeout", "0.2"];
    let unanswered = report(&bench("get", port, &flags), 5);
    assert_eq!(unanswered["failures"]["the peer never answered"], 4, "{unanswered}");
    assert!(unanswered["repeats"].as_u64() >= Some(4), "{unanswered}");
    drop(silent);
    let nobody = report(&bench("get", port, &flags), 5);
    assert_eq!(nobody["failures"]["nobody listens"], 4, "{nobody}");
}
