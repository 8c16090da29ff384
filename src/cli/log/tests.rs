use std::fs;

use slog::trace;

use super::*;

fn logged(verbose: bool, write: impl FnOnce(&Logger)) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let log = Log::open(Some(&path), verbose).expect("a log");
    write(log.logger());
    log.close();
    fs::read_to_string(path).expect("the log")
}

#[test]
fn a_line_has_time_level_message_and_values_in_order() {
    let text =
        logged(false, |log| info!(log, "served"; "peer" => "192.0.2.1:1069", "octets" => 7, "rate" => 1.5));
    let (time, rest) = text.split_once(' ').expect("a time");
    assert_eq!(rest, "INFO served, peer: 192.0.2.1:1069, octets: 7, rate: 1.5\n");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[test]
fn hostile_text_stays_on_its_line() {
    let text = logged(false, |log| {
        info!(log, "asked\nfor"; "name" => "a\r\n2026 INFO forged\u{1b}[2J\u{9b}é");
    });
    assert!(
        text.ends_with("INFO asked\\nfor, name: \"a\\r\\n2026 INFO forged\\u{1b}[2J\\u{9b}é\"\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn packets_are_shown_only_when_asked_for() {
    assert_eq!(logged(false, |log| trace!(log, "sent")), "");
    assert!(logged(true, |log| trace!(log, "sent")).ends_with("TRCE sent\n"));
}

#[test]
fn a_log_is_appended_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    for word in ["first", "second"] {
        let log = Log::open(Some(&path), false).expect("a log");
        info!(log.logger(), "{word}");
        log.close();
    }
    let text = fs::read_to_string(&path).expect("the log");
    assert!(text.contains("first") && text.contains("second"), "{text}");
}

#[test]
fn logrotate_gets_a_new_file_and_loses_no_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, rotated) = (directory.path().join("log"), directory.path().join("log.1"));
    let log = Log::open(Some(&path), false).expect("a log");
    fs::rename(&path, &rotated).expect("rotated");
    let reopen = log.reopener();
    // If the new file can't be opened, the old one stays in use.
    fs::create_dir(&path).expect("in the way");
    assert!(reopen().expect_err("a directory").to_string().contains("log can't be opened"));
    info!(log.logger(), "old");
    wait_until(|| fs::read_to_string(&rotated).is_ok_and(|text| text.contains("old")));
    fs::remove_dir(&path).expect("out of the way");
    reopen().expect("a new file");
    info!(log.logger(), "new");
    log.close();
    assert!(fs::read_to_string(&path).expect("the new log").ends_with("INFO new\n"));
    assert_eq!(fs::read_to_string(&rotated).expect("the old log").lines().count(), 1);
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let error = Log::open(Some(Path::new("/nonexistent/log")), false).map(|_| ()).expect_err("nowhere");
    assert!(error.to_string().starts_with("the log /nonexistent/log can't be opened: "), "{error}");
}

/// Has room for this many octets.
struct Disk(usize, Vec<u8>);

impl Write for Disk {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let octets = &octets[..octets.len().min(self.0)];
        if octets.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= octets.len();
        self.1.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that a full disk refuses wait in the buffer, as long as they fit.
#[test]
fn lines_lost_to_a_full_disk_are_counted() {
    let mut lines = Lines::new(Disk(0, Vec::new()), 8);
    for line in ["one\n", "two\n", "three\n", "four\n"] {
        lines.pass_on(line.as_bytes(), 0);
    }
    lines.out.get_mut().0 = 4096;
    lines.pass_on(b"five\n", 0);
    let text = String::from_utf8(lines.out.get_ref().1.clone()).expect("text");
    let (before, after) = text.split_once(" ERRO ").expect("told");
    assert!(before.starts_with("one\ntwo\n2"), "{text}");
    assert_eq!(after, "lines of the log were lost, count: 2\nfive\n");
}

#[test]
fn a_line_that_a_full_disk_tore_is_completed_when_there_is_room() {
    let mut lines = Lines::new(Disk(6, Vec::new()), 4096);
    lines.pass_on(b"one\ntwo\nthree\n", 0);
    assert_eq!(lines.out.get_ref().1, b"one\ntw");
    lines.out.get_mut().0 = 4096;
    lines.pass_on(b"four\n", 0);
    assert_eq!(lines.out.get_ref().1, b"one\ntwo\nthree\nfour\n");
}

#[test]
fn a_write_never_has_a_part_of_a_line() {
    #[derive(Default)]
    struct Writes(Vec<String>);
    impl Write for Writes {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(octets).into_owned());
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (long, longer) = (format!("{}\n", "long".repeat(600)), format!("{}\n", "longer".repeat(1000)));
    let mut lines = Lines::new(Writes::default(), 4096);
    for text in ["one\ntwo\nthree\n", &[&*long, "a\n", "b\n", &long, &longer, "end\n"].concat()] {
        lines.pass_on(text.as_bytes(), 0);
    }
    let together = format!("{long}a\nb\n");
    assert_eq!(
        lines.out.get_ref().0,
        ["one\ntwo\nthree\n", &together, &long, &longer, "end\n"],
        "no more than a pipe takes at once"
    );
    let mut file = Lines::new(Writes::default(), limits::LOG_OCTETS_KEPT);
    file.pass_on(longer.repeat(10).as_bytes(), 0);
    assert_eq!(file.out.get_ref().0.len(), 1);
}

#[test]
fn whoever_logs_after_the_end_does_no_harm() {
    let mut late = None;
    logged(false, |log| late = Some(log.clone()));
    info!(late.expect("a logger"), "late");
}

fn wait_until(mut true_now: impl FnMut() -> bool) {
    for _ in 0..500 {
        if true_now() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not within five seconds");
}
