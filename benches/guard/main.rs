//! The guard of speed: instructions for each DATA packet, as valgrind counts them, against
//! `benches/guard/budget.txt`.
//!
//! The number of instructions does not depend on the load of the machine, unlike time. Work in the
//! kernel is not counted; docs/performance.md has measurements of that. The guard runs each case
//! with few packets and with many, and takes the difference, so that the start does not count.
//!
//! * `machines-*`: wire and transfer at both ends, over an in-memory link.
//! * `server-*`: the real program from the wake-up to the system call: tokio, session, machine,
//!   reader or writer, link.
//!
//! `cargo bench --bench guard` fails when a case takes more than its budget and 15 %. `cargo bench
//! --bench guard -- --bless` writes the current numbers as the budget.

mod machines;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How far a case may exceed its budget, in percent. Other versions of the compiler and of crates
/// shift the counts by less.
const SLACK_PERCENT: u64 = 15;

/// A kind of transfer.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    upload: bool,
    blksize: u16,
    windowsize: u16,
    /// DATA packets of the short run and of the long run.
    packets: [u64; 2],
}

const LOCK_STEP: [u64; 2] = [300, 2300];
const WINDOWS: [u64; 2] = [1600, 11_600];

const CASES: [Case; 3] = [
    Case { name: "get-512", upload: false, blksize: 512, windowsize: 1, packets: LOCK_STEP },
    Case { name: "get-16x1428", upload: false, blksize: 1428, windowsize: 16, packets: WINDOWS },
    Case { name: "put-16x1428", upload: true, blksize: 1428, windowsize: 16, packets: WINDOWS },
];

impl Case {
    /// Octets of a file that takes this many packets. The last packet is short.
    fn octets(self, packets: u64) -> u64 {
        packets * u64::from(self.blksize) - 1
    }

    /// Instructions for one packet. `count` counts those of a whole transfer.
    fn per_packet(self, count: impl Fn(u64) -> u64) -> u64 {
        let [short, long] = self.packets;
        (count(long) - count(short)) / (long - short)
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, packets] = &args[..]
        && word == "--machines"
    {
        let case = CASES.iter().find(|case| case.name == name).expect("a case of ours");
        machines::run(*case, packets.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    let mut measured = Vec::new();
    for case in CASES {
        if case.upload {
            // Both directions use the same two machines.
            continue;
        }
        measured.push((
            format!("machines-{}", case.name),
            case.per_packet(|packets| machines::count(case, packets)),
        ));
    }
    for case in CASES {
        measured
            .push((format!("server-{}", case.name), case.per_packet(|packets| server::count(case, packets))));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guard/budget.txt");
    if args.iter().any(|arg| arg == "--bless") {
        let lines: String = measured.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        std::fs::write(&path, lines).expect("the budget can be written");
    }
    judge(&measured, &budget(&path))
}

fn budget(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).expect("benches/guard/budget.txt");
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, count)| (name.to_owned(), count.parse().expect("a number"))).collect()
}

fn judge(measured: &[(String, u64)], budget: &BTreeMap<String, u64>) -> ExitCode {
    let mut failed = false;
    println!("{:24}{:>20}{:>10}", "case", "instructions/packet", "budget");
    for (name, count) in measured {
        let allowed = budget.get(name).copied().unwrap_or_default();
        let verdict = if count * 100 > allowed * (100 + SLACK_PERCENT) {
            failed = true;
            "TOO MANY"
        } else if count * (100 + SLACK_PERCENT) < allowed * 100 {
            "fewer: lower the budget with --bless"
        } else {
            ""
        };
        println!("{name:24}{count:>20}{allowed:>10}  {verdict}");
    }
    if failed {
        println!(
            "more than the budget and {SLACK_PERCENT} %: make it cheaper, or say in the commit why it is worth it, and --bless"
        );
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A command that runs `program` under valgrind, which writes the counts to `totals`.
fn counted(program: impl AsRef<std::ffi::OsStr>, totals: &Path) -> Command {
    let mut command = Command::new("valgrind");
    let file = format!("--callgrind-out-file={}", totals.display());
    command.args(["--tool=callgrind", "--quiet", &file]).arg(program);
    command
}

/// The count in the file.
fn total(totals: &PathBuf) -> u64 {
    let text = std::fs::read_to_string(totals).expect("valgrind has counted: is it installed?");
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|line| line.trim().parse().ok()).expect("a total")
}
