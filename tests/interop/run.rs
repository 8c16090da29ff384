//! Starts servers, makes files, and runs cells.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cells::{Cell, Direction, Mode, Refusal, Subject, transfers};
use crate::clients::{Client, Quirk};
use crate::common::content::{Content, difference, listing, to_netascii};
use crate::common::daemon::Daemon;

/// Number of cells that run at the same time.
const WORKERS: usize = 4;

/// The result of a cell.
pub(crate) struct Result {
    /// The cell, or `None` for a check after all cells.
    pub(crate) cell: Option<usize>,
    pub(crate) took: Duration,
    /// Why the cell failed.
    pub(crate) wrong: Option<String>,
}

/// Three daemons, and the files of the daemons and the clients.
///
/// ```text
/// reads/    served read-only: every file of every cell, `directory/`, `escape` -> ../secret
/// writes/   served with --overwrite
/// keeps/    served as by default: `existing`, `escape` -> ../outside
/// local/    what clients upload and where they download to
/// secret, outside/   beside the roots: nobody may get there
/// ```
pub(crate) struct Fixture {
    directory: TempDir,
    reads: Daemon,
    writes: Daemon,
    keeps: Daemon,
}

impl Fixture {
    pub(crate) fn set() -> Self {
        let directory = TempDir::with_prefix("interop-").expect("a directory for the test");
        let path = directory.path();
        for name in ["reads/directory", "writes", "keeps", "local", "outside"] {
            fs::create_dir_all(path.join(name)).expect("a directory in the test's own");
        }
        fs::write(path.join("secret"), SECRET).expect("a file in the test's own directory");
        fs::write(path.join("keeps/existing"), EXISTING).expect("a file in the test's own directory");
        fs::write(path.join("local/refused"), b"must not arrive")
            .expect("a file in the test's own directory");
        symlink("../secret", path.join("reads/escape")).expect("a link in the test's own directory");
        symlink("../outside", path.join("keeps/escape")).expect("a link in the test's own directory");
        for cell in transfers() {
            make_files(&path.join("reads"), &path.join("local"), &cell.subject);
        }
        let reads = Daemon::start(&path.join("reads"), &["--read-only"]);
        let writes = Daemon::start(&path.join("writes"), &["--overwrite"]);
        let keeps = Daemon::start(&path.join("keeps"), &[]);
        Self { directory, reads, writes, keeps }
    }

    /// Runs all cells to their end, a few at a time.
    pub(crate) fn run_all(&self, cells: &[Cell]) -> Vec<Result> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((number, cell)) = {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        cells.get(number).map(|cell| (number, cell))
                    } {
                        let start = Instant::now();
                        let wrong = self.run(number, cell);
                        let result = Result { cell: Some(number), took: start.elapsed(), wrong };
                        results.lock().expect("no panic under this lock").push(result);
                    }
                });
            }
        });
        let mut results = results.into_inner().expect("no panic under this lock");
        results.sort_by_key(|result| result.cell);
        results
    }

    /// Checks the directories after all cells: no new file, no partial file, no change outside of
    /// the roots.
    pub(crate) fn check_leftovers(&self) -> Vec<Result> {
        let path = self.directory.path();
        let names = |directory: &str| -> Vec<String> {
            let paths = listing(&path.join(directory)).into_iter();
            paths
                .map(|(path, _)| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
                .collect()
        };
        let wrong = [
            (names("writes") != Vec::<String>::new())
                .then(|| format!("writes/ should be empty and holds {:?}", names("writes"))),
            (names("keeps") != ["escape", "existing"])
                .then(|| format!("keeps/ should be as it was and holds {:?}", names("keeps"))),
            (names("outside") != Vec::<String>::new())
                .then(|| format!("an upload left the root: {:?}", names("outside"))),
            difference(&path.join("keeps/existing"), EXISTING),
            difference(&path.join("secret"), SECRET),
        ];
        wrong
            .into_iter()
            .flatten()
            .map(|wrong| Result { cell: None, took: Duration::ZERO, wrong: Some(wrong) })
            .collect()
    }

    fn run(&self, number: usize, cell: &Cell) -> Option<String> {
        match (&cell.subject, cell.direction) {
            (Subject::Refused(refusal), _) => self.refused(number, cell, *refusal),
            (_, Direction::Get) => self.get(number, cell),
            (_, Direction::Put) => self.put(number, cell),
        }
    }

    fn get(&self, number: usize, cell: &Cell) -> Option<String> {
        let local = self.local(number);
        let remote = cell.subject.file_name();
        let output = cell.client.run(self.reads.port(), Direction::Get, &cell.ask, &local, &remote);
        if cell.has(Quirk::CurlRefusesEmpty) {
            let as_ever = output.status.code() == Some(71) && !local.exists();
            return (!as_ever).then(|| format!("curl took an empty file with tsize: {}", output.status));
        }
        let wrong = cell.client.why_not_successful(&output).or_else(|| match &cell.subject {
            // curl makes no file for an empty download.
            subject if subject.len() == 0 && cell.client == Client::Curl && !local.exists() => None,
            // BusyBox opens its file at the first DATA.
            Subject::Octets(content) => content.difference(&local),
            text if cell.has(Quirk::CurlConvertsNothing) => difference(&local, &to_netascii(&text.text())),
            text => difference(&local, &text.text()),
        });
        let _ = fs::remove_file(local);
        wrong
    }

    fn put(&self, number: usize, cell: &Cell) -> Option<String> {
        let name = cell.subject.file_name();
        let converts = cell.ask.mode == Mode::Netascii && !cell.has(Quirk::CurlConvertsNothing);
        let local = match &cell.subject {
            // A client that converts nothing has to upload text that is netascii already.
            Subject::Text { .. } if !converts => self.path(&format!("local/{name}.netascii")),
            _ => self.path(&format!("reads/{name}")),
        };
        let remote = format!("put{number}");
        let output = cell.client.run(self.writes.port(), Direction::Put, &cell.ask, &local, &remote);
        let arrived = self.path(&format!("writes/{remote}"));
        let wrong = cell.client.why_not_successful(&output).or_else(|| match &cell.subject {
            Subject::Octets(content) => content.difference(&arrived),
            text => difference(&arrived, &text.text()),
        });
        let _ = fs::remove_file(arrived);
        wrong
    }

    fn refused(&self, number: usize, cell: &Cell, refusal: Refusal) -> Option<String> {
        let (daemon, remote) = match (refusal, cell.direction) {
            (Refusal::Missing, _) => (&self.reads, "missing"),
            (Refusal::Directory, _) => (&self.reads, "directory"),
            (Refusal::Forbidden, Direction::Get) => (&self.reads, "escape"),
            (Refusal::Forbidden, Direction::Put) => (&self.keeps, "escape/new"),
            (Refusal::Outside, Direction::Get) => (&self.reads, "../secret"),
            (Refusal::Outside, Direction::Put) => (&self.keeps, "../outside/new"),
            (Refusal::Existing, _) => (&self.keeps, "existing"),
            (Refusal::ReadOnly, _) => (&self.reads, "new"),
            (Refusal::NoParent, _) => (&self.keeps, "no/such/new"),
        };
        let local = match cell.direction {
            Direction::Get => self.local(number),
            Direction::Put => self.path("local/refused"),
        };
        let output = cell.client.run(daemon.port(), cell.direction, &cell.ask, &local, remote);
        let wrong = cell.client.why_not_refused(refusal.expected_error(), &output);
        if cell.direction == Direction::Put {
            return wrong;
        }
        let left = fs::metadata(&local).map(|metadata| metadata.len()).ok();
        let _ = fs::remove_file(local);
        let expected = cell.has(Quirk::LeavesEmptyFile).then_some(0);
        wrong.or_else(|| (left != expected).then(|| format!("{left:?} octets left, {expected:?} expected")))
    }

    fn local(&self, number: usize) -> PathBuf {
        self.path(&format!("local/get{number}"))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }
}

const SECRET: &[u8] = b"nobody may read this\n";
const EXISTING: &[u8] = b"nobody may change this\n";

fn make_files(reads: &Path, local: &Path, subject: &Subject) {
    let path = reads.join(subject.file_name());
    if path.exists() {
        return;
    }
    match subject {
        Subject::Octets(content) => Content::write(content, &path),
        Subject::Text { .. } => {
            let text = subject.text();
            let encoded = local.join(format!("{}.netascii", subject.file_name()));
            fs::write(encoded, to_netascii(&text)).expect("a file in the test's own directory");
            fs::write(path, text).expect("a file in the test's own directory");
        }
        Subject::Refused(_) => {}
    }
}
