use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use slog::{Logger, info};

use super::*;

/// Passes the text of each line on, once it may begin.
struct Lines {
    begin: Mutex<Option<Receiver<()>>>,
    out: Mutex<Sender<String>>,
}

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        if let Some(begin) = self.begin.lock().unwrap().take() {
            let _ = begin.recv();
        }
        self.out.lock().unwrap().send(record.msg().to_string()).unwrap();
        Ok(())
    }
}

/// A log, what ends it, and what it writes. It begins to write when `begin` says so.
fn log(begin: Option<Receiver<()>>) -> (Logger, AsyncGuard, Receiver<String>) {
    let (out, written) = channel();
    let (queue, guard) = Queue::new(Lines { begin: Mutex::new(begin), out: Mutex::new(out) }, Arc::default());
    (Logger::root(queue.ignore_res(), o!()), guard, written)
}

#[test]
fn an_operator_sees_a_line_at_once() {
    let (log, guard, written) = log(None);
    for _ in 0..20 {
        let asked_at = Instant::now();
        info!(log, "line");
        written.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(asked_at.elapsed() < Duration::from_secs(1), "{:?}", asked_at.elapsed());
    }
    drop((log, guard));
}

#[test]
fn lines_that_come_while_it_rests_are_all_written_in_order_before_the_end() {
    let (log, guard, written) = log(None);
    for number in 0..5000 {
        info!(log, "{number}");
    }
    drop((log, guard));
    let written: Vec<String> = written.try_iter().collect();
    assert_eq!(written, (0..5000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn lines_that_find_no_room_are_counted_and_the_log_goes_on() {
    let (begin, begun) = channel();
    let (log, guard, written) = log(Some(begun));
    // The first may be in the thread's hands already.
    let room = limits::LOG_LINES_QUEUED + 1;
    for _ in 0..room + 10 {
        info!(log, "line");
    }
    begin.send(()).unwrap();
    let mut lines: Vec<String> = (0..limits::LOG_LINES_QUEUED).map(|_| written.recv().unwrap()).collect();
    info!(log, "after");
    drop((log, guard));
    lines.extend(written.try_iter());
    assert!((room..=room + 2).contains(&lines.len()), "{}", lines.len());
    let told = "slog-async: logger dropped messages due to channel overflow";
    assert_eq!(lines.iter().filter(|line| *line == told).count(), 1);
    assert_eq!(lines.last().unwrap(), "after");
}

#[test]
fn a_busy_log_rests_only_when_nothing_waits() {
    let (log, guard, written) = log(None);
    let began_at = Instant::now();
    for _ in 0..2000 {
        info!(log, "line");
    }
    for _ in 0..2000 {
        written.recv_timeout(Duration::from_secs(5)).unwrap();
    }
    // A rest after each line would take four seconds.
    assert!(began_at.elapsed() < Duration::from_secs(2), "{:?}", began_at.elapsed());
    drop((log, guard));
}

#[test]
fn a_value_that_panics_holds_up_no_later_line() {
    struct Bad;
    impl std::fmt::Display for Bad {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words");
        }
    }
    let (out, written) = channel();
    let waiting = Arc::<AtomicUsize>::default();
    let lines = Lines { begin: Mutex::default(), out: Mutex::new(out) };
    let (queue, guard) = Queue::new(lines, Arc::clone(&waiting));
    let log = Logger::root(queue.ignore_res(), o!());
    assert!(std::panic::catch_unwind(|| info!(log, "bad"; "value" => %Bad)).is_err());
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
    info!(log, "good");
    drop((log, guard));
    assert_eq!(written.try_iter().collect::<Vec<_>>(), ["good"]);
}
