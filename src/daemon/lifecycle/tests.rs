use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::thread;

use actix::AsyncContext;

use super::*;
use crate::actors::Workers;
use crate::daemon::Stagecoach;
use crate::extend::Observed;
use crate::settings::Settings;
use crate::store::Memory;
use crate::supervision::ChildSpec;

fn settings(root: &std::path::Path) -> Settings {
    let mut settings = Settings { root: root.to_owned(), arbiters: 2, ..Settings::default() };
    settings.listen.hosts = vec!["127.0.0.1:0".parse().unwrap()];
    settings
}

/// A server of an empty directory, and what `life` makes of it.
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
        server.serve(&|| Ok(())).await.unwrap();
        steering.join().unwrap();
        handle.ended().await.unwrap();
        // Who comes late does no harm.
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
        let calls = Cell::new(0);
        let reopen = || {
            calls.set(calls.get() + 1);
            if calls.get() == 2 {
                handle.stop();
            }
            Err(io::Error::other("no such directory"))
        };
        handle.reload();
        handle.reload();
        server.serve(&reopen).await.unwrap();
        assert_eq!(calls.get(), 2);
    });
}

/// Ends the arbiters of a server whenever it has any, until it gives up.
async fn harass(workers: Arc<Workers>) {
    loop {
        workers.stop_all();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_part_that_cannot_be_kept_alive_ends_the_server_and_its_handle_with_an_error() {
    with_server(async |mut server| {
        let handle = server.handle();
        let harassed = actix::spawn(harass(Arc::clone(&server.workers)));
        let error = server.serve(&|| Ok(())).await.unwrap_err();
        assert!(
            matches!(&error, RunError::Escalated(why) if why.contains("arbiters fail too often")),
            "{error}"
        );
        assert_eq!(handle.ended().await.unwrap_err().to_string(), error.to_string());
        harassed.abort();
    });
}

#[test]
fn a_part_that_dies_while_the_server_drains_is_told_from_a_normal_end() {
    with_server(async |mut server| {
        server.drain(Duration::from_secs(600), None).await;
        let harassed = actix::spawn(harass(Arc::clone(&server.workers)));
        let failure = server.failed().await;
        assert!(failure.contains("arbiters fail too often"), "{failure}");
        harassed.abort();
        server.stop().await;
    });
}

#[test]
fn a_server_that_is_dropped_does_not_leave_those_waiting_who_hold_its_handle() {
    with_server(async |server| {
        let handle = server.handle();
        drop(server);
        handle.ended().await.unwrap_err();
    });
}

#[test]
fn of_several_deadlines_the_first_to_come_counts() {
    with_server(async |mut server| {
        let long = server.drain(Duration::from_secs(600), None).await;
        let short = server.drain(Duration::from_secs(5), Some(long)).await;
        assert!(short < long);
        assert_eq!(server.drain(Duration::from_secs(600), Some(short)).await, short);
        server.stop().await;
    });
}

/// An actor that was added, and is of no use.
struct Useless;

impl actix::Actor for Useless {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        panic!("of no use");
    }
}

impl actix::Supervised for Useless {}

#[test]
fn an_added_actor_that_cannot_be_kept_alive_ends_the_server_and_one_that_may_die_does_not() {
    with_server(async |mut server| {
        server.supervisor().start_child(ChildSpec::temporary("guest", |_| Useless));
        server.supervisor().start_child(ChildSpec::permanent("resident", |_| Useless));
        let error = server.serve(&|| Ok(())).await.unwrap_err();
        let why = "gave up after repeated failures: the resident panicked: of no use";
        assert_eq!(error.to_string(), why);
        assert!(server.counters().tallied().crashed >= 7, "{:?}", server.counters().tallied());
    });
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl slog::Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        self.0.lock().unwrap().push(record.msg().to_string());
        Ok(())
    }
}

/// An actor that is told what happens.
struct Listens;

impl actix::Actor for Listens {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Observed> for Listens {
    type Result = ();

    fn handle(&mut self, _: Observed, _: &mut Self::Context) {}
}

#[test]
fn facts_for_which_an_observer_has_no_room_are_told_to_the_operator() {
    let lost_by = |actor: fn() -> actix::Addr<Listens>| {
        let lines = Lines::default();
        actix::System::new().block_on(async {
            let builder =
                Stagecoach::builder().store(Memory::default()).listen("127.0.0.1:0".parse().unwrap());
            let log = Logger::root(lines.clone(), o!());
            let mut server = builder.tell(actor().recipient()).log(log).start().unwrap();
            server.stop().await;
        });
        let lines = lines.0.lock().unwrap();
        lines.iter().filter(|line| line.contains("had no room for facts")).count()
    };
    assert_eq!(lost_by(|| actix::Actor::start(Listens)), 0);
    // (It is gone before it begins.)
    assert_eq!(lost_by(|| actix::Context::new().address()), 1);
}
