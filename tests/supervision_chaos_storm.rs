//! A thousand clients while actors of the daemon panic every few milliseconds: no client gets wrong
//! octets, every client gets an answer, and nothing leaks.
//!
//! `STAGECOACH_STORM_SEED` repeats the run of that seed, as far as the machine allows.

mod common;

use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use common::content::{self, Content, netascii_text, to_netascii};
use common::crash_log::CrashLog;
use common::daemon::{Daemon, binary};
use common::swarm::{End, Job, Random, TransferResult, run_clients};

const CLIENTS: u16 = 1000;
const ARBITERS: usize = 2;
/// A first storm, which is not measured. Afterwards the daemon has the buffers and threads that it
/// keeps for good.
const WARM_UP: Duration = Duration::from_secs(6);
const STORM: Duration = Duration::from_secs(30);
/// Time for sessions that only answer repeats, and for running timers, to end. Generous for busy
/// machines.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// The planned panics. Restarts a second apart do not count as restarts in a row, so the pauses
/// before them stay short.
const CHAOS: &str = "session|reader=panic every 5ms; listener=panic every 1s; registry.future=panic every 1s; restarts=1000 within 1s";
/// Number of files to read, of each kind.
const FILES: usize = 8;
/// Minimum percentage of successful transfers among those with no more panics than replacements.
const RIGHT_PERCENT_MIN: usize = 99;
/// How often a session or a reader is replaced in one transfer (`limits::RESUMPTIONS_MAX`,
/// `limits::READERS_REPLACED_MAX`).
const HITS_MAX: usize = 3;
/// Memory growth from the end of the warm-up to the end of the storm, which has five times as many
/// transfers. The limit allows for memory that the allocator does not give back, and for nothing
/// that grows with each transfer.
const RSS_GROWTH_KIB_MAX: u64 = 24 << 10;
/// Threads of the arbiters' pools (`limits::BLOCKING_THREADS`).
const POOL_THREADS: usize = ARBITERS * 8;

/// What clients ask for, with the share of each kind in percent, and with file sizes in KiB.
const MIX: [(usize, Terms); 8] = [
    (25, Terms { writes: false, mode: "octet", blksize: 512, windowsize: 1, kib: (20, 40) }),
    (20, Terms { writes: false, mode: "octet", blksize: 1428, windowsize: 4, kib: (50, 200) }),
    (15, Terms { writes: false, mode: "octet", blksize: 1428, windowsize: 16, kib: (200, 600) }),
    (15, Terms { writes: false, mode: "octet", blksize: 512, windowsize: 16, kib: (50, 200) }),
    (10, Terms { writes: false, mode: "netascii", blksize: 512, windowsize: 4, kib: (20, 60) }),
    (5, Terms { writes: true, mode: "octet", blksize: 512, windowsize: 1, kib: (20, 40) }),
    (6, Terms { writes: true, mode: "octet", blksize: 1428, windowsize: 4, kib: (50, 200) }),
    (4, Terms { writes: true, mode: "netascii", blksize: 512, windowsize: 16, kib: (20, 100) }),
];

#[derive(Debug, Clone, Copy)]
struct Terms {
    writes: bool,
    mode: &'static str,
    blksize: u16,
    windowsize: u16,
    kib: (usize, usize),
}

/// A file as it is on the disk and on the network.
#[derive(Debug)]
struct File {
    disk: Vec<u8>,
    wire: Arc<[u8]>,
}

/// The files of a storm, for each kind of [`MIX`].
#[derive(Debug)]
struct StormFiles(Vec<Vec<File>>);

impl StormFiles {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut file = |terms: &Terms| {
            let len = (terms.kib.0 << 10) + random.below((terms.kib.1 - terms.kib.0) << 10);
            if terms.mode == "netascii" {
                let disk = netascii_text(len, usize::from(terms.blksize));
                return File { wire: to_netascii(&disk).into(), disk };
            }
            let disk = Content::new(random.below(usize::MAX) as u64, len as u64).bytes();
            File { wire: disk.as_slice().into(), disk }
        };
        Self(MIX.iter().map(|(_, terms)| (0..FILES).map(|_| file(terms)).collect()).collect())
    }

    /// Writes the files to read into the served directory.
    fn write_files(&self, root: &Path) {
        for (kind, (_, terms)) in MIX.iter().enumerate().filter(|(_, (_, terms))| !terms.writes) {
            for (number, file) in self.0[kind].iter().enumerate() {
                let path = root.join(name_of(terms, kind, number));
                fs::write(&path, &file.disk).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        }
    }

    /// The next transfer of a client. An upload has a name that no other upload in this `round`
    /// has.
    fn job(&self, seed: u64, round: &str, client: u16, number: usize) -> Job {
        let mut random = Random::new(
            seed ^ ((client as u64) << 32 | (number as u64) << 8 | u64::from(round.as_bytes()[0])),
        );
        let mut left = random.below(100);
        let kind = MIX.iter().position(|(share, _)| {
            let taken = left < *share;
            left = left.saturating_sub(*share);
            taken
        });
        let kind = kind.expect("the shares are a hundred");
        let ((_, terms), file) = (&MIX[kind], random.below(FILES));
        let mut name = name_of(terms, kind, file);
        if terms.writes {
            name = format!("{name}-{round}-{client}-{number}");
        }
        let Terms { writes, mode, blksize, windowsize, .. } = *terms;
        Job { writes, name, mode, blksize, windowsize, wire: Arc::clone(&self.0[kind][file].wire) }
    }

    /// The content of the upload with this name.
    fn of_upload(&self, name: &str) -> &[u8] {
        let mut numbers = name.split('-').skip(1).map(|number| number.parse::<usize>().expect("a number"));
        let mut next = || numbers.next().expect("an upload's name has two numbers");
        let (kind, file) = (next(), next());
        &self.0[kind][file].disk
    }
}

fn name_of(terms: &Terms, kind: usize, number: usize) -> String {
    format!("{}-{kind}-{number}", if terms.writes { "upload" } else { "file" })
}

/// Resources of the system that the daemon holds.
#[derive(Debug, Clone, Copy)]
struct Resources {
    sockets: usize,
    other_descriptors: usize,
    threads: usize,
    rss_kib: u64,
}

impl Resources {
    fn of(daemon: &Daemon) -> Self {
        let directory = format!("/proc/{}/fd", daemon.pid());
        let open = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory}: {e}"));
        // A descriptor that was closed meanwhile has no target.
        let targets: Vec<_> = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
        let sockets = targets.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count();
        let tasks = format!("/proc/{}/task", daemon.pid());
        Self {
            sockets,
            other_descriptors: targets.len() - sockets,
            threads: fs::read_dir(&tasks).unwrap_or_else(|e| panic!("{tasks}: {e}")).count(),
            rss_kib: daemon.vm_rss_kib(),
        }
    }
}

/// Resources of the daemon after its start. On a busy machine the arbiters start after the
/// listener. An answer from each arbiter shows that it has started.
fn begun(daemon: &Daemon) -> Resources {
    let listening = Resources::of(daemon);
    let transfers = [(); ARBITERS].map(|()| first_block(daemon));
    for (client, server) in transfers {
        client.send_to(b"\0\x05\0\0enough\0", server).expect("an ERROR is sent");
    }
    quiet(daemon, Resources { other_descriptors: usize::MAX, ..listening })
}

/// A client that has received the first block of a file, and the server's address. The listener may
/// panic with the request, and the session may panic too often.
fn first_block(daemon: &Daemon) -> (UdpSocket, SocketAddr) {
    let (kind, number, until) = (2, 0, Instant::now() + QUIET_WITHIN);
    let request = format!("\0\x01{}\0octet\0", name_of(&MIX[kind].1, kind, number));
    while Instant::now() < until {
        let client = UdpSocket::bind((daemon.addr().ip(), 0)).expect("a client's port");
        client.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        client.send_to(request.as_bytes(), daemon.addr()).expect("a request is sent");
        let mut packet = [0; 600];
        match client.recv_from(&mut packet) {
            Ok((_, server)) if packet.starts_with(b"\0\x03") => return (client, server),
            _ => {}
        }
    }
    panic!("no block came of {request:?}");
}

/// Waits until no transfer is live according to the registry and to the open sockets. Returns the
/// resources.
fn quiet(daemon: &Daemon, before: Resources) -> Resources {
    let until = Instant::now() + QUIET_WITHIN;
    loop {
        let resources = Resources::of(daemon);
        let is_left =
            |what: &str| format!("{what} long after the last transfer: {resources:?}, before {before:?}");
        if resources.sockets <= before.sockets && resources.other_descriptors <= before.other_descriptors {
            if live_in_registry(daemon) == Some(0) {
                return resources;
            }
            assert!(Instant::now() < until, "{}", is_left("transfers are in the registry"));
        }
        assert!(Instant::now() < until, "{}", is_left("descriptors are left"));
        thread::sleep(Duration::from_millis(200));
    }
}

/// Number of live transfers in the registry. `None` if a restart of the registry lost the question.
fn live_in_registry(daemon: &Daemon) -> Option<usize> {
    let is_answer = |line: &&str| line.contains(" INFO counters, live: ");
    let answers = daemon.log().lines().filter(is_answer).count();
    daemon.signal(Signal::SIGUSR1);
    let mut seen = 0;
    let line = daemon.wait_for_log(Duration::from_secs(3), |line| {
        seen += usize::from(is_answer(&line));
        seen > answers
    })?;
    line.split("live: ").nth(1)?.split(',').next()?.parse().ok()
}

/// The outcomes of the transfers with the same number of panics.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    transfers: usize,
    right: usize,
    error: usize,
    silent: usize,
}

/// Rows for no panic, one, two, three, and more.
fn rows(results: &[TransferResult], crash_log: &CrashLog) -> [Row; HITS_MAX + 2] {
    let mut rows = [Row::default(); HITS_MAX + 2];
    for result in results {
        let row = &mut rows[crash_log.hits(result.peer).min(HITS_MAX + 1)];
        row.transfers += 1;
        match result.end {
            End::Right => row.right += 1,
            End::Refused { .. } => row.error += 1,
            End::Silent => row.silent += 1,
            End::Wrong(_) => {}
        }
    }
    rows
}

/// The whole result as a table.
fn table(
    seed: u64,
    results: &[TransferResult],
    crash_log: &CrashLog,
    resources: &[(&str, Resources)],
) -> String {
    let mut table = format!("a storm with seed {seed}: {CLIENTS} clients, {} transfers\n", results.len());
    let mut line =
        |text: std::fmt::Arguments<'_>| writeln!(table, "{text}").expect("a String takes everything");
    line(format_args!("{:>8} {:>10} {:>8} {:>8} {:>8}", "hits", "transfers", "right", "ERROR", "silent"));
    for (hits, row) in rows(results, crash_log).into_iter().enumerate() {
        let hits = if hits > HITS_MAX { format!("{hits}+") } else { hits.to_string() };
        line(format_args!(
            "{hits:>8} {:>10} {:>8} {:>8} {:>8}",
            row.transfers, row.right, row.error, row.silent
        ));
    }
    line(format_args!("panics: {:?}, sessions replaced: {}", crash_log.panics, crash_log.replaced));
    let packets: u64 = results.iter().map(|result| result.packets).sum();
    let repeats: u64 = results.iter().map(|result| u64::from(result.repeats)).sum();
    let several = crash_log.peers_with_several();
    line(format_args!(
        "packets: {packets}, clients' repeats: {repeats}, peers with several transfers: {several}"
    ));
    line(format_args!("{:>15} {:>8} {:>8} {:>8} {:>10}", "", "sockets", "others", "threads", "RSS KiB"));
    for (when, it) in resources {
        let (sockets, others) = (it.sockets, it.other_descriptors);
        line(format_args!("{when:>15} {sockets:>8} {others:>8} {:>8} {:>10}", it.threads, it.rss_kib));
    }
    table
}

/// All violations in the results.
fn violations(results: &[TransferResult], crash_log: &CrashLog) -> Vec<String> {
    let mut violations = Vec::new();
    for TransferResult { job, peer, end, packets, repeats } in results {
        let hits = crash_log.hits(*peer);
        let is_bad = match end {
            End::Right => false,
            // An ERROR without a panic is a violation.
            End::Refused { .. } => hits == 0,
            End::Wrong(_) | End::Silent => true,
        };
        if is_bad {
            violations.push(format!(
                "{} of {peer}, hit {hits} times, {packets} packets, {repeats} repeats: {end:?}",
                job.name
            ));
        }
        if let End::Refused { text, .. } = end
            && (text.contains("chaos") || text.contains("panic"))
        {
            violations.push(format!("a panic is told to {peer}: {text:?}"));
        }
    }
    let hit = &rows(results, crash_log)[1..=HITS_MAX];
    let (transfers, right) =
        hit.iter().fold((0, 0), |(transfers, right), row| (transfers + row.transfers, right + row.right));
    if right * 100 < transfers * RIGHT_PERCENT_MIN {
        violations.push(format!("{right} right of {transfers} that were hit {HITS_MAX} times at most"));
    }
    let several =
        |what: &str, which: &[u64]| (!which.is_empty()).then(|| format!("transfers {which:?} {what}"));
    violations.extend(several("were hit, and never reported", &crash_log.unreported()));
    violations.extend(several("were reported more than once", &crash_log.reported_again));
    violations.extend(crash_log.lost_lines.iter().cloned());
    violations
}

/// Violations on the disk. Every upload that its client knows to be complete must be there. The
/// others must be whole or absent. Nothing else may be there.
fn disk_violations(
    root: &Path,
    results: &[TransferResult],
    crash_log: &CrashLog,
    files: &StormFiles,
) -> Vec<String> {
    let mut violations = Vec::new();
    let mut uploads: Vec<_> = results.iter().filter(|result| result.job.writes).collect();
    uploads.sort_by(|a, b| a.job.name.cmp(&b.job.name));
    for upload in &uploads {
        let (name, path) = (&upload.job.name, root.join(&upload.job.name));
        if upload.end == End::Right || path.exists() {
            violations.extend(content::difference(&path, files.of_upload(name)));
        }
        if let Some(times @ 2..) = crash_log.uploads.get(name) {
            violations.push(format!("{name} was completed {times} times"));
        }
    }
    for (path, _) in content::listing(root) {
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        let is_upload = || uploads.binary_search_by(|upload| (*upload.job.name).cmp(&name)).is_ok();
        if !name.starts_with("file-") && !is_upload() {
            violations.push(format!("{name} was left"));
        }
    }
    violations
}

fn seed() -> u64 {
    let given = std::env::var("STAGECOACH_STORM_SEED").ok();
    given.map_or_else(
        || SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970").as_micros() as u64,
        |seed| seed.parse().expect("STAGECOACH_STORM_SEED is a number"),
    )
}

#[test]
fn a_thousand_clients_survive_a_storm_of_panics() {
    let seed = seed();
    println!("STAGECOACH_STORM_SEED={seed}");
    let root = tempfile::tempdir().expect("a directory for the test");
    let files = Arc::new(StormFiles::new(seed));
    files.write_files(root.path());
    let mut command = Command::new(binary());
    // The server is as patient as the clients, because a machine that stalls for some seconds is
    // not under test.
    command
        .args(["--timeout", "15", "--host", "127.0.0.1", "-p", "0", "--root"])
        .arg(root.path())
        .args(["--arbiters", &ARBITERS.to_string()]);
    command.env("STAGECOACH_CHAOS", format!("seed={seed}; {CHAOS}")).env_remove("RUST_BACKTRACE");
    let daemon = Daemon::spawn(command);
    let fresh = begun(&daemon);
    let storm = |round: &'static str, network, lasting| {
        let files = Arc::clone(&files);
        let job = move |client, number| files.job(seed, round, client, number);
        run_clients(daemon.addr(), network, CLIENTS, lasting, job)
    };

    let mut results = storm("w", 1, WARM_UP);
    let warm = quiet(&daemon, fresh);
    results.extend(storm("s", 2, STORM));
    let after = quiet(&daemon, fresh);
    let ended = daemon.stop();

    let crash_log = CrashLog::of(&ended.log);
    let resources = [("fresh", fresh), ("after warm-up", warm), ("after the storm", after)];
    let table = table(seed, &results, &crash_log, &resources);
    print!("{table}");
    // The log is too long to print, so it stays in this file.
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-storm.log");
    let _ = fs::write(&log, &ended.log);
    let _ = fs::write(log.with_extension("txt"), &table);
    let mut violations = violations(&results, &crash_log);
    violations.extend(disk_violations(root.path(), &results, &crash_log, &files));
    let violations = violations.join("\n");
    assert!(violations.is_empty(), "{table}The log is {}. Wrong:\n{violations}", log.display());

    assert!(after.threads <= fresh.threads + POOL_THREADS, "{table}");
    assert!(after.rss_kib <= warm.rss_kib + RSS_GROWTH_KIB_MAX, "{table}");
    // Fewer panics would be no storm. The machine may be slow, but not idle.
    assert!(crash_log.panics_in(&["session", "reader"]) > usize::from(CLIENTS), "{table}");
    assert!(["listener", "registry"].iter().all(|actor| crash_log.panics_in(&[actor]) > 10), "{table}");
    assert!(
        ended.status.success(),
        "a daemon that is asked to stop exits with 0, not with {:?}",
        ended.status
    );
}
