//! Every actor, every fault and every kind of transfer: what the client sees, and that fifty other
//! transfers see nothing.

mod common;

use std::fmt;
use std::time::Duration;

use common::content::{self, netascii_text, to_netascii};
use common::counting::{self, End, Seen, Task};
use common::engine::{Case, TIMEOUT};
use common::table::Table;
use stagecoach::chaos::Fault::{self, Delay, Panic, Stop};
use stagecoach::error::Failure;

/// Longer than any packet takes that is not lost. A client that waits this long has to repeat.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than two slabs, and many packets of 512 octets.
const FILE_OCTETS: usize = 150 * 512 - 100;
/// Shorter than a client's patience.
const HANG: Fault = Delay(Duration::from_millis(150));
/// An option with which the server's timer expires while the client pauses.
const SHORT_TIMEOUT: (&str, &str) = ("timeout", "1");
const PAUSE: Duration = Duration::from_millis(1300);
/// The run ends after this many wrong rows, as each may have waited long in vain.
const WRONG_MAX: usize = 8;
/// Another file, which other clients read in between.
const NEXT: &str = "next";

const READS: [Kind; 3] = [Kind::new(false, 1, false), Kind::new(false, 4, false), Kind::new(false, 4, true)];
const WRITES: [Kind; 3] = [Kind::new(true, 1, false), Kind::new(true, 4, false), Kind::new(true, 4, true)];

#[derive(Debug, Clone, Copy)]
struct Kind {
    writes: bool,
    case: Case,
}

impl Kind {
    const fn new(writes: bool, windowsize: u16, netascii: bool) -> Self {
        Self { writes, case: Case { windowsize, netascii } }
    }
}

/// A planned fault: the first pass through the point after `skip` passes, `times` times.
#[derive(Debug, Clone, Copy)]
struct PlannedFault {
    point: &'static str,
    fault: Fault,
    skip: u32,
    times: u32,
}

const fn once(point: &'static str, fault: Fault) -> PlannedFault {
    PlannedFault { point, fault, skip: 0, times: 1 }
}

impl PlannedFault {
    const fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    const fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

/// What the client of a row's transfer must see.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// The right octets. Each packet once, but `again` packets of one window once more.
    Completes { again: usize },
    /// ERROR 0 without the cause. An upload leaves nothing.
    Fails,
    /// Silence, and the right octets after the client repeats its request. A panic before the first
    /// packet of a read says nothing about the file.
    CompletesAfterRepeat,
}

use Expected::{Completes, CompletesAfterRepeat, Fails};

struct Row {
    kind: Kind,
    faults: Vec<PlannedFault>,
    /// The fault happens while the transfer is live, not before.
    midway: bool,
    expected: Expected,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.kind.writes { "write" } else { "read" };
        write!(f, "{verb} in windows of {}", self.kind.case.windowsize)?;
        write!(f, "{}: ", if self.kind.case.netascii { ", netascii" } else { "" })?;
        for PlannedFault { point, fault, skip, times } in &self.faults {
            write!(f, "{fault:?} at {point} after {skip} times {times}; ")?;
        }
        write!(f, "{:?}", self.expected)
    }
}

/// One row for each kind.
fn rows(kinds: &[Kind], midway: bool, lines: &[(&[PlannedFault], Expected)]) -> Vec<Row> {
    let row = |kind, (faults, expected): (&[PlannedFault], Expected)| Row {
        kind,
        faults: faults.to_vec(),
        midway,
        expected,
    };
    lines.iter().flat_map(|line| kinds.iter().map(move |kind| row(*kind, *line))).collect()
}

fn all() -> Vec<Kind> {
    [READS, WRITES].concat()
}

/// Faults in the actors of a transfer.
fn of_temporary_actors() -> Vec<Row> {
    let session: &[(&[PlannedFault], Expected)] = &[
        (&[once("session.started", Panic)], Completes { again: 1 }),
        (&[once("session.handle", Panic)], Completes { again: 1 }),
        (&[once("session.handle", Panic).after(1)], Completes { again: 1 }),
        (&[once("session.future", Panic)], Completes { again: 1 }),
        (&[once("session.future", Panic).after(7)], Completes { again: 1 }),
        (&[once("session.scheduled", Panic)], Completes { again: 3 }),
        (&[once("session.drop", Panic)], Completes { again: 0 }),
        (&[once("session.handle", Panic), once("session.drop", Panic)], Completes { again: 1 }),
        (&[once("session.future", Panic).after(5).times(3)], Completes { again: 3 }),
        (&[once("session.future", Panic).after(5).times(4)], Fails),
        (&[once("session.started", Stop)], Completes { again: 1 }),
        (&[once("session.handle", Stop)], Completes { again: 1 }),
        (&[once("session.scheduled", Stop)], Completes { again: 3 }),
        (&[once("session.future", Stop).after(7)], Completes { again: 1 }),
        (&[once("session.started", HANG)], Completes { again: 0 }),
        (&[once("session.handle", HANG)], Completes { again: 0 }),
        (&[once("session.future", HANG).after(7)], Completes { again: 0 }),
    ];
    let reader: &[(&[PlannedFault], Expected)] = &[
        (&[once("session.started", Panic).times(4)], CompletesAfterRepeat),
        (&[once("reader.started", Panic)], Completes { again: 0 }),
        (&[once("reader.handle", Panic)], Completes { again: 0 }),
        (&[once("reader.handle", Panic).after(1)], Completes { again: 0 }),
        (&[once("reader.future", Panic)], Completes { again: 0 }),
        (&[once("reader.scheduled", Panic)], Completes { again: 0 }),
        (&[once("reader.drop", Panic)], Completes { again: 0 }),
        (&[once("reader.handle", Panic), once("reader.drop", Panic)], Completes { again: 0 }),
        (&[once("reader.handle", Panic).after(1).times(3)], Completes { again: 0 }),
        (&[once("reader.handle", Panic).after(1).times(4)], Fails),
        (&[once("reader.handle", Stop).after(1)], Completes { again: 0 }),
        (&[once("reader.handle", HANG).after(1)], Completes { again: 0 }),
        (
            &[once("session.future", Panic).after(7), once("reader.handle", Panic).after(1)],
            Completes { again: 1 },
        ),
    ];
    let writer: &[(&[PlannedFault], Expected)] = &[
        (&[once("session.started", Panic).times(4)], Fails),
        (&[once("writer.started", Panic)], Fails),
        (&[once("writer.handle", Panic)], Fails),
        (&[once("writer.future", Panic)], Fails),
        (&[once("writer.scheduled", Panic)], Fails),
        (&[once("writer.handle", Panic), once("writer.drop", Panic)], Fails),
        (&[once("writer.handle", Stop)], Fails),
        (&[once("writer.drop", Panic)], Completes { again: 0 }),
        (&[once("writer.handle", HANG)], Completes { again: 0 }),
    ];
    [rows(&all(), false, session), rows(&READS, false, reader), rows(&WRITES, false, writer)]
        .into_iter()
        .flatten()
        .collect()
}

/// Faults in other actors. No packet of a transfer may come twice.
fn of_permanent_actors() -> Vec<Row> {
    let fine = Completes { again: 0 };
    let lines: &[(&[PlannedFault], Expected)] = &[
        (&[once("listener.future", Panic)], fine),
        (&[once("listener.scheduled", Panic)], fine),
        (&[once("listener.future", Panic), once("listener.started", Panic)], fine),
        (&[once("listener.future", Panic), once("listener.restarting", Panic)], fine),
        (&[once("listener.future", Stop)], fine),
        (&[once("listener.future", HANG)], fine),
        (&[once("registry.handle", Panic)], fine),
        (&[once("registry.future", Panic)], fine),
        (&[once("registry.scheduled", Panic)], fine),
        (&[once("registry.handle", Panic), once("registry.started", Panic)], fine),
        (&[once("registry.handle", Panic), once("registry.restarting", Panic)], fine),
        (&[once("registry.handle", Stop)], fine),
        (&[once("registry.handle", HANG)], fine),
        (&[once("session_supervisor.handle", Panic)], fine),
        (&[once("session_supervisor.handle", Panic).after(1)], fine),
        (&[once("session_supervisor.future", Panic)], fine),
        (&[once("session_supervisor.scheduled", Panic)], fine),
        (&[once("session_supervisor.handle", Panic), once("session_supervisor.started", Panic)], fine),
        (&[once("session_supervisor.handle", Panic), once("session_supervisor.restarting", Panic)], fine),
        (&[once("session_supervisor.handle", Stop)], fine),
        (&[once("session_supervisor.handle", HANG)], fine),
        (&[once("arbiter_supervisor.future", Panic)], fine),
        (&[once("arbiter_supervisor.scheduled", Panic)], fine),
        (&[once("arbiter_supervisor.scheduled", Panic), once("arbiter_supervisor.started", Panic)], fine),
        (&[once("arbiter_supervisor.scheduled", Panic), once("arbiter_supervisor.restarting", Panic)], fine),
        (&[once("arbiter_supervisor.scheduled", Stop)], fine),
        (&[once("arbiter_supervisor.scheduled", HANG)], fine),
    ];
    rows(&[&READS[..2], &WRITES[..2]].concat(), true, lines)
}

/// Runs one row after another in one server.
struct Run {
    table: Table,
    disk: Vec<u8>,
    wire: Vec<u8>,
}

impl Run {
    fn new() -> Self {
        let (table, disk) = (Table::start(), netascii_text(FILE_OCTETS, 512));
        std::fs::write(table.path(NEXT), &disk).expect("a file to be read");
        Self { table, wire: to_netascii(&disk), disk }
    }

    /// Runs a row. Returns what was wrong.
    fn row(&mut self, number: usize, row: &Row) -> Result<(), String> {
        let name = format!("row-{number}");
        if !row.kind.writes {
            std::fs::write(self.table.path(&name), &self.disk).expect("a file to be read");
        }
        let wanted = self.table.hits() + row.faults.iter().map(|strike| u64::from(strike.times)).sum::<u64>();
        let mut client = self.table.client();
        let seen = self.transfer(&mut client, row, &name, wanted);
        if row.kind.writes {
            // The ERROR ends the dallying, in which the session would answer for minutes.
            client.send(&common::raw::error(0, "enough"));
        }
        let happened = self.table.wait_for_hits(wanted);
        self.table.chaos.calm();
        let judged =
            self.check_result(row, &name, &seen).map_err(|wrong| format!("{wrong}: {}", seen.brief()));
        // An upload that failed left no file.
        let _ = std::fs::remove_file(self.table.path(&name));
        happened.and(judged)?;
        self.next_is_served()?;
        self.table.registry_lists_the_neighbours_alone()?;
        self.table.nothing_is_left_but(&[NEXT])
    }

    fn transfer(&self, client: &mut common::raw::Client, row: &Row, name: &str, wanted: u64) -> Seen {
        let plan = || {
            for PlannedFault { point, fault, skip, times } in &row.faults {
                let is_its_own =
                    ["session.", "reader.", "writer."].iter().any(|actor| point.starts_with(actor));
                self.table.plan(point, is_its_own.then_some(name), *skip, *times, *fault);
            }
        };
        let needs_timer = row.faults.iter().any(|strike| strike.point == "session.scheduled");
        let mut options = vec![if needs_timer { SHORT_TIMEOUT } else { TIMEOUT }];
        options.extend((row.kind.case.windowsize > 1).then_some(("windowsize", "4")));
        let mut task = Task::new(name, row.kind.case, &options, PATIENCE);
        if row.midway {
            task.midway = Some(Box::new(move || {
                plan();
                // The result of the request is checked later. Here the transfer goes on in any
                // case.
                let _ = self.next_is_served();
                // Only a question wakes the registry.
                let _ = self.table.listed();
                let _ = self.table.wait_for_hits(wanted);
            }));
        } else {
            plan();
            // Long enough for scheduled work of actors without a timer of their own.
            let pause = if needs_timer { PAUSE } else { Duration::from_millis(20) };
            task.midway = Some(Box::new(move || std::thread::sleep(pause)));
        }
        if row.kind.writes {
            counting::write(client, task, self.on_wire(row))
        } else {
            counting::read(client, task)
        }
    }

    fn on_wire(&self, row: &Row) -> &[u8] {
        if row.kind.case.netascii { &self.wire } else { &self.disk }
    }

    fn check_result(&self, row: &Row, name: &str, seen: &Seen) -> Result<(), String> {
        let path = self.table.path(name);
        match (row.expected, &seen.end) {
            (Completes { again }, End::Complete) => {
                // Of an upload, the datagram that the failed actor was handling may be lost. An ACK
                // that arrives twice makes the client send a window twice, and the server's answer
                // is one more repeated ACK.
                let window = usize::from(row.kind.case.windowsize);
                let (stalls, repeated) =
                    if row.kind.writes { (again, 3 * again * window) } else { (0, again * window) };
                if seen.stalls > stalls || seen.most() > 1 + again || seen.again() > repeated {
                    return Err("it was seen by its client".to_owned());
                }
                if !row.kind.writes && seen.content != self.on_wire(row) {
                    return Err("it brought other octets".to_owned());
                }
                content::difference(&path, &self.disk).map_or(Ok(()), Err)
            }
            (CompletesAfterRepeat, End::Complete) if (seen.stalls, seen.again()) != (1, 0) => {
                Err("it was not served anew, or only then".to_owned())
            }
            (CompletesAfterRepeat, End::Complete) if seen.content != self.on_wire(row) => {
                Err("it brought other octets".to_owned())
            }
            (CompletesAfterRepeat, End::Complete) => Ok(()),
            (Fails, End::Error { code: 0, text }) if *text == Failure::Internal.to_string() => {
                if row.kind.writes && path.exists() { Err("a file is there".to_owned()) } else { Ok(()) }
            }
            (_, end) => Err(format!("it ended otherwise: {end:?}")),
        }
    }

    /// Checks that the next request is served or, if it is lost, the one after it.
    fn next_is_served(&self) -> Result<(), String> {
        let case = Case { windowsize: 4, netascii: false };
        let options = [TIMEOUT, ("windowsize", "4")];
        let patience = Duration::from_millis(500);
        let seen = counting::read(&mut self.table.client(), Task::new(NEXT, case, &options, patience));
        let is_right = seen.end == End::Complete && seen.content == self.disk;
        if is_right { Ok(()) } else { Err(format!("the next request is not served: {}", seen.brief())) }
    }

    fn all(mut self, rows: &[Row]) {
        let mut wrong = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            wrong.extend(self.row(number, row).err().map(|what| format!("{row}: {what}")));
            if wrong.len() == WRONG_MAX {
                break;
            }
            self.table.neighbours_go_on();
        }
        assert!(wrong.is_empty(), "rows are wrong, {} or more:\n{}", wrong.len(), wrong.join("\n"));
        self.table.neighbours_finish();
        self.table.stop();
    }
}

#[test]
fn a_failed_transfer_actor_harms_no_other_client() {
    Run::new().all(&of_temporary_actors());
}

#[test]
fn a_failed_permanent_actor_disturbs_no_transfer() {
    Run::new().all(&of_permanent_actors());
}

#[test]
fn panics_while_stopping_do_not_hang_the_server() {
    let run = Run::new();
    for actor in ["listener", "registry", "session_supervisor", "arbiter_supervisor"] {
        run.table.plan(&format!("{actor}.drop"), None, 0, 1, Panic);
    }
    let chaos = run.table.chaos.clone();
    run.table.stop();
    assert!(!chaos.hits().is_empty(), "no actor was dropped");
}
