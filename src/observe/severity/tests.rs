use super::*;
use crate::error::Limit;
use crate::observe::test_support::report;
use crate::transfer::Tally;
use crate::wire::ErrorCode;

fn level(outcome: Outcome, octets: u64) -> Level {
    of_transfer(&Report { outcome, tally: Tally { octets, ..Tally::default() }, ..report(1) })
}

fn missing(name: &str) -> Level {
    of_transfer(&Report { name: name.to_owned(), outcome: Outcome::Failed(Failure::NotFound), ..report(1) })
}

/// The table of docs/log.md.
#[test]
fn log_levels_follow_what_an_operator_must_do() {
    let aborted = Outcome::PeerAborted { code: ErrorCode::NOT_DEFINED, message: String::new() };
    for (outcome, octets, expected) in [
        (Outcome::Complete, 7, Level::Info),
        (aborted, 7, Level::Info),
        (Outcome::PeerGone, 7, Level::Info),
        (Outcome::PeerGone, 0, Level::Warning),
        (Outcome::Unanswered, 0, Level::Warning),
        (Outcome::TimedOut, 7, Level::Warning),
        (Outcome::Failed(Failure::NotFound), 0, Level::Warning),
        (Outcome::Failed(Failure::Forbidden), 0, Level::Warning),
        (Outcome::Failed(Failure::Changed), 7, Level::Warning),
        (Outcome::Failed(Failure::Exists), 0, Level::Info),
        (Outcome::Failed(Failure::Refused(ErrorCode::ACCESS_VIOLATION)), 0, Level::Info),
        (Outcome::Failed(Failure::Io), 7, Level::Error),
        (Outcome::Failed(Failure::DiskFull), 7, Level::Error),
        (Outcome::Outage(Failure::Io), 0, Level::Error),
        (Outcome::Outage(Failure::ShuttingDown), 0, Level::Info),
    ] {
        assert_eq!(level(outcome.clone(), octets), expected, "{outcome:?}");
    }
}

#[test]
fn what_a_limit_ends_is_left_to_the_line_of_the_limit() {
    let beyond = |outcome, limit| of_transfer(&Report { outcome, limit: Some(limit), ..report(1) });
    assert_eq!(beyond(Outcome::Outage(Failure::Busy), Limit::OpenFiles), Level::Debug);
    assert_eq!(beyond(Outcome::Failed(Failure::Busy), Limit::PortRange), Level::Debug);
    assert_eq!(beyond(Outcome::Failed(Failure::DiskFull), Limit::FreeDisk), Level::Info);
}

#[test]
fn names_that_boot_loaders_try_are_no_news() {
    for name in [
        "pxelinux.cfg/01-88-99-aa-bb-cc-dd",
        "pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d",
        "pxelinux.cfg/C0A8025B",
        "pxelinux.cfg/C",
        "C0A8025B.img",
        "boot/grub/grub.cfg-01-88-99-aa-bb-cc-dd",
        "grub.cfg-C0A8",
    ] {
        assert_eq!(missing(name), Level::Info, "{name}");
    }
    for name in
        ["pxelinux.cfg/default", "boot/vmlinuz", "c0ffee", "grub.cfg", "01-88", ".", "", "a-b-c-d-e-f"]
    {
        assert_eq!(missing(name), Level::Warning, "{name}");
    }
}

#[test]
fn an_upload_of_another_size_than_announced_warns() {
    let of = |announced, octets, mode: &str, direction| {
        let tally = Tally { octets, ..Tally::default() };
        of_transfer(&Report { announced, tally, direction, mode: mode.to_owned(), ..report(1) })
    };
    assert_eq!(of(Some(1000), 100, "octet", Direction::Write), Level::Warning);
    assert_eq!(of(Some(100), 100, "octet", Direction::Write), Level::Info);
    assert_eq!(of(None, 100, "octet", Direction::Write), Level::Info);
    assert_eq!(of(Some(1000), 100, "netascii", Direction::Write), Level::Info);
}
