//! Actors of extensions in the server's supervision tree, and several servers in one process.

mod common;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use common::extended::{Extended, FILE};
use common::raw::{Client, Packet, ack, rrq, wrq};
use stagecoach::Stagecoach;
use stagecoach::daemon::{RunError, ServerHandle};
use stagecoach::extend::{
    ActorObserver, Ask, Asked, Datagram, Found, Grant, Negotiator, Observed, Opcode, OpcodeStep, Otherwise,
    RouteStep, Routing,
};
use stagecoach::internals::limits::{self, RESTARTS_MAX};
use stagecoach::observe::Counters;
use stagecoach::settings::Settings;
use stagecoach::store::{Memory, Name};
use stagecoach::supervision::{ChildSpec, RestartLimit};

/// Answers with the number of questions since its last restart. Panics over one name.
#[derive(Default)]
struct CountingRoute(u32);

impl Actor for CountingRoute {
    type Context = Context<Self>;
}

impl Supervised for CountingRoute {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.0 = 0;
    }
}

impl Handler<Ask> for CountingRoute {
    type Result = Routing;

    fn handle(&mut self, Ask(asked): Ask, _: &mut Self::Context) -> Routing {
        self.0 += 1;
        match &*asked.name() {
            "file" => Routing::Pass,
            "bad" => panic!("the secret of the actor"),
            _ => Routing::octets(self.0.to_string()),
        }
    }
}

#[test]
fn a_permanent_actor_is_started_again_and_counted() {
    let counters = Arc::<Counters>::default();
    let counted = Arc::clone(&counters);
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(ChildSpec::permanent("counts", |_| CountingRoute::default()));
        builder.route(RouteStep::asking(actor.recipient())).observer(counted)
    });
    assert_eq!((served.read("a"), served.read("a")), (b"1".to_vec(), b"2".to_vec()));
    served.leaves_unanswered("bad");
    assert_eq!(served.read("a"), b"1");
    served.settle();
    let tallied = counters.tallied();
    assert_eq!((tallied.crashed, tallied.misbehaved, tallied.complete), (1, 1, 3));
}

#[test]
fn a_panicked_temporary_actor_is_not_restarted() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(ChildSpec::temporary("counts", |_| CountingRoute::default()));
        builder.route(RouteStep::asking(actor.recipient()).or(Otherwise::Pass))
    });
    assert_eq!(served.read("a"), b"1");
    assert_eq!(served.refusal("bad", 1), "File not found");
    assert_eq!(served.refusal("a", 1), "File not found");
    served.still_serves();
    let facts = served.settle();
    assert_eq!(facts.crashed, ["counts of 0: the secret of the actor"]);
    assert_eq!(facts.misbehaved, ["route: it panicked, or has stopped"; 3]);
}

#[test]
fn an_actor_over_its_restart_limit_ends_the_server() {
    common::engine::hide_expected_panics();
    let (sender, address) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        System::new().block_on(async {
            let mut builder =
                Stagecoach::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).store(Memory::default());
            let limit = RestartLimit::new(1, Duration::from_secs(10));
            let spec = ChildSpec::permanent("counts", |_| CountingRoute::default()).limit(limit);
            let actor = builder.start_child(spec);
            let mut server = builder.route(RouteStep::asking(actor.recipient())).start().unwrap();
            sender.send(server.addresses()[0]).unwrap();
            server.serve(|| Ok(())).await
        })
    });
    let address = address.recv().unwrap();
    for _ in 0..2 {
        // The second panic ends the server. The client's answer depends on timing.
        Client::to(address).send(&rrq("bad", "octet", &[]));
    }
    let error = serving.join().unwrap().unwrap_err();
    assert!(matches!(error, RunError::Escalated(_)));
    let why = "gave up after repeated failures: the counts panicked: the secret of the actor";
    assert_eq!(error.to_string(), why);
}

#[test]
fn panics_caused_by_a_client_do_not_end_the_server() {
    let served = Extended::start(|mut builder| {
        let spec =
            ChildSpec::permanent("counts", |_| CountingRoute::default()).limit(RestartLimit::endless());
        let actor = builder.start_child(spec);
        builder.route(RouteStep::asking(actor.recipient()))
    });
    // The server asks no actor that pauses.
    while served.settle().crashed.len() <= RESTARTS_MAX {
        served.leaves_unanswered("bad");
    }
    let (client, until) = (served.client(), Instant::now() + Duration::from_secs(10));
    let answer = loop {
        client.send(&rrq("a", "octet", &[]));
        if let Some((answer, _)) = client.receive(Duration::from_millis(100)) {
            break answer;
        }
        assert!(Instant::now() < until, "it never started again");
    };
    assert!(matches!(answer, Packet::Data { .. }), "{answer:?}");
    served.still_serves();
}

/// Counts its starts and stops.
struct LifeCounter(Arc<AtomicU32>);

impl Actor for LifeCounter {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.0.fetch_add(100, Ordering::Relaxed);
    }
}

impl Supervised for LifeCounter {}

#[test]
fn extension_actors_get_stop_after_the_server_ends() {
    let lives = Arc::<AtomicU32>::default();
    let shared = Arc::clone(&lives);
    let served = Extended::start(|mut builder| {
        builder.start_child(ChildSpec::permanent("lives", |_| LifeCounter(shared)));
        builder
    });
    served.still_serves();
    let until = Instant::now() + Duration::from_secs(20);
    while lives.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < until, "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(served);
    assert_eq!(lives.load(Ordering::Relaxed), 101);
}

/// Blocks its thread at a fact until the test releases the thread, like an audit whose disk hangs.
struct BlockingObserver {
    begun: mpsc::Sender<()>,
    released: mpsc::Receiver<()>,
}

impl Actor for BlockingObserver {
    type Context = Context<Self>;
}

impl Supervised for BlockingObserver {}

impl Handler<Observed> for BlockingObserver {
    type Result = ();

    fn handle(&mut self, _: Observed, _: &mut Self::Context) {
        let _ = self.begun.send(());
        let _ = self.released.recv();
    }
}

#[test]
fn an_actor_that_blocks_its_thread_stalls_nothing() {
    let (begun, blocked) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let spec = ChildSpec::permanent("blocks", |_| BlockingObserver { begun, released });
        let actor = builder.start_child(spec.stop_within(Duration::from_millis(100)));
        builder.observer(ActorObserver::new(actor.recipient()))
    });
    // Dropped before the server if the test fails.
    let release = release;
    blocked
        .recv_timeout(Duration::from_secs(20))
        .expect("the observer gets the fact that the server listens");
    for _ in 0..3 {
        served.still_serves();
    }
    let begun = Instant::now();
    drop(served);
    assert!(begun.elapsed() < limits::SERVER_STOP_WITHIN + Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(release);
}

/// Answers with its thread.
struct ThreadReporter;

impl Actor for ThreadReporter {
    type Context = Context<Self>;
}

impl Supervised for ThreadReporter {}

#[derive(Message)]
#[rtype(result = "Thread")]
struct GetThread;

#[derive(MessageResponse)]
struct Thread(ThreadId);

impl Handler<GetThread> for ThreadReporter {
    type Result = Thread;

    fn handle(&mut self, _: GetThread, _: &mut Self::Context) -> Thread {
        Thread(std::thread::current().id())
    }
}

#[test]
fn an_actor_gets_its_own_thread_by_default() {
    System::new().block_on(async {
        let listeners = std::thread::current().id();
        let mut builder =
            Stagecoach::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).store(Memory::default());
        let spec = |name| ChildSpec::permanent(name, |_| ThreadReporter);
        let arbiter = Arbiter::new();
        let apart = [builder.start_child(spec("one")), builder.start_child(spec("two"))];
        let beside = builder.start_child(spec("three").with_supervisor());
        let elsewhere = builder.start_child(spec("four").on(&arbiter.handle()));
        let mut server = builder.start().unwrap();
        // An actor that starts after the server has started is no different.
        let late = server.supervisor().start_child(spec("five"));
        let late_beside = server.supervisor().start_child(spec("six").with_supervisor());
        let mut threads = std::collections::HashSet::new();
        for actor in apart.iter().chain([&late, &elsewhere]) {
            threads.insert(actor.send(GetThread).await.unwrap().0);
        }
        assert!(threads.len() == 4 && !threads.contains(&listeners), "{threads:?}");
        for actor in [beside, late_beside] {
            assert_eq!(actor.send(GetThread).await.unwrap().0, listeners);
        }
        server.stop().await;
    });
}

fn read(address: std::net::SocketAddr, name: &str) -> Vec<u8> {
    let mut client = Client::to(address);
    client.send(&rrq(name, "octet", &[]));
    let octets = client.expect_data(1);
    client.send(&ack(1));
    octets
}

#[test]
fn servers_of_one_process_share_nothing() {
    let (sender, started) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        System::new().block_on(async {
            let mut serving = Vec::new();
            for content in ["one", "two"] {
                let files = Memory::default();
                files.insert(Name::from_request(b"file").unwrap(), content);
                let heard = Arc::<common::engine::FactRecorder>::default();
                let mut server = Stagecoach::builder()
                    .listen((Ipv4Addr::LOCALHOST, 0).into())
                    .store(files)
                    .route(
                        move |asked: &Asked<'_>| {
                            if asked.name() == "who" { Routing::octets(content) } else { Routing::Pass }
                        },
                    )
                    .observer(heard.clone())
                    .start()
                    .unwrap();
                sender.send((server.addresses()[0], heard, server.handle())).unwrap();
                serving.push(actix::spawn(async move { server.serve(|| Ok(())).await.unwrap() }));
            }
            for ends in serving {
                ends.await.unwrap();
            }
        });
    });
    let [(one, heard_by_one, handle_of_one), (two, heard_by_two, handle_of_two)] =
        [started.recv().unwrap(), started.recv().unwrap()];
    for (address, content) in [(one, b"one"), (two, b"two")] {
        assert_eq!((read(address, "file"), read(address, "who")), (content.to_vec(), content.to_vec()));
    }
    end(&handle_of_one);
    assert_eq!(read(two, "file"), b"two");
    end(&handle_of_two);
    thread.join().unwrap();
    let (one, two) = (heard_by_one.facts().finished.len(), heard_by_two.facts().finished.len());
    assert_eq!((one, two), (2, 3));
}

fn end(handle: &ServerHandle) {
    handle.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(handle.ended()).unwrap();
}

#[test]
fn routes_and_observers_see_the_same_request() {
    let (sender, seen) = mpsc::channel();
    let served = Extended::start(move |builder| {
        builder.route(move |asked: &Asked<'_>| {
            let mode = asked.request.mode.to_string();
            sender.send((asked.transfer, asked.peer, asked.local, mode, asked.is_read())).unwrap();
            Routing::Pass
        })
    });
    assert_eq!(served.read("file"), FILE);
    let (transfer, peer, local, mode, is_read) = seen.recv().unwrap();
    let report = &served.settle().finished[0];
    assert_eq!((report.id, report.peer, &*report.mode, is_read), (transfer, peer, &*mode, true));
    assert_eq!(local, served.address);
}

/// Negotiates an option, and answers datagrams.
#[derive(Debug)]
struct EchoExtension;

impl Negotiator for EchoExtension {
    fn negotiate(&self, asked: &Asked<'_>, _: &Found) -> Vec<Grant> {
        asked.option("x-board").map(|_| Grant::new("x-board", "7")).into_iter().collect()
    }
}

impl Opcode for EchoExtension {
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&datagram.octets))
    }
}

#[test]
fn extensions_work_with_a_single_port() {
    let served = Extended::start(|mut builder| {
        // A call of `settings` must not undo earlier calls.
        let mut settings = Settings::default();
        settings.single_port = true;
        let actor = builder.start_child(ChildSpec::permanent("counts", |_| CountingRoute::default()));
        builder
            .settings(settings)
            .route(RouteStep::asking(actor.recipient()))
            .negotiator(EchoExtension)
            .opcode(0x100, OpcodeStep::new(EchoExtension))
    });
    let mut client = served.client();
    client.send(&rrq("file", "octet", &[("x-board", "?")]));
    assert_eq!(client.expect_oack(), [("x-board".to_owned(), "7".to_owned())]);
    client.send(&ack(0));
    assert_eq!(client.expect_data(1), FILE);
    client.send(&ack(1));
    assert_eq!(served.read("a"), b"2");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(b"\x01\0echo", served.address).unwrap();
    let mut answer = [0; 16];
    let (octets, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!((&answer[..octets], from), (&b"\x01\0echo"[..], served.address));
}

#[test]
fn builder_calls_work_in_any_order() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    System::new().block_on(async {
        let builder = Stagecoach::builder().root(&missing).listen((Ipv4Addr::LOCALHOST, 0).into());
        let error = builder.settings(Settings::default()).start().unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        let builder = Stagecoach::builder().root(root.path()).listen((Ipv4Addr::LOCALHOST, 0).into());
        let mut server = builder.settings(Settings::default()).start().unwrap();
        assert_eq!(server.addresses().len(), 1);
        assert_ne!(server.addresses()[0].port(), 9069);
        server.stop().await;
    });
}

#[test]
fn extensions_get_the_settings_and_the_server() {
    let (sender, receiver) = mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let was_read_only = std::mem::replace(&mut builder.settings_mut().read_only, true);
        let told_log = builder.logger().clone();
        slog::info!(told_log, "extended");
        builder.on_start(move |server| {
            sender.send((was_read_only, server.addresses()[0], server.handle())).unwrap();
        })
    });
    let (was_read_only, address, handle) = receiver.recv().unwrap();
    assert_eq!((was_read_only, address), (false, served.address));
    let client = served.client();
    client.send(&wrq("new", "octet", &[]));
    assert!(matches!(client.receive(Duration::from_secs(10)), Some((Packet::Error { code: 2, .. }, _))));
    end(&handle);
}
