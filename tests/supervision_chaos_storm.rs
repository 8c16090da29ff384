//! A thousand clients while something in the daemon panics every few milliseconds: nobody gets wrong octets, nobody is left without an
//! answer, and nothing stays behind.
//!
//! `STAGECOACH_STORM_SEED` repeats the run of that seed, as far as the machine lets it.

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

use common::casualties::Casualties;
use common::content::{self, Content, netascii_text, to_netascii};
use common::daemon::{Daemon, binary};
use common::swarm::{End, Errand, Outing, Random, send_out};

const CLIENTS: u16 = 1000;
const ARBITERS: usize = 2;
/// The same storm, before the one that counts: what a daemon keeps for good, such as buffers and threads, it has after that.
const WARM_UP: Duration = Duration::from_secs(6);
const STORM: Duration = Duration::from_secs(30);
/// Sessions that only answer repeats, and timers that have begun, have their time. Generous: a loaded machine is not a fault.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// What panics. Restarts a second apart are not in a row, so the pauses before them stay short.
const CHAOS: &str = "session|reader=panic every 5ms; listener=panic every 1s; registry.future=panic every 1s; restarts=1000 within 1s";
/// Files to be read, of each kind.
const FILES: usize = 8;
/// Of a hundred transfers that were hit as often as a session or a reader is replaced, so many must be none the worse for it.
const RIGHT_PERCENT_MIN: usize = 99;
/// How often a session, or a reader, is replaced in one transfer (`limits::RESUMPTIONS_MAX`, `limits::READERS_REPLACED_MAX`).
const HITS_MAX: usize = 3;
/// What memory may grow by from the warm-up's end to the storm's, which has five times as many transfers: some for what the allocator
/// didn't give back, none for each transfer.
const RSS_GROWTH_KIB_MAX: u64 = 24 << 10;
/// Threads of the arbiters' pools (`limits::BLOCKING_THREADS`).
const POOL_THREADS: usize = ARBITERS * 8;

/// What clients ask for, by how often of a hundred, with the files' sizes in KiB.
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

/// A file, as it is on the disk and on the wire.
#[derive(Debug)]
struct File {
    disk: Vec<u8>,
    wire: Arc<[u8]>,
}

/// What there is to transfer, for each of [`MIX`].
#[derive(Debug)]
struct Freight(Vec<Vec<File>>);

impl Freight {
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

    /// Puts what is to be read where it is served from.
    fn unload(&self, root: &Path) {
        for (kind, (_, terms)) in MIX.iter().enumerate().filter(|(_, (_, terms))| !terms.writes) {
            for (number, file) in self.0[kind].iter().enumerate() {
                let path = root.join(name_of(terms, kind, number));
                fs::write(&path, &file.disk).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        }
    }

    /// What a client does next. Uploads have names that don't come again in this `round`.
    fn errand(&self, seed: u64, round: &str, client: u16, number: usize) -> Errand {
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
        Errand { writes, name, mode, blksize, windowsize, wire: Arc::clone(&self.0[kind][file].wire) }
    }

    /// The file whose upload got this name.
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

/// What the daemon holds of the system's things.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    sockets: usize,
    other_descriptors: usize,
    threads: usize,
    rss_kib: u64,
}

impl Holdings {
    fn of(daemon: &Daemon) -> Self {
        let directory = format!("/proc/{}/fd", daemon.pid());
        let open = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory}: {e}"));
        // One that is closed meanwhile has no target.
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

/// What it holds when it has begun. Its arbiters begin beside it, on a busy machine later than its listener: so each gets a transfer, and has begun when that is answered.
fn begun(daemon: &Daemon) -> Holdings {
    let listening = Holdings::of(daemon);
    let transfers = [(); ARBITERS].map(|()| first_block(daemon));
    for (client, server) in transfers {
        client.send_to(b"\0\x05\0\0enough\0", server).expect("an ERROR is sent");
    }
    quiet(daemon, Holdings { other_descriptors: usize::MAX, ..listening })
}

/// A client that has got the first block of a file, and where from. The listener may crash with its request, and its session too often.
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

/// Waits until no transfer is live, by what the registry says and by what is open. What is held then.
fn quiet(daemon: &Daemon, before: Holdings) -> Holdings {
    let until = Instant::now() + QUIET_WITHIN;
    loop {
        let holdings = Holdings::of(daemon);
        let is_left =
            |what: &str| format!("{what} long after the last transfer: {holdings:?}, before {before:?}");
        if holdings.sockets <= before.sockets && holdings.other_descriptors <= before.other_descriptors {
            if live_in_registry(daemon) == Some(0) {
                return holdings;
            }
            assert!(Instant::now() < until, "{}", is_left("transfers are in the registry"));
        }
        assert!(Instant::now() < until, "{}", is_left("descriptors are left"));
        thread::sleep(Duration::from_millis(200));
    }
}

/// What the registry answers to an operator. It may be in one of its restarts, and lose the question.
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

/// What became of the transfers that were hit so often.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    transfers: usize,
    right: usize,
    error: usize,
    silent: usize,
}

/// The rows for no hit, one, two, three, and more.
fn rows(outings: &[Outing], casualties: &Casualties) -> [Row; HITS_MAX + 2] {
    let mut rows = [Row::default(); HITS_MAX + 2];
    for outing in outings {
        let row = &mut rows[casualties.hits(outing.peer).min(HITS_MAX + 1)];
        row.transfers += 1;
        match outing.end {
            End::Right => row.right += 1,
            End::Refused { .. } => row.error += 1,
            End::Silent => row.silent += 1,
            End::Wrong(_) => {}
        }
    }
    rows
}

/// All of it, for people.
fn table(seed: u64, outings: &[Outing], casualties: &Casualties, holdings: &[(&str, Holdings)]) -> String {
    let mut table = format!("a storm with seed {seed}: {CLIENTS} clients, {} transfers\n", outings.len());
    let mut line =
        |text: std::fmt::Arguments<'_>| writeln!(table, "{text}").expect("a String takes everything");
    line(format_args!("{:>8} {:>10} {:>8} {:>8} {:>8}", "hits", "transfers", "right", "ERROR", "silent"));
    for (hits, row) in rows(outings, casualties).into_iter().enumerate() {
        let hits = if hits > HITS_MAX { format!("{hits}+") } else { hits.to_string() };
        line(format_args!(
            "{hits:>8} {:>10} {:>8} {:>8} {:>8}",
            row.transfers, row.right, row.error, row.silent
        ));
    }
    line(format_args!("panics: {:?}, sessions replaced: {}", casualties.panics, casualties.replaced));
    let packets: u64 = outings.iter().map(|outing| outing.packets).sum();
    let repeats: u64 = outings.iter().map(|outing| u64::from(outing.repeats)).sum();
    let several = casualties.peers_with_several();
    line(format_args!(
        "packets: {packets}, clients' repeats: {repeats}, peers with several transfers: {several}"
    ));
    line(format_args!("{:>15} {:>8} {:>8} {:>8} {:>10}", "", "sockets", "others", "threads", "RSS KiB"));
    for (when, it) in holdings {
        let (sockets, others) = (it.sockets, it.other_descriptors);
        line(format_args!("{when:>15} {sockets:>8} {others:>8} {:>8} {:>10}", it.threads, it.rss_kib));
    }
    table
}

/// Every way in which that may be wrong.
fn complaints(outings: &[Outing], casualties: &Casualties) -> Vec<String> {
    let mut complaints = Vec::new();
    for Outing { errand, peer, end, packets, repeats } in outings {
        let hits = casualties.hits(*peer);
        let is_bad = match end {
            End::Right => false,
            // Nothing was wrong with it.
            End::Refused { .. } => hits == 0,
            End::Wrong(_) | End::Silent => true,
        };
        if is_bad {
            complaints.push(format!(
                "{} of {peer}, hit {hits} times, {packets} packets, {repeats} repeats: {end:?}",
                errand.name
            ));
        }
        if let End::Refused { text, .. } = end
            && (text.contains("chaos") || text.contains("panic"))
        {
            complaints.push(format!("a panic is told to {peer}: {text:?}"));
        }
    }
    let hit = &rows(outings, casualties)[1..=HITS_MAX];
    let (transfers, right) =
        hit.iter().fold((0, 0), |(transfers, right), row| (transfers + row.transfers, right + row.right));
    if right * 100 < transfers * RIGHT_PERCENT_MIN {
        complaints.push(format!("{right} right of {transfers} that were hit {HITS_MAX} times at most"));
    }
    let several =
        |what: &str, which: &[u64]| (!which.is_empty()).then(|| format!("transfers {which:?} {what}"));
    complaints.extend(several("were hit, and never reported", &casualties.unreported()));
    complaints.extend(several("were reported more than once", &casualties.reported_again));
    complaints.extend(casualties.lost_lines.iter().cloned());
    complaints
}

/// Every upload that its client knows to be there is there; the others are whole or absent; and there is nothing else.
fn complaints_of_disk(
    root: &Path,
    outings: &[Outing],
    casualties: &Casualties,
    freight: &Freight,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut uploads: Vec<_> = outings.iter().filter(|outing| outing.errand.writes).collect();
    uploads.sort_by(|a, b| a.errand.name.cmp(&b.errand.name));
    for upload in &uploads {
        let (name, path) = (&upload.errand.name, root.join(&upload.errand.name));
        if upload.end == End::Right || path.exists() {
            complaints.extend(content::difference(&path, freight.of_upload(name)));
        }
        if let Some(times @ 2..) = casualties.uploads.get(name) {
            complaints.push(format!("{name} was completed {times} times"));
        }
    }
    for (path, _) in content::listing(root) {
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        let is_upload = || uploads.binary_search_by(|upload| (*upload.errand.name).cmp(&name)).is_ok();
        if !name.starts_with("file-") && !is_upload() {
            complaints.push(format!("{name} was left"));
        }
    }
    complaints
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
    let freight = Arc::new(Freight::new(seed));
    freight.unload(root.path());
    let mut command = Command::new(binary());
    // As patient as its clients: a machine that stalls for some seconds is not what is tested.
    command
        .args(["--timeout", "15", "--host", "127.0.0.1", "-p", "0", "--root"])
        .arg(root.path())
        .args(["--arbiters", &ARBITERS.to_string()]);
    command.env("STAGECOACH_CHAOS", format!("seed={seed}; {CHAOS}")).env_remove("RUST_BACKTRACE");
    let daemon = Daemon::spawn(command);
    let fresh = begun(&daemon);
    let storm = |round: &'static str, network, lasting| {
        let freight = Arc::clone(&freight);
        let errand = move |client, number| freight.errand(seed, round, client, number);
        send_out(daemon.addr(), network, CLIENTS, lasting, errand)
    };

    let mut outings = storm("w", 1, WARM_UP);
    let warm = quiet(&daemon, fresh);
    outings.extend(storm("s", 2, STORM));
    let after = quiet(&daemon, fresh);
    let ended = daemon.stop();

    let casualties = Casualties::of(&ended.log);
    let holdings = [("fresh", fresh), ("after warm-up", warm), ("after the storm", after)];
    let table = table(seed, &outings, &casualties, &holdings);
    print!("{table}");
    // Where they are found afterwards: the log is too long to be printed.
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-storm.log");
    let _ = fs::write(&log, &ended.log);
    let _ = fs::write(log.with_extension("txt"), &table);
    let mut complaints = complaints(&outings, &casualties);
    complaints.extend(complaints_of_disk(root.path(), &outings, &casualties, &freight));
    let complaints = complaints.join("\n");
    assert!(complaints.is_empty(), "{table}The log is {}. Wrong:\n{complaints}", log.display());

    assert!(after.threads <= fresh.threads + POOL_THREADS, "{table}");
    assert!(after.rss_kib <= warm.rss_kib + RSS_GROWTH_KIB_MAX, "{table}");
    // Or it was no storm: the machine may be slow, not idle.
    assert!(casualties.panics_in(&["session", "reader"]) > usize::from(CLIENTS), "{table}");
    assert!(["listener", "registry"].iter().all(|actor| casualties.panics_in(&[actor]) > 10), "{table}");
    assert!(
        ended.status.success(),
        "a daemon that is asked to stop exits with 0, not with {:?}",
        ended.status
    );
}
