//! Times of transfers from end to end: the real server, the real client (`stagecoach bench`), and
//! the loopback interface between them. Run with `cargo bench --bench loopback`.
//!
//! The times hold for one machine at one time. To compare servers or versions in one run, use
//! `benches/peers/`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stagecoach");
const LARGE: u64 = 16 << 20;
const SMALL: u64 = 400;

/// A case: its name, the arguments of `stagecoach bench`, octets of a transfer, and transfers at
/// the same time.
const CASES: [(&str, &str, u64, u64); 8] = [
    ("read in lock-step, 512 octets", "get --name large --no-options", LARGE, 1),
    ("read in lock-step, 1428 octets", "get --name large --windowsize 1", LARGE, 1),
    ("read in windows of 16", "get --name large --windowsize 16", LARGE, 1),
    ("read in windows of 64", "get --name large --windowsize 64", LARGE, 1),
    ("100 read at once in windows of 16", "get --name large --windowsize 16", LARGE, 100),
    ("read 400 octets, 16 at once", "get --name small --no-options", SMALL, 16),
    ("ask for what is not there, 16 at once", "miss", 0, 16),
    ("write in windows of 16", "put --size 16M --windowsize 16", LARGE, 1),
];

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(root: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--host", "127.0.0.1", "-p", "0", "--root"]).arg(root);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the program");
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the server doesn't start");
        }
        // The server's later log lines need a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = line.split("address: ").nth(1).and_then(|rest| rest.split(',').next());
        Self { process, address: address.expect("the address that it listens on").to_owned() }
    }

    /// Time of `transfers` transfers.
    fn bear(&self, what: &str, transfers: u64, at_once: u64) -> Duration {
        let mut client = Command::new(PROGRAM);
        client.arg("bench").args(what.split(' ')).args(["--quiet", "--to", &self.address]);
        client.args(["-n", &transfers.to_string(), "-c", &at_once.to_string()]);
        let told = client.output().expect("the program");
        assert!(told.status.success(), "{what}: {}", String::from_utf8_lossy(&told.stderr));
        let report: serde_json::Value = serde_json::from_slice(&told.stdout).expect("a report");
        Duration::from_secs_f64(report["seconds"].as_f64().expect("seconds"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server has ended by itself only if a transfer failed, which has been reported.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn loopback(criterion: &mut Criterion) {
    let root = tempfile::tempdir().expect("a directory");
    for (name, octets) in [("large", LARGE), ("small", SMALL)] {
        let content = std::iter::repeat_n(*b"0123456789abcdef", octets.div_ceil(16) as usize).flatten();
        let content: Vec<u8> = content.take(octets as usize).collect();
        File::create(root.path().join(name)).and_then(|mut file| file.write_all(&content)).expect("a file");
    }
    let server = Server::start(root.path());
    let mut group = criterion.benchmark_group("loopback");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for (name, what, octets, at_once) in CASES {
        group.throughput(if octets == LARGE {
            Throughput::Bytes(octets * at_once)
        } else {
            Throughput::Elements(at_once)
        });
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| server.bear(what, rounds * at_once, at_once));
        });
    }
    group.finish();
}

criterion_group!(benches, loopback);
criterion_main!(benches);
