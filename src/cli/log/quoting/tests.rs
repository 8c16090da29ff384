use std::borrow::Cow;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use slog::{Logger, info};

#[allow(dead_code, reason = "the tests of the running daemon include this module and use the rest")]
mod logged_line;

use self::logged_line::LoggedLine;
use super::super::Log;
use crate::error::{Failure, Fault};
use crate::observe::test_support::report;
use crate::observe::{Fact, Label, LogObserver, Observer, Report};
use crate::transfer::Outcome;
use crate::wire::{Direction, ErrorCode, Mode, Options, Request, Text};

/// A file name that would add a field to the line: it fooled `grep` once.
const FORGED: &str = "x, peer: 192.0.2.66:7, name: boot/vmlinuz, why: complete";

fn logged(write: impl FnOnce(&Logger)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = Log::open(Some(&path), true).unwrap();
    write(log.logger());
    log.close();
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn value(text: &str, key: &'static str) -> String {
    let [line] = &*logged(|log| match key {
        "name" => info!(log, "m"; "name" => text),
        "label" => info!(log, "m"; "label" => text),
        "peer" => info!(log, "m"; "peer" => text),
        _ => info!(log, "m"; "why" => text),
    }) else {
        panic!("one line")
    };
    line.split_once(&format!(" INFO m, {key}: ")).unwrap().1.to_owned()
}

#[test]
fn what_is_no_plain_word_is_quoted() {
    for plain in ["boot/vmlinuz-6.1_a+b", "complete", "-", "0.004"] {
        assert_eq!(value(plain, "why"), plain);
    }
    for (text, quoted) in [
        ("", r#""""#),
        ("two words", r#""two words""#),
        ("a:b", r#""a:b""#),
        ("it's \"x\\y\"", r#""it's \"x\\y\"""#),
        ("a\n\r\t\0\u{1b}[2J\u{202e}é", r#""a\n\r\t\x00\u{1b}[2J\u{202e}é""#),
        (FORGED, r#""x,\x20peer: 192.0.2.66:7,\x20name: boot/vmlinuz,\x20why: complete""#),
    ] {
        assert_eq!(value(text, "why"), quoted);
        assert_eq!(value(text, "label"), quoted);
    }
    // Addresses are not quoted. Text that only starts like an address is.
    assert_eq!(value("[fe80::1%eth0]:69", "peer"), "[fe80::1%eth0]:69");
    assert_eq!(value("192.0.2.1:7 x", "peer"), r#""192.0.2.1:7 x""#);
    // Names are already escaped, and are not escaped again.
    assert_eq!(value(r#"M\xc3\xbc "ller"#, "name"), r#""M\\xc3\\xbc \"ller""#);
    assert_eq!(value(r"M\xc3\xbcller", "name"), r#""M\xc3\xbcller""#);
    assert_eq!(value(r"/srv/a\xff: gone", "why"), r#""/srv/a\xff: gone""#);
    assert_eq!(value(r"/srv/a\xff: gone", "label"), r#""/srv/a\\xff: gone""#);
}

/// Octets as attackers choose them: arbitrary ones, or text with the characters that structure a
/// line.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let any = vec(1..=255_u8, 1..40);
    let marks = prop::sample::select(vec![
        ", ",
        ",",
        " ",
        ": ",
        "name: ",
        "\"",
        "\\",
        "\\x41",
        "\n",
        "\r",
        "'",
        "=",
        "a",
        "é",
        "\u{202e}",
        "\u{1b}[2J",
        FORGED,
    ]);
    let marked = vec(marks, 1..8).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![any, marked]
}

fn text(octets: &[u8]) -> Text<'_> {
    Text::new(octets).unwrap()
}

fn request<'a>(name: &'a [u8], mode: &'a [u8], option: &'a [u8]) -> Request<'a> {
    let mut options = Options::new();
    options.push(text(option), text(name));
    Request::new(Direction::Write, text(name), Mode::from_text(text(mode)).unwrap(), options).unwrap()
}

/// The text that a reader gets from `path` or `why`: existing escapes are not doubled.
fn read_back(text: &str) -> Vec<u8> {
    if !super::is_escaped(text.as_bytes()) {
        return text.as_bytes().to_vec();
    }
    let value = text.replace(", ", ",\\x20");
    LoggedLine::read(&format!("now INFO m, why: \"{value}\"")).fields.remove(0).1
}

proptest! {
    #[test]
    fn a_line_splits_back_into_its_fields(
        name in octets(), mode in octets(), option in octets(), message in octets(),
        panic in any::<String>(), detail in any::<String>(), path in any::<String>(),
    ) {
        let request = request(&name, &mode, &option);
        let outcome = Outcome::PeerAborted { code: ErrorCode(7), message: text(&message).to_string() };
        let ended = Report {
            direction: Direction::Write,
            name: request.filename().to_string(),
            mode: request.mode.to_string(),
            path: Some(path.clone()),
            asked: request.options.to_string(),
            options: request.options.to_string(),
            label: Some(Label::new(&detail)),
            detail: Some(detail.clone().into()),
            outcome: outcome.clone(),
            ..report(1)
        };
        let fault = Fault::new(Failure::Forbidden, &detail);
        let peer = ended.peer;
        let lines = logged(|log| {
            let observer = LogObserver::new(log.clone());
            observer.observe(&Fact::Finished(Cow::Borrowed(&ended)));
            observer.observe(&Fact::Refused { peer, request: Some(request.clone()), fault: Cow::Borrowed(&fault) });
            observer.observe(&Fact::Crashed { actor: "store", transfer: None, panic: Cow::from(&panic) });
            observer.observe(&Fact::Misbehaved { extension: "route", transfer: None, why: Cow::from(&panic) });
        });
        prop_assert_eq!(lines.len(), 4, "{:?}", lines);
        let lines: Vec<_> = lines.iter().map(|line| LoggedLine::read(line)).collect();
        let keys = |line: &LoggedLine| line.fields.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>().join(" ");
        let get = |line: &LoggedLine, key: &str| line.fields.iter().find(|(it, _)| it == key).unwrap().1.clone();

        prop_assert_eq!(&lines[0].message, "write peer-aborted");
        prop_assert_eq!(keys(&lines[0]), "transfer peer name path label size octets mode asked options seconds mb_per_s blocks repeats why");
        prop_assert_eq!(get(&lines[0], "name"), name.clone());
        prop_assert_eq!(get(&lines[0], "mode"), request.mode.as_bytes());
        prop_assert_eq!(get(&lines[0], "asked"), [&*option, b"=", &*name].concat());
        prop_assert_eq!(get(&lines[0], "path"), read_back(&path));
        prop_assert_eq!(get(&lines[0], "why"), read_back(&format!("{outcome} ({detail})")));

        prop_assert_eq!(keys(&lines[1]), "peer name mode asked why");
        prop_assert_eq!(get(&lines[1], "name"), name.clone());
        prop_assert_eq!(get(&lines[1], "mode"), request.mode.as_bytes());
        prop_assert_eq!(get(&lines[1], "why"), read_back(&fault.to_string()));

        prop_assert_eq!(keys(&lines[2]), "transfer panic");
        prop_assert_eq!(get(&lines[2], "panic"), panic.clone().into_bytes());
        prop_assert_eq!(get(&lines[3], "why"), read_back(&panic));
    }
}
