use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use slog::{Logger, info, o, warn};

use super::super::Lines;
use super::*;

/// A buffer that the test can read while the logger writes.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(colours: bool, write: impl FnOnce(&Logger)) -> Vec<String> {
    let out = Shared::default();
    let queue = Queue::start(Lines::new(out.clone(), 4096)).unwrap();
    let formatter = Formatter { queue: Arc::clone(&queue), colours };
    write(&Logger::root(formatter, o!("from" => "logger")));
    queue.close();
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| line.split_once('Z').unwrap().1.to_owned()).collect()
}

#[test]
fn fields_keep_the_order_of_the_code() {
    let lines = logged(false, |log| {
        info!(log, "none");
        info!(log, "three"; "a" => 1, "empty" => "", "c" => "x, y: z");
        info!(log.new(o!("inner" => "child")), ""; "a" => true);
    });
    assert_eq!(
        lines,
        [
            " INFO none, from: logger",
            " INFO three, from: logger, a: 1, empty: \"\", c: \"x,\\x20y: z\"",
            " INFO from: logger, inner: child, a: true",
        ]
    );
}

#[test]
fn a_terminal_gets_colours_and_bold_names() {
    let lines = logged(true, |log| warn!(log, "m\u{1b}sg"; "a" => "x\u{1b}[2J", "b" => 2));
    assert_eq!(
        lines,
        [concat!(
            " \u{1b}[33mWARN\u{1b}[0m \u{1b}[1mm\\u{1b}sg\u{1b}[0m, \u{1b}[1mfrom\u{1b}[0m: logger, ",
            "\u{1b}[1ma\u{1b}[0m: \"x\\u{1b}[2J\", \u{1b}[1mb\u{1b}[0m: 2",
        )]
    );
}

/// A value that calls a function while it is formatted.
struct Doing<F>(F);

impl<F: Fn()> fmt::Display for Doing<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("begun ")?;
        (self.0)();
        f.write_str("and done")
    }
}

#[test]
fn a_value_that_panics_costs_only_its_own_line() {
    let lines = logged(false, |log| {
        let bad =
            std::panic::AssertUnwindSafe(|| info!(log, "bad"; "value" => %Doing(|| panic!("no words"))));
        assert!(std::panic::catch_unwind(bad).is_err());
        info!(log, "good");
    });
    assert_eq!(lines, [" INFO good, from: logger"]);
}

#[test]
fn a_value_that_logs_as_a_panic_does_leaves_two_lines() {
    let lines = logged(false, |log| {
        info!(log, "outer"; "value" => %Doing(|| info!(log, "inner"; "a" => 1)));
    });
    assert_eq!(
        lines,
        [" INFO inner, from: logger, a: 1", " INFO outer, from: logger, value: \"begun and done\""]
    );
}
