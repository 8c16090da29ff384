//! A server in which a test can make any actor fail, with fifty live transfers that must not
//! notice.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix::{Addr, ArbiterHandle, System};
use stagecoach::chaos::{Chaos, Fault, Plan};
use stagecoach::daemon::{List, Registry, Server, ServerHandle};
use stagecoach::settings::Settings;
use tempfile::TempDir;

use super::content::{self, Content};
use super::engine::{TIMEOUT, hide_expected_panics};
use super::raw::{Client, ack, data, rrq, wrq};

/// How long something may take that should happen at once. Generous for busy machines.
const PATIENCE: Duration = Duration::from_secs(10);
/// Number of transfers that are live all the time. The next constant is their length in blocks.
const NEIGHBOURS: usize = 50;
const NEIGHBOUR_BLOCKS: u16 = 600;
/// Places for other transfers: the one of a row, the next request, and earlier transfers whose
/// sessions are about to end.
const PLACES_FREE: usize = 4;

/// A server in this process.
pub(crate) struct Table {
    pub(crate) address: SocketAddr,
    pub(crate) chaos: Chaos,
    pub(crate) root: TempDir,
    neighbours: Vec<Neighbour>,
    running: Running,
}

/// The parts of a server on its own thread.
struct Running {
    registry: Addr<Registry>,
    arbiter: ArbiterHandle,
    handle: ServerHandle,
    thread: JoinHandle<Result<(), String>>,
}

/// Builds the server. Only this function knows how.
fn assemble(root: PathBuf, chaos: &Chaos) -> (SocketAddr, Running) {
    let mut settings = Settings::default();
    settings.listen.hosts = vec![([127, 0, 0, 1], 0).into()];
    settings.root = root;
    // With one thread, whatever blocks the thread affects everybody.
    settings.arbiters = 1;
    // A place that a transfer keeps after its end is soon missing.
    settings.transfers_max = NEIGHBOURS + PLACES_FREE;
    settings.set_chaos(chaos.clone());
    let hour = Duration::from_secs(3600);
    let timeouts = &mut settings.timeouts;
    (timeouts.ack, timeouts.unproven, timeouts.idle, timeouts.dally) = (hour, hour, hour, hour);
    let (started, parts) = mpsc::channel();
    let thread = thread::spawn(move || {
        System::new().block_on(async move {
            let log = slog::Logger::root(slog::Discard, slog::o!());
            let mut server = Server::start(&settings, &log).map_err(|e| e.to_string())?;
            let parts = (server.addresses()[0], server.registry().clone(), server.handle());
            started.send((parts, System::current().arbiter().clone())).expect("the test waits for it");
            server.serve(|| Ok(())).await.map_err(|e| e.to_string())
        })
    });
    let ((address, registry, handle), arbiter) = parts.recv_timeout(PATIENCE).expect("the server starts");
    (address, Running { registry, arbiter, handle, thread })
}

/// A transfer that advances a few packets at a time.
struct Neighbour {
    client: Client,
    name: String,
    content: Vec<u8>,
    writes: bool,
    /// The last block that was acknowledged.
    acked: u16,
}

impl Table {
    /// A server whose permanent actors may fail as often as the table has rows, with all neighbours
    /// live.
    pub(crate) fn start() -> Self {
        hide_expected_panics();
        let root = tempfile::tempdir().expect("a directory for the test");
        let chaos = Chaos::default();
        // The pause before a restart grows with the restarts within this time.
        chaos.raise_restarts(1000, Some(Duration::from_millis(100)));
        let (address, running) = assemble(root.path().to_owned(), &chaos);
        let mut table = Self { address, chaos, root, neighbours: Vec::new(), running };
        for number in 0..NEIGHBOURS {
            let neighbour = table.neighbour(number);
            table.neighbours.push(neighbour);
        }
        table
    }

    fn neighbour(&self, number: usize) -> Neighbour {
        let (name, writes) = (format!("neighbour-{number}"), number % 2 == 1);
        let content = Content::new(number as u64, u64::from(NEIGHBOUR_BLOCKS) * 512 - 100);
        if !writes {
            content.write(&self.path(&name));
        }
        let mut client = self.client();
        let request = if writes { wrq } else { rrq };
        client.send(&request(&name, "octet", &[TIMEOUT]));
        client.expect_oack();
        Neighbour { client, name, content: content.bytes(), writes, acked: 0 }
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Each neighbour advances by one block, and receives no unexpected packet.
    pub(crate) fn neighbours_go_on(&mut self) {
        for neighbour in self.neighbours.iter_mut().filter(|neighbour| neighbour.acked + 1 < NEIGHBOUR_BLOCKS)
        {
            neighbour.go_on();
        }
    }

    /// All neighbours finish with the right octets.
    pub(crate) fn neighbours_finish(&mut self) {
        for mut neighbour in std::mem::take(&mut self.neighbours) {
            while neighbour.acked < NEIGHBOUR_BLOCKS {
                neighbour.go_on();
            }
            if !neighbour.writes {
                neighbour.client.send(&ack(neighbour.acked));
            }
            let wrong = content::difference(&self.path(&neighbour.name), &neighbour.content);
            assert_eq!(wrong, None, "of a neighbour");
        }
    }

    /// Waits until the registry lists each neighbour once, and nothing else.
    pub(crate) fn registry_lists_the_neighbours_alone(&self) -> Result<(), String> {
        let mut wanted: Vec<u16> = self.neighbours.iter().map(|neighbour| neighbour.client.port()).collect();
        wanted.sort_unstable();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut live = self.listed();
            live.sort_unstable();
            if live == wanted {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "the registry lists {} transfers and not the neighbours alone",
                    live.len()
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The ports of the clients whose transfers the registry lists. The list is empty if a panic
    /// loses the question.
    pub(crate) fn listed(&self) -> Vec<u16> {
        let (registry, (answer, answered)) = (self.running.registry.clone(), mpsc::channel());
        self.running.arbiter.spawn(async move { drop(answer.send(registry.send(List).await)) });
        let snapshot = answered.recv_timeout(PATIENCE).expect("the server's arbiter answers");
        snapshot
            .map_or_else(|_| Vec::new(), |it| it.live.iter().map(|live| live.report.peer.port()).collect())
    }

    /// Checks that the directory holds the neighbours' files and these only. The removal of an
    /// upload's temporary file may take a moment.
    pub(crate) fn nothing_is_left_but(&self, names: &[&str]) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let listing = content::listing(self.root.path()).into_iter().map(|(path, _)| path);
            let left: Vec<_> = listing
                .filter(|path| {
                    let name = path.file_name().expect("a file has a name").to_string_lossy();
                    !name.starts_with("neighbour-") && !names.contains(&&*name)
                })
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("{left:?} is left"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Plans a fault at a point.
    pub(crate) fn plan(&self, point: &str, subject: Option<&str>, skip: u32, times: u32, fault: Fault) {
        let plan = Plan { point: point.to_owned(), subject: subject.map(str::to_owned), skip, times, fault };
        self.chaos.plan(plan).unwrap_or_else(|e| panic!("{point}: {e}"));
    }

    /// Number of faults so far.
    pub(crate) fn hits(&self) -> u64 {
        self.chaos.hits().values().sum()
    }

    /// Waits for this number of faults.
    pub(crate) fn wait_for_hits(&self, wanted: u64) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.hits() < wanted {
            if Instant::now() > until {
                return Err(format!("{} faults never happened", wanted - self.hits()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends the server as an operator would. The server must be alive until then, and end without
    /// an error.
    pub(crate) fn stop(self) {
        self.running.handle.stop();
        let until = Instant::now() + PATIENCE;
        while !self.running.thread.is_finished() {
            assert!(Instant::now() < until, "the server does not end");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.running.thread.join().expect("the server's thread does not panic"), Ok(()));
    }
}

impl Neighbour {
    fn go_on(&mut self) {
        let block = self.acked + 1;
        let from = usize::from(self.acked) * 512;
        let payload = &self.content[from..self.content.len().min(from + 512)];
        if self.writes {
            self.client.send(&data(block, payload));
            self.client.expect_ack(block);
        } else {
            self.client.send(&ack(self.acked));
            assert!(self.client.expect_data(block) == payload, "{}: DATA {block} is another", self.name);
        }
        self.acked = block;
    }
}
