use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use actix::AsyncContext;
use slog::{Logger, o};

use super::*;
use crate::actors::Workers;
use crate::daemon::Stagecoach;
use crate::extend::{ActorObserver, Observed};
use crate::settings::Settings;
use crate::store::{Memory, Name};
use crate::supervision::ChildSpec;

fn settings(root: &std::path::Path) -> Settings {
    let mut settings = Settings { root: root.to_owned(), arbiters: 2, ..Settings::default() };
    settings.listen.hosts = vec!["127.0.0.1:0".parse().unwrap()];
    settings
}

/// Starts a server of an empty directory, and runs `life` with it.
fn with_server<T>(life: impl AsyncFnOnce(Server) -> T) -> T {
    let root = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let server = Server::start(&settings(root.path()), &Logger::root(slog::Discard, o!())).unwrap();
        life(server).await
    })
}

fn usable_from_any_thread<T: Clone + Send + Sync + 'static>(it: T) -> T {
    it
}

#[test]
fn a_server_is_drained_from_another_thread() {
    with_server(async |mut server| {
        let handle = usable_from_any_thread(server.handle());
        let elsewhere = handle.clone();
        let steering = thread::spawn(move || elsewhere.drain(Duration::MAX));
        server.serve(|| Ok(())).await.unwrap();
        steering.join().unwrap();
        handle.ended().await.unwrap();
        // An order after the end does no harm.
        handle.stop();
        drop(server);
        handle.ended().await.unwrap();
    });
}

#[test]
fn the_port_is_free_again_when_a_server_has_stopped() {
    with_server(async |mut server| {
        let address = server.addresses()[0];
        std::net::UdpSocket::bind(address).unwrap_err();
        server.stop().await;
        std::net::UdpSocket::bind(address).unwrap();
    });
}

#[test]
fn a_log_that_cannot_be_reopened_ends_nothing() {
    with_server(async |mut server| {
        let handle = server.handle();
        let calls = Arc::<AtomicU32>::default();
        let (counted, orders) = (Arc::clone(&calls), handle.clone());
        let reopen = move || {
            // The order that is given during the first call causes one more call.
            match counted.fetch_add(1, Ordering::Relaxed) {
                0 => orders.reload(),
                _ => orders.stop(),
            }
            Err(io::Error::other("no such directory"))
        };
        handle.reload();
        server.serve(reopen).await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    });
}

/// Ends the arbiters of a server again and again, until the server gives up.
async fn harass(workers: Arc<Workers>) {
    loop {
        workers.stop_all();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_part_that_keeps_failing_ends_the_server() {
    with_server(async |mut server| {
        let handle = server.handle();
        let harassed = actix::spawn(harass(Arc::clone(&server.workers)));
        let error = server.serve(|| Ok(())).await.unwrap_err();
        assert!(
            matches!(&error, RunError::Escalated(why) if why.contains("arbiters fail too often")),
            "{error}"
        );
        assert_eq!(handle.ended().await.unwrap_err().to_string(), error.to_string());
        harassed.abort();
    });
}

#[test]
fn a_failure_during_a_drain_is_an_error() {
    with_server(async |mut server| {
        server.drain(Duration::from_secs(600), &mut None);
        let harassed = actix::spawn(harass(Arc::clone(&server.workers)));
        let failure = server.failed().await;
        assert!(failure.contains("arbiters fail too often"), "{failure}");
        harassed.abort();
        server.stop().await;
    });
}

#[test]
fn a_dropped_server_wakes_waiters_of_its_handle() {
    with_server(async |server| {
        let handle = server.handle();
        drop(server);
        handle.ended().await.unwrap_err();
    });
}

#[test]
fn a_dropped_server_sends_errors_and_serves_nobody() {
    use tokio::net::UdpSocket;
    const PATIENCE: Duration = Duration::from_secs(20);
    actix::System::new().block_on(async {
        let files = Memory::default();
        for (name, octets) in [("short", 1000), ("long", 100_000)] {
            files.insert(Name::from_request(name.as_bytes()).unwrap(), vec![7; octets]);
        }
        let builder = Stagecoach::builder().store(files).listen("127.0.0.1:0".parse().unwrap());
        let server = builder.start().unwrap();
        let (address, handle) = (server.addresses()[0], server.handle());
        let mut answer = [0; 1024];
        let mut clients = Vec::new();
        for name in ["short", "long"] {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(format!("\0\u{1}{name}\0octet\0").as_bytes(), address).await.unwrap();
            timeout(PATIENCE, client.recv(&mut answer)).await.expect("DATA 1").unwrap();
            assert_eq!(answer[..4], [0, 3, 0, 1]);
            clients.push(client);
        }
        drop(server);
        for client in clients {
            let told = async {
                while answer[..4] != [0, 5, 0, 0] {
                    client.recv(&mut answer).await.unwrap();
                }
            };
            timeout(PATIENCE, told).await.expect("ERROR 0");
            answer.fill(0);
        }
        handle.ended().await.unwrap_err();
        let freed = async {
            while UdpSocket::bind(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, freed).await.expect("the port is free again");
    });
}

#[test]
fn of_several_deadlines_the_first_to_come_counts() {
    with_server(async |mut server| {
        let mut draining = None;
        let mut deadline_after = |seconds| {
            server.drain(Duration::from_secs(seconds), &mut draining);
            draining.as_ref().unwrap().deadline
        };
        let long = deadline_after(600);
        let short = deadline_after(5);
        assert!(short < long);
        assert_eq!(deadline_after(600), short);
        server.stop().await;
    });
}

/// Waiting for ten listeners, two seconds each or together, would delay the second order.
#[test]
fn stop_is_obeyed_while_hung_listeners_are_paused() {
    with_server(async |mut server| {
        let silent: Vec<_> = (0..10).map(|_| actix::Context::<Listener>::new()).collect();
        server.listeners.extend(silent.iter().map(actix::AsyncContext::address));
        let handle = server.handle();
        handle.drain(Duration::from_secs(600));
        handle.stop();
        let begun = Instant::now();
        server.serve(|| Ok(())).await.unwrap();
        assert!(begun.elapsed() < limits::STOP_WITHIN, "after {:?}", begun.elapsed());
    });
}

/// An added actor that is slow to end.
struct Slow(Arc<AtomicU32>);

impl Slow {
    /// Longer than the limit of the server's own actors, and shorter than the actor's own.
    const TAKES: Duration = limits::SERVER_STOP_WITHIN.saturating_add(Duration::from_millis(300));
}

impl actix::Actor for Slow {
    type Context = actix::Context<Self>;

    fn stopping(&mut self, ctx: &mut Self::Context) -> actix::Running {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => {
                ctx.run_later(Self::TAKES, |_, ctx| actix::ActorContext::stop(ctx));
                actix::Running::Continue
            }
            _ => actix::Running::Stop,
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.0.fetch_add(100, Ordering::Relaxed);
    }
}

impl actix::Supervised for Slow {}

/// This takes four seconds, the limit of the server's own actors: the clock of its arbiters can't
/// be advanced.
#[test]
fn an_added_actor_has_its_own_time_to_stop() {
    assert!(Slow::TAKES < limits::CHILD_STOP_WITHIN_DEFAULT);
    with_server(async |mut server| {
        let ends = Arc::<AtomicU32>::default();
        let shared = Arc::clone(&ends);
        server.supervisor().start_child(ChildSpec::permanent("slow", |_| Slow(shared)));
        server.handle().stop();
        server.serve(|| Ok(())).await.unwrap();
        assert!(ends.load(Ordering::Relaxed) > 100, "it was cut off");
    });
}

/// An added actor that always panics.
struct Useless;

impl actix::Actor for Useless {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        panic!("of no use");
    }
}

impl actix::Supervised for Useless {}

#[test]
fn only_a_permanent_added_actor_ends_the_server() {
    with_server(async |mut server| {
        server.supervisor().start_child(ChildSpec::temporary("temporary", |_| Useless));
        server.supervisor().start_child(ChildSpec::permanent("resident", |_| Useless));
        let error = server.serve(|| Ok(())).await.unwrap_err();
        let why = "gave up after repeated failures: the resident panicked: of no use";
        assert_eq!(error.to_string(), why);
        assert!(server.counters().tallied().crashed >= 7, "{:?}", server.counters().tallied());
    });
}

/// Collects the lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn have(&self, words: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(words))
    }
}

impl slog::Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        self.0.lock().unwrap().push(record.msg().to_string());
        Ok(())
    }
}

/// An actor that observes.
struct Listens;

impl actix::Actor for Listens {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Observed> for Listens {
    type Result = ();

    fn handle(&mut self, _: Observed, _: &mut Self::Context) {}
}

#[test]
fn facts_that_an_observer_lost_are_logged() {
    let lost_by = |actor: fn() -> actix::Addr<Listens>| {
        let lines = Lines::default();
        actix::System::new().block_on(async {
            let builder =
                Stagecoach::builder().store(Memory::default()).listen("127.0.0.1:0".parse().unwrap());
            let log = Logger::root(lines.clone(), o!());
            let mut server =
                builder.observer(ActorObserver::new(actor().recipient())).log(log).start().unwrap();
            server.stop().await;
        });
        let lines = lines.0.lock().unwrap();
        lines.iter().filter(|line| line.contains("did not hear all facts")).count()
    };
    assert_eq!(lost_by(|| actix::Actor::start(Listens)), 0);
    // The actor is gone before the server starts.
    assert_eq!(lost_by(|| actix::Context::new().address()), 1);
}

/// An actor that handles one fact forever.
struct Stuck;

impl actix::Actor for Stuck {
    type Context = actix::Context<Self>;
}

impl actix::Supervised for Stuck {}

impl actix::Handler<Observed> for Stuck {
    type Result = actix::AtomicResponse<Self, ()>;

    fn handle(&mut self, observed: Observed, _: &mut Self::Context) -> Self::Result {
        let hearing = async move {
            pending::<()>().await;
            drop(observed);
        };
        actix::AtomicResponse::new(Box::pin(actix::fut::wrap_future(hearing)))
    }
}

/// The second that passes before an actor is named can't be skipped: the actor lives on an arbiter
/// of its own, with a real clock.
#[test]
fn a_slow_actor_is_named_and_stop_now_ends_the_wait() {
    const LONG: Duration = Duration::from_secs(600);
    let lines = Lines::default();
    actix::System::new().block_on(async {
        let builder = Stagecoach::builder().store(Memory::default()).listen("127.0.0.1:0".parse().unwrap());
        let mut builder = builder.log(Logger::root(lines.clone(), o!()));
        let audit = builder.start_child(ChildSpec::permanent("audit", |_| Stuck).stop_within(LONG));
        let mut server = builder.observer(ActorObserver::new(audit.recipient())).start().unwrap();
        let group = server.supervisor().start_supervisor("group");
        group.start_child(ChildSpec::permanent("inventory", |_| Stuck).stop_within(LONG));
        let (handle, mut stages) = (server.handle(), server.stage.subscribe());
        let seen = lines.clone();
        let steering = actix::spawn(async move {
            handle.stop();
            let stopping = stages.wait_for(|stage| matches!(stage, Stage::Stopping { .. })).await.unwrap();
            let Stage::Stopping { extensions_within } = stopping.clone() else { unreachable!() };
            drop(stopping);
            while !seen.have("waiting for the audit to stop") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            handle.stop_now();
            extensions_within
        });
        timeout(LONG / 2, server.serve(|| Ok(()))).await.expect("nobody is waited for").unwrap();
        // The registry and the listeners use the server's own time.
        assert_eq!(steering.await.unwrap(), 2 * (LONG + limits::TERMINATED_WITHIN));
        let lost = server.lost_facts();
        assert!(lost > 0);
        assert_eq!(server.service.losers(), format!("audit: {lost}"));
    });
    assert!(!lines.have("waiting for the group to stop"));
}

#[test]
fn stop_now_terminates_added_actors() {
    actix::System::new().block_on(async {
        let mut builder = Stagecoach::builder().store(Memory::default());
        let spec = ChildSpec::permanent("audit", |_| Stuck).stop_within(limits::STOP_WITHIN_MAX);
        let audit = builder.start_child(spec);
        let builder =
            builder.listen("127.0.0.1:0".parse().unwrap()).observer(ActorObserver::new(audit.recipient()));
        let mut server = builder.start().unwrap();
        server.handle().stop_now();
        let ended = timeout(Duration::from_secs(60), server.serve(|| Ok(()))).await;
        ended.expect("nobody is waited for").unwrap();
    });
}
