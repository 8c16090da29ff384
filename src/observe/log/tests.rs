use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use slog::{Drain, Never, OwnedKVList, o};

use super::*;
use crate::error::Fault;
use crate::limits::{LINE_REPEATED_EVERY, LINES_REFUSED_PER_S, LINES_UNANSWERED_PER_S};
use crate::observe::test_support::report;
use crate::transfer::Tally;

/// Collects lines without their fields, except the count of withheld lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        self.0.lock().unwrap().push(record.msg().to_string());
        record.kv().serialize(record, &mut self.clone()).unwrap();
        Ok(())
    }
}

impl Serializer for Lines {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "withheld" {
            self.0.lock().unwrap().last_mut().unwrap().push_str(&format!(": {value}"));
        }
        Ok(())
    }
}

impl Lines {
    fn count(&self, line: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|it| *it == line).count()
    }
}

fn observer() -> (LogObserver, Lines) {
    let lines = Lines::default();
    (LogObserver::new(Logger::root(lines.clone(), o!())), lines)
}

fn finish(observer: &LogObserver, outcome: Outcome, blocks: u64) {
    let tally = Tally { blocks, ..Tally::default() };
    observer.observe(&Fact::Finished(Cow::Owned(Report { outcome, tally, ..report(1) })));
}

#[test]
fn a_flood_of_forged_requests_is_counted_in_the_log() {
    let (observer, lines) = observer();
    for _ in 0..10_000 {
        finish(&observer, Outcome::Unanswered, 1);
    }
    // Transfers with a client that answered are always logged.
    finish(&observer, Outcome::Complete, 7);
    let written = lines.count("read unanswered");
    // A slow machine may need several seconds for these.
    assert!((LINES_UNANSWERED_PER_S as usize..5000).contains(&written), "{written}");
    assert_eq!(lines.count("read complete"), 1);
    std::thread::sleep(Duration::from_millis(1100));
    finish(&observer, Outcome::Complete, 7);
    let all = lines.0.lock().unwrap().clone();
    let withheld = all
        .iter()
        .filter_map(|line| line.strip_prefix("more requests were unanswered than are logged one by one: "));
    let withheld: usize = withheld.map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(written + withheld, 10_000);
    assert_eq!(lines.count("read complete"), 2);
    finish(&observer, Outcome::Complete, 7);
    assert_eq!(lines.0.lock().unwrap().len(), all.len() + 1, "it is told once");
}

#[test]
fn what_is_refused_by_thousands_is_counted_too() {
    let (observer, lines) = observer();
    let peer = ([192, 0, 2, 1], 2000).into();
    let fault = Fault::from(Failure::Malformed);
    for _ in 0..LINES_REFUSED_PER_S * 20 {
        observer.observe(&Fact::Refused { peer, request: None, fault: Cow::Borrowed(&fault) });
        finish(&observer, Outcome::Failed(Failure::NotFound), 0);
    }
    let written = lines.count("request refused") + lines.count("read failed");
    assert!(written < LINES_REFUSED_PER_S as usize * 20, "{written}");
    // A failure in the middle is a transfer.
    finish(&observer, Outcome::Failed(Failure::Io), 1);
    assert_eq!(lines.count("read failed") + lines.count("request refused"), written + 1);
}

/// A machine that boots by broadcast repeats its request for minutes.
#[test]
fn unanswered_broadcasts_are_logged_once_a_minute() {
    let (observer, lines) = observer();
    let told = || lines.0.lock().unwrap().iter().filter(|line| line.contains("--answer-broadcast")).count();
    let ask = || observer.observe(&Fact::BroadcastUnanswered { peer: ([192, 0, 2, 1], 2000).into() });
    (0..100).for_each(|_| ask());
    assert_eq!(told(), 1);
    // The packet log has each of them.
    assert_eq!(lines.count("datagram dropped"), 100);
    observer.0.state().broadcast_told_at = Instant::now().checked_sub(LINE_REPEATED_EVERY);
    (0..100).for_each(|_| ask());
    assert_eq!(told(), 2);
}

#[test]
fn an_outage_is_logged_once_a_name_and_minute() {
    let (observer, lines) = observer();
    let (transfer, io) = (Some(report(1).id), Outcome::Outage(Failure::Io));
    for name in ["pxelinux.cfg/01", "pxelinux.cfg/01", "vmlinuz", "pxelinux.cfg/01"] {
        let report = Report { name: name.to_owned(), outcome: io.clone(), ..report(1) };
        observer.observe(&Fact::Finished(Cow::Borrowed(&report)));
        observer.observe(&Fact::Crashed { actor: "store", transfer, panic: "no such bucket".into() });
        observer.observe(&Fact::Misbehaved { extension: "store", transfer, why: "no answer".into() });
        observer.observe(&Fact::Misbehaved { extension: "route", transfer, why: "no answer".into() });
        observer.observe(&Fact::Misbehaved { extension: "route", transfer, why: name.into() });
        observer.observe(&Fact::Crashed { actor: "session", transfer, panic: "no such bucket".into() });
    }
    let written =
        ["read outage", "store panicked", "store misbehaved", "route misbehaved", "session panicked"];
    assert_eq!(written.map(|line| lines.count(line)), [2, 1, 1, 3, 4]);
}

impl Lines {
    fn withheld(&self) -> usize {
        let lines = self.0.lock().unwrap();
        let counts = lines.iter().filter_map(|line| line.rsplit_once("one by one: "));
        counts.map(|(_, count)| count.parse::<usize>().unwrap()).sum()
    }
}

#[test]
fn withheld_lines_are_counted_without_another_fact() {
    let (observer, lines) = observer();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let flood = || (0..1000).for_each(|_| finish(&observer, Outcome::Unanswered, 1));
    for floods in 1..=2 {
        runtime().block_on(async {
            flood();
            let all_told = async {
                while lines.count("read unanswered") + lines.withheld() < floods * 1000 {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), all_told).await.expect("the count");
        });
    }
    // If the runtime ends before the second does, `flush` logs the count.
    runtime().block_on(async { flood() });
    observer.flush();
    assert_eq!(lines.count("read unanswered") + lines.withheld(), 3000);
}
