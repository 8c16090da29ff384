//! Real sessions with scripted clients and strangers, through the kit for tests: links that lose,
//! duplicate, reorder and delay packets, and a store that waits and panics, in virtual time.
//! Everything follows from a seed. (`tests/sim/` plays many more runs with the machines alone.)

mod client_task;
#[path = "../link/mod.rs"]
mod link;
#[path = "../sim/scripted_client.rs"]
#[allow(dead_code, reason = "the simulator of the machines uses the rest")]
mod scripted_client;
mod store;
mod strangers;

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use client_task::ClientTask;
use link::{Channel, Conditions, Rng, for_each_seed};
use scripted_client::{Behavior, ClientOutcome, ScriptedClient};
use stagecoach::Stagecoach;
use stagecoach::observe::Fact;
use stagecoach::settings::Settings;
use stagecoach::store::{Memory, MemoryOptions, Name};
use stagecoach::testkit::{Kit, KitLink, Recorder};
use store::FlakyStore;

const RUNS: u64 = 500;
/// Packets that strangers send to the sessions of each client, at most.
const STRANGER_PACKETS_MAX: usize = 10;
const STRANGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1666);

/// The server of a run.
struct ServerFixture {
    kit: Kit,
    files: Memory,
    facts: Arc<Recorder>,
}

/// A session, and what strangers have to do with it.
struct SessionUnderTest {
    link: KitLink,
    stranger_packets: Vec<Vec<u8>>,
    stranger_answers: Vec<Vec<u8>>,
}

impl ServerFixture {
    fn new(rng: &mut Rng) -> Self {
        let mut options = MemoryOptions::default();
        options.overwrite = true;
        let files = Memory::new(options);
        let store = FlakyStore::new(files.clone(), rng.fork());
        let facts = Arc::<Recorder>::default();
        let mut settings = Settings::default();
        settings.timeouts.idle = Duration::from_secs(120);
        let builder = Stagecoach::builder().settings(settings).store(store);
        let kit = builder.observer(Arc::<Recorder>::clone(&facts)).kit().unwrap();
        Self { kit, files, facts }
    }

    /// Delivers a request. The session that it begins; `None` if it repeats an earlier one.
    fn request(&self, client: SocketAddr, octets: &[u8]) -> Option<SessionUnderTest> {
        let link = self.kit.datagram(client, octets)?;
        assert!(!link.is_closed(), "no session serves {octets:?}");
        Some(SessionUnderTest { link, stranger_packets: Vec::new(), stranger_answers: Vec::new() })
    }

    /// Nothing is left of the sessions, each of which stopped by itself and was reported once.
    async fn check_sessions_are_gone(&self, sessions: usize) {
        while self.kit.peer_table().live() > 0 {
            tokio::time::sleep(ms(1000)).await;
        }
        assert_eq!(self.kit.peer_table().unfinished(), 0);
        let facts = self.facts.facts();
        let is_panic = |fact: &Fact<'_>| matches!(fact, Fact::Crashed { actor: "session", .. });
        assert!(!facts.iter().any(is_panic), "{facts:?}");
        let reports = facts.iter().filter(|fact| matches!(fact, Fact::Finished(_))).count();
        assert_eq!(reports, sessions);
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn channel(rng: &mut Rng, is_lossy: bool, client: &ScriptedClient) -> Channel {
    let delay = ms(rng.one_of(&[1, 5, 20]));
    let mut conditions = Conditions { delay, in_order: true, ..Conditions::default() };
    if is_lossy {
        conditions = Conditions {
            loss: rng.one_of(&[0, 5, 20, 50]),
            duplicate: if client.tolerates_duplicates() { rng.one_of(&[0, 20, 200]) } else { 0 },
            reorder: rng.one_of(&[0, 20, 100]),
            jitter: ms(rng.one_of(&[0, 1, 10])),
            in_order: false,
            ..conditions
        };
    }
    Channel::new(conditions, rng.fork())
}

async fn simulate(seed: u64) {
    let mut rng = Rng::new(seed);
    let server = Rc::new(ServerFixture::new(&mut rng));
    let is_lossy = rng.chance(700);
    let mut tasks = Vec::new();
    for number in 0..rng.length(1..=5) {
        let client = ScriptedClient::random(format!("f{number}"), 30, &[8, 512, 1428], &[1, 2, 7], &mut rng);
        let request = client.request();
        if request.is_read {
            let name = Name::from_request(request.name.as_bytes()).unwrap();
            server.files.insert(name, request.file.to_vec());
        }
        let channels = [(); 2].map(|()| channel(&mut rng, is_lossy, &client));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 2000 + number as u16));
        let starts_after = ms(rng.within(0..=300));
        let task = ClientTask::new(Rc::clone(&server), client, channels, address, rng.fork());
        tasks.push(actix::spawn(task.run(starts_after)));
    }
    let mut sessions = 0;
    for task in tasks {
        let task = task.await.expect("a task that does not panic");
        sessions += task.sessions();
        check_client(&server, &task, is_lossy);
    }
    server.check_sessions_are_gone(sessions).await;
}

fn check_client(server: &ServerFixture, task: &ClientTask, is_lossy: bool) {
    let (client, request) = (task.client(), task.client().request());
    if client.behavior() != Behavior::NeverAnswers {
        // A client that restarts can take a late packet of the old transfer for one of the new
        // transfer, and give up in the end: the protocol does not prevent that.
        let may_be_mistaken = is_lossy && client.behavior() == Behavior::Reboots && task.sessions() > 1;
        let is_mistaken = may_be_mistaken && client.outcome == Some(ClientOutcome::GaveUp);
        // A block that was lost, or in flight when a reader panicked, is sent twice.
        let is_hung =
            client.behavior() == Behavior::HangsOnCopies && client.outcome == Some(ClientOutcome::Hung);
        assert!(
            client.outcome == Some(ClientOutcome::Complete) || is_mistaken || is_hung,
            "{:?}: {:?}",
            client.behavior(),
            client.outcome
        );
    }
    if client.outcome == Some(ClientOutcome::Complete) && !request.is_read {
        let stored = server.files.get(&Name::from_request(request.name.as_bytes()).unwrap());
        assert!(stored.is_some_and(|stored| stored[..] == request.file[..]), "the upload did not arrive");
    }
}

#[test]
fn real_sessions_serve_every_client() {
    let test = "--features testkit --test sim_actors";
    for_each_seed(test, RUNS, |seed| Kit::in_virtual_time(simulate(seed)));
}
