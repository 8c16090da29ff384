//! What the log reports about clients, and what clients can't write into it.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::daemon::{Daemon, binary};
use common::logged_line::LoggedLine;
use common::raw::{self, ack, data, rrq, wrq};
use common::served::{self, GOOD, SLOW, Served};

/// How long a line may take. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first line with this message, parsed.
fn line(served: &Served, wanted: impl Fn(&LoggedLine) -> bool) -> LoggedLine {
    let found = served.daemon.wait_for_log(PATIENCE, |line| wanted(&LoggedLine::read(line)));
    LoggedLine::read(&found.unwrap_or_else(|| panic!("no such line; the log:\n{}", served.daemon.log())))
}

#[test]
fn a_client_can_not_forge_a_field() {
    let served = Served::new(&["--strict"]);
    let forged = "x, peer: 192.0.2.66:7, name: boot/vmlinuz, why: complete";
    served.ask(&rrq(forged, "octet", &[])).expect_error(1);
    served.ask(&rrq(GOOD, forged, &[])).expect_error(4);
    let mut client = served.ask(&rrq(GOOD, "octet", &[("blksize", "512")]));
    client.expect_oack();
    client.send(&ack(0));
    client.expect_data(1);
    client.send(&raw::error(0, forged));
    let missing = line(&served, |line| line.message == "read failed");
    assert_eq!(missing.field("name").as_deref(), Some(forged));
    assert!(missing.field("peer").unwrap().starts_with("127.0.0.1:"), "{missing:?}");
    let refused = line(&served, |line| line.message == "read refused");
    assert_eq!(refused.field("mode").as_deref(), Some(forged));
    let aborted = line(&served, |line| line.message == "read peer-aborted");
    assert!(aborted.field("why").unwrap().contains(forged), "{aborted:?}");
    // A `grep` for a field is not deceived either.
    let log = served.daemon.log();
    assert!(!log.contains(", name: boot/vmlinuz") && !log.contains(", peer: 192.0.2.66:7"), "{log}");
    served.still_serves();
}

/// The line about a limit, which names the flag.
fn limit_line(served: &Served, name: &str) -> LoggedLine {
    let found =
        line(served, |line| line.message == "limit reached" && line.field("limit").as_deref() == Some(name));
    assert_eq!(found.level, "WARN", "{found:?}");
    assert!(found.field("peer").unwrap().starts_with("127.0.0.1:"), "{found:?}");
    found
}

/// Number of lines about this limit.
fn limit_lines(served: &Served, name: &str) -> usize {
    served.daemon.log().lines().filter(|line| line.contains(&format!(", limit: {name},"))).count()
}

#[test]
fn every_limit_that_is_reached_names_its_flag() {
    let served = Served::new(&["--max-transfers", "1"]);
    let first = served.offered(GOOD, &[]);
    for _ in 0..20 {
        served.ask(&rrq(GOOD, "octet", &[SLOW])).expect_silence(Duration::from_millis(5));
    }
    assert_eq!(limit_line(&served, "--max-transfers").field("count").as_deref(), Some("1"));
    assert_eq!(limit_lines(&served, "--max-transfers"), 1, "once a minute");
    drop(first);
    // At the end the log counts the lines that it withheld.
    let log = served.daemon.stop().log;
    let withheld: u64 = log
        .lines()
        .filter(|line| line.contains("limit reached, limit: --max-transfers,"))
        .filter_map(|line| LoggedLine::read(line).field("count")?.parse::<u64>().ok())
        .sum();
    assert_eq!(withheld, 20, "{log}");

    let served = Served::new(&["--max-transfers-per-client", "1"]);
    let first = served.offered(GOOD, &[]);
    served.ask(&rrq(GOOD, "octet", &[SLOW]));
    limit_line(&served, "--max-transfers-per-client");
    drop(first);

    let served = Served::new(&["--min-free", "900000G"]);
    served.ask(&wrq("new", "octet", &[])).expect_error(3);
    limit_line(&served, "--min-free");

    let served = Served::new(&["--max-upload-size", "100"]);
    served.ask(&wrq("new", "octet", &[("tsize", "101")])).expect_error(3);
    limit_line(&served, "--max-upload-size");
    let mut client = served.ask(&wrq("new", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, &[1; 101]));
    client.expect_error(3);
    let refused = served.logged("write failed", "new");
    assert!(refused.contains(" INFO "), "{refused}");
}

#[test]
fn missing_descriptors_are_one_log_line() {
    let root = served::directory();
    let mut command = Command::new("sh");
    let run = format!("ulimit -n 48; exec {} --host 127.0.0.1 -p 0 --root \"$1\"", binary().display());
    command.args(["-c", &run, "sh"]).arg(root.path());
    let daemon = Daemon::spawn(command);
    let served = Served::at(root, daemon);
    // Each client needs two descriptors: a socket, and sooner or later a file.
    let clients: Vec<_> = (0..120)
        .map(|number| match number % 2 {
            0 => served.ask(&rrq(GOOD, "octet", &[SLOW])),
            _ => served.ask(&wrq(&format!("new{number}"), "octet", &[SLOW])),
        })
        .collect();
    limit_line(&served, "RLIMIT_NOFILE");
    drop(clients);
    // The log has few lines about the limit, and few errors.
    served.serves_when_there_is_room();
    assert!(limit_lines(&served, "RLIMIT_NOFILE") <= 2, "{}", served.daemon.log());
    let log = served.daemon.log();
    let errors = log.lines().filter(|line| line.contains(" ERRO ")).count();
    assert_eq!(errors, 0, "{log}");
}

/// The client announces more octets than it sends.
#[test]
fn an_upload_that_is_cut_short_is_a_warning() {
    let served = Served::new(&[]);
    for (name, announced, level) in [("short", "1000", "WARN"), ("whole", "100", "INFO")] {
        let mut client = served.ask(&wrq(name, "octet", &[("tsize", announced)]));
        client.expect_oack();
        client.send(&data(1, &[7; 100]));
        client.expect_ack(1);
        let line = LoggedLine::read(&served.logged("write complete", name));
        assert_eq!(line.level, level, "{line:?}");
        let wanted = (level == "WARN").then(|| announced.to_owned());
        assert_eq!(line.field("announced"), wanted, "{line:?}");
        assert_eq!(line.field("octets").as_deref(), Some("100"), "{line:?}");
        let why = if level == "WARN" { "100 octets came but 1000 were announced" } else { "complete" };
        assert_eq!(line.field("why").as_deref(), Some(why), "{line:?}");
    }
}

/// The announced size does not matter if the upload was refused.
#[test]
fn a_refused_upload_is_not_one_that_was_cut_short() {
    let served = Served::new(&[]);
    served.ask(&wrq(GOOD, "octet", &[("tsize", "1000")])).expect_error(6);
    let refused = LoggedLine::read(&served.logged("write failed", GOOD));
    assert_eq!(refused.field("announced"), None, "{refused:?}");
    let mut leaving = served.ask(&wrq("left", "octet", &[("tsize", "1000")]));
    leaving.expect_oack();
    leaving.send(&data(1, &[7; 512]));
    leaving.expect_ack(1);
    leaving.send(&raw::error(0, "enough"));
    let aborted = LoggedLine::read(&served.logged("write peer-aborted", "left"));
    assert_eq!(aborted.field("announced").as_deref(), Some("1000"), "{aborted:?}");
}

#[test]
fn a_log_line_has_asked_and_granted_options() {
    let served = Served::new(&["-v", "--blksize-max", "1000"]);
    let asked = [("blksize", "65464"), ("TSIZE", "0"), ("x-board", "a b")];
    let mut client = served.ask(&rrq(GOOD, "octet", &asked));
    client.expect_oack();
    client.send(&raw::error(0, "thank you"));
    let of_transfer = LoggedLine::read(&served.logged("read declined", GOOD));
    assert_eq!(of_transfer.field("asked").as_deref(), Some("blksize=65464 TSIZE=0 x-board=a b"));
    assert_eq!(of_transfer.field("options").as_deref(), Some("blksize=1000 TSIZE=1300"));
    // `-v` shows each packet, the request too.
    let requested = line(&served, |line| {
        line.message == "received" && line.field("packet").is_some_and(|packet| packet.starts_with("RRQ"))
    });
    let packet = format!("RRQ {GOOD} octet blksize=65464 TSIZE=0 x-board=a b");
    assert_eq!(requested.field("packet"), Some(packet));
    // A refused request has its options in the log too.
    served.ask(&rrq("x", "mail", &[("tsize", "0")])).expect_error(4);
    let refused = line(&served, |line| line.message == "read refused");
    assert_eq!(refused.field("asked").as_deref(), Some("tsize=0"));
}

#[test]
fn log_levels_follow_what_an_operator_must_do() {
    let served = Served::new(&["--timeout", "0.6", "--ack-timeout", "0.2"]);
    let level = |outcome: &str, name: &str| LoggedLine::read(&served.logged(outcome, name)).level;
    // A missing file is a warning, unless boot loaders try such names until one exists.
    served.ask(&rrq("boot/vmlinuz", "octet", &[])).expect_error(1);
    served.ask(&rrq("pxelinux.cfg/C0A8025B", "octet", &[])).expect_error(1);
    assert_eq!(level("read failed", "boot/vmlinuz"), "WARN");
    assert_eq!(level("read failed", "pxelinux.cfg/C0A8025B"), "INFO");
    // A client that aborts knows the reason.
    let mut leaving = served.reading(GOOD, &[]);
    leaving.expect_data(1);
    leaving.send(&raw::error(0, "enough"));
    assert_eq!(level("read peer-aborted", GOOD), "INFO");
    // A client that never answers may not receive the server's packets.
    let silent = served.ask(&wrq("unheard", "octet", &[]));
    assert_eq!(level("write unanswered", "unheard"), "WARN");
    drop(silent);
    let unheard = LoggedLine::read(&served.logged("write unanswered", "unheard"));
    let hint = "(no packet came back: a firewall or a client that needs --single-port)";
    assert!(unheard.field("why").unwrap().ends_with(hint), "{unheard:?}");
}

/// Many a NAT rejects the first answer, which comes from another port.
#[test]
fn a_port_closed_before_any_packet_hints_at_nat() {
    let served = Served::new(&[]);
    drop(served.ask(&rrq(GOOD, "octet", &[])));
    let gone = LoggedLine::read(&served.logged("read peer-gone", GOOD));
    assert_eq!(gone.level, "WARN");
    assert!(gone.field("why").unwrap().contains("--single-port"), "{gone:?}");
    // A client that has answered receives the server's packets.
    served.file("heard", &[7; 2000]);
    drop(served.reading("heard", &[]));
    let gone = LoggedLine::read(&served.logged("read peer-gone", "heard"));
    assert!(!gone.field("why").unwrap().contains("--single-port"), "{gone:?}");
    let served = Served::new(&["--single-port"]);
    drop(served.ask(&rrq(GOOD, "octet", &[])));
    let gone = LoggedLine::read(&served.logged("read peer-gone", GOOD));
    assert!(!gone.field("why").unwrap().contains("--single-port"), "{gone:?}");
}

#[test]
fn live_transfers_are_listed_with_octets_size_and_age() {
    let served = Served::new(&[]);
    served.ask(&rrq("missing", "octet", &[])).expect_error(1);
    let mut reader = served.reading(GOOD, &[]);
    reader.expect_data(1);
    reader.send(&ack(1));
    reader.expect_data(2);
    let mut writer = served.writing("new", &[("tsize", "600")]);
    writer.send(&data(1, &[1; 512]));
    writer.expect_ack(1);
    // A session publishes its progress four times a second at most, so the first question may be
    // early.
    let asked = |message: &str, octets: &str| {
        let is_so =
            |line: &LoggedLine| line.message == message && line.field("octets").as_deref() == Some(octets);
        let until = Instant::now() + PATIENCE;
        loop {
            served.daemon.signal(Signal::SIGUSR1);
            let soon = Duration::from_millis(300);
            if let Some(found) = served.daemon.wait_for_log(soon, |line| is_so(&LoggedLine::read(line))) {
                return LoggedLine::read(&found);
            }
            assert!(Instant::now() < until, "no {message} of {octets} octets:\n{}", served.daemon.log());
        }
    };
    let read = asked("live read", "512");
    assert_eq!(read.field("size").as_deref(), Some("1300"));
    assert!(read.field("seconds").unwrap().parse::<f64>().is_ok_and(|seconds| seconds < 60.0), "{read:?}");
    let write = asked("live write", "512");
    assert_eq!(write.field("size").as_deref(), Some("600"));
    // Both transfers count, though neither has ended.
    asked("counters", "1024");
    let counted = line(&served, |line| line.message == "counted");
    assert_eq!(counted.field("counter").as_deref(), Some("failed"));
    assert_eq!(counted.field("why").as_deref(), Some("File not found"));
    assert_eq!(counted.field("count").as_deref(), Some("1"));
}

#[test]
fn a_refusal_logs_the_reason_and_a_remedy() {
    let served = Served::new(&[]);
    std::fs::create_dir(served.path("directory")).unwrap();
    std::os::unix::fs::symlink("gone", served.path("dangling")).unwrap();
    let long = "a".repeat(300);
    let asked = [
        (rrq("../dl/k1", "octet", &[]), 2, "the name leads out of the root"),
        (rrq("pxelinux.0/", "octet", &[]), 1, "the name ends in a slash"),
        (rrq("a\x1bb", "octet", &[]), 2, "a control character in the name"),
        (rrq(&long, "octet", &[]), 1, "octets: the maximum is 255"),
        (rrq("directory", "octet", &[]), 2, "/directory is a directory"),
        (rrq("dangling", "octet", &[]), 1, "/dangling is a symbolic link whose target is missing"),
        (wrq(GOOD, "octet", &[]), 6, "already exists (--overwrite lets uploads replace files)"),
        (wrq("missing/new", "octet", &[]), 1, "/missing is missing (--create-dirs makes it)"),
    ];
    for (request, code, why) in asked {
        served.ask(&request).expect_error(code);
        line(&served, |line| line.field("why").is_some_and(|said| said.contains(why)));
    }
    for (flags, rule) in [
        (&["--deny", "127.0.0.1"][..], "(--deny 127.0.0.1)"),
        (&["--allow", "10.0.0.0/8:read"], "(no --allow rule matches)"),
    ] {
        let served = Served::new(flags);
        served.ask(&rrq(GOOD, "octet", &[])).expect_error(2);
        let refused = line(&served, |line| line.message == "read refused");
        let why = refused.field("why").unwrap();
        assert!(why.ends_with(&format!("not for clients at this address {rule}")), "{why}");
    }
}

/// Firmware that can't use an option ends the transfer in the same way as a client that only
/// probes.
#[test]
fn rejected_options_are_not_logged_as_a_probe() {
    let served = Served::new(&[]);
    served.file("probed", b"x");
    for (name, options, why) in [
        ("probed", &[("tsize", "0")][..], "the client only probed: ERROR 8 without a text"),
        (
            GOOD,
            &[("tsize", "0"), ("blksize", "1400")],
            "the client ended it after the options: ERROR 8 without a text (a probe or a client that can't do with one of them: --refuse-option)",
        ),
    ] {
        let mut client = served.ask(&rrq(name, "octet", options));
        client.expect_oack();
        client.send(&raw::error(8, ""));
        let declined = served.logged("read declined", name);
        assert_eq!(LoggedLine::read(&declined).field("why").as_deref(), Some(why));
        // The server's own text is not escaped.
        assert!(declined.ends_with(&format!(", why: \"{why}\"")), "{declined}");
    }
}

#[test]
fn the_start_says_what_is_served() {
    for (flags, uploads) in
        [(&[][..], "new files"), (&["--overwrite"], "overwrite"), (&["--read-only"], "read-only")]
    {
        let served = Served::new(flags);
        let serving = line(&served, |line| line.message == "serving");
        assert_eq!(serving.level, "INFO");
        assert_eq!(serving.field("root").as_deref(), served.root.path().canonicalize().unwrap().to_str());
        assert_eq!(serving.field("uploads").as_deref(), Some(uploads));
        assert_eq!(serving.field("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }
}

/// Applies to the fields of a line and to its reason.
#[test]
fn a_name_is_escaped_once_and_in_one_way() {
    let served = Served::new(&[]);
    served.ask(b"\0\x01it's-\xff-\xc3\xbc\0octet\0").expect_error(1);
    let shown = r"it\'s-\xff-\xc3\xbc";
    let failed = served.daemon.wait_for_log(PATIENCE, |line| line.contains("read failed")).unwrap();
    assert!(failed.contains(&format!(", name: \"{shown}\",")), "{failed}");
    assert!(failed.contains(&format!("/{shown}: No such file")), "{failed}");
}
