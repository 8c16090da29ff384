//! Observers that are actors: the facts that they receive, and the server when an observer is slow,
//! has stopped or panics.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use common::extended::Extended;
use common::raw::{ack, error, rrq};
use stagecoach::extend::{ActorObserver, Observed};
use stagecoach::internals::limits::EXTENSION_CALL_WITHIN;
use stagecoach::observe::{Fact, Observer};
use stagecoach::store::Name;
use stagecoach::supervision::ChildSpec;

/// Records the names of transfers. Panics over one name, and waits long over another.
#[derive(Clone, Default)]
struct RecordingObserver(Arc<Mutex<Vec<String>>>);

impl Actor for RecordingObserver {
    type Context = Context<Self>;
}

impl Supervised for RecordingObserver {}

impl Handler<Observed> for RecordingObserver {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Observed { fact, .. }: Observed, _: &mut Self::Context) -> Self::Result {
        let mut wait = Duration::ZERO;
        if let Fact::Finished(report) = &*fact {
            assert!(report.name != "bad", "the secret of the audit");
            self.0.lock().unwrap().push(report.name.clone());
            if report.name == "slow" {
                wait = Duration::from_secs(3600);
            }
        }
        AtomicResponse::new(Box::pin(tokio::time::sleep(wait).into_actor(self).map(|(), _, _| ())))
    }
}

fn wait_for(received: &RecordingObserver, names: &[&str]) {
    let until = Instant::now() + Duration::from_secs(10);
    while *received.0.lock().unwrap() != names {
        assert!(Instant::now() < until, "{:?}", received.0.lock().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_observer_gets_facts_in_order_and_after_a_panic() {
    let audit = RecordingObserver::default();
    let received = audit.clone();
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(ChildSpec::permanent("audit", |_| audit));
        builder.observer(ActorObserver::new(actor.recipient()))
    });
    served.still_serves();
    wait_for(&received, &["file"]);
    served.refusal("bad", 1);
    let until = Instant::now() + Duration::from_secs(10);
    while served.settle().crashed.is_empty() {
        assert!(Instant::now() < until, "it never panicked");
    }
    served.still_serves();
    // A refusal comes from another thread than the end of a transfer.
    wait_for(&received, &["file", "file"]);
    served.refusal("missing", 1);
    wait_for(&received, &["file", "file", "missing"]);
    assert_eq!(served.settle().crashed, ["audit of 0: the secret of the audit"]);
}

#[test]
fn a_slow_or_stopped_observer_loses_counted_facts() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let spec = ChildSpec::permanent("audit", |_| RecordingObserver::default()).mailbox(8).leaving_mail();
        let slow = Arc::new(ActorObserver::new(builder.start_child(spec).recipient()));
        let stopped = Arc::new(ActorObserver::new(Context::<RecordingObserver>::new().address().recipient()));
        sender.send((Arc::clone(&slow), Arc::clone(&stopped))).unwrap();
        builder.observer(slow).observer(stopped)
    });
    let (slow, stopped) = receiver.recv().unwrap();
    served.refusal("slow", 1);
    for _ in 0..200 {
        served.still_serves();
    }
    served.settle();
    // The observer has received a few facts, and a few more wait in its mailbox.
    assert!((150..=201).contains(&slow.lost()), "{} lost", slow.lost());
    assert!(stopped.lost() >= 201, "{} lost", stopped.lost());
}

/// Blocks the thread, or waits, at the first fact.
enum Delay {
    Waits(Duration),
    Blocks(Mutex<std::sync::mpsc::Receiver<()>>),
}

struct SlowObserver {
    slow: Delay,
    received: Arc<Mutex<usize>>,
}

impl Actor for SlowObserver {
    type Context = Context<Self>;
}

impl Supervised for SlowObserver {}

impl Handler<Observed> for SlowObserver {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Observed, _: &mut Self::Context) -> Self::Result {
        *self.received.lock().unwrap() += 1;
        let wait = match &self.slow {
            Delay::Waits(wait) => *wait,
            Delay::Blocks(released) => {
                let _ = released.lock().unwrap().recv();
                Duration::ZERO
            }
        };
        AtomicResponse::new(Box::pin(tokio::time::sleep(wait).into_actor(self).map(|(), _, _| ())))
    }
}

/// Runs a server that sends many facts to a slow observer, and ends the server. Returns the number
/// of facts, of received facts and of lost facts.
fn run_with_slow_observer(slow: Delay, stop_within: Duration) -> (usize, usize, u64) {
    let (received, sent) = (Arc::<Mutex<usize>>::default(), Arc::<Mutex<usize>>::default());
    let (received_by_actor, sent_by_server) = (Arc::clone(&received), Arc::clone(&sent));
    let (sender, receiver) = std::sync::mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let spec = ChildSpec::permanent("late", |_| SlowObserver { slow, received: received_by_actor });
        let actor = builder.start_child(spec.mailbox(1000).stop_within(stop_within));
        let actor = Arc::new(ActorObserver::new(actor.recipient()));
        sender.send(Arc::clone(&actor)).unwrap();
        builder.observer(actor).observer(move |_: &Fact<'_>| *sent_by_server.lock().unwrap() += 1)
    });
    for _ in 0..100 {
        served.still_serves();
    }
    served.settle();
    drop(served);
    let (received, sent) = (*received.lock().unwrap(), *sent.lock().unwrap());
    (sent, received, receiver.recv().unwrap().lost())
}

#[test]
fn a_late_observer_gets_all_facts_at_the_end() {
    let slow = Delay::Waits(Duration::from_millis(10));
    let (sent, received, lost) = run_with_slow_observer(slow, Duration::from_secs(30));
    assert!(sent >= 100);
    assert_eq!((received, lost), (sent, 0));
}

#[test]
fn facts_undelivered_at_the_deadline_count_as_lost() {
    let slow = Delay::Waits(Duration::from_secs(3600));
    let (sent, received, lost) = run_with_slow_observer(slow, Duration::from_millis(200));
    assert_eq!((received, lost), (1, sent as u64 - 1));
}

#[test]
fn facts_for_a_blocked_observer_count_as_lost() {
    let (release, released) = std::sync::mpsc::channel();
    let slow = Delay::Blocks(Mutex::new(released));
    let (sent, received, lost) = run_with_slow_observer(slow, Duration::from_millis(200));
    drop(release);
    // The actor has not finished with the first fact either.
    assert_eq!((received, lost), (1, sent as u64));
}

/// Begins a report with each fact, and takes the next fact before the report is finished.
struct OwningObserver;

impl Actor for OwningObserver {
    type Context = Context<Self>;
}

impl Supervised for OwningObserver {}

impl Handler<Observed> for OwningObserver {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, observed: Observed, _: &mut Self::Context) -> Self::Result {
        let reporting = async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            drop(observed);
        };
        Box::pin(reporting.into_actor(self))
    }
}

#[test]
fn an_owned_fact_unfinished_at_the_end_counts_as_lost() {
    let sent = Arc::<Mutex<u64>>::default();
    let sent_by_server = Arc::clone(&sent);
    let (sender, receiver) = std::sync::mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let actor = builder.start_child(ChildSpec::permanent("hasty", |_| OwningObserver).mailbox(1000));
        let actor = Arc::new(ActorObserver::new(actor.recipient()));
        sender.send(Arc::clone(&actor)).unwrap();
        builder.observer(actor).observer(move |_: &Fact<'_>| *sent_by_server.lock().unwrap() += 1)
    });
    for _ in 0..10 {
        served.still_serves();
    }
    served.settle();
    drop(served);
    assert!(*sent.lock().unwrap() >= 10);
    assert_eq!(receiver.recv().unwrap().lost(), *sent.lock().unwrap());
}

#[test]
fn a_closure_that_panics_loses_only_that_fact() {
    #[derive(Debug)]
    struct PanickingObserver;

    impl Observer for PanickingObserver {
        fn observe(&self, fact: &Fact<'_>) {
            assert!(!matches!(fact, Fact::Finished(_)), "the secret of the observer");
        }
    }

    let served = Extended::start(|builder| builder.observer(PanickingObserver));
    served.still_serves();
    served.still_serves();
    let facts = served.settle();
    assert_eq!(facts.crashed, ["observer of 0: the secret of the observer"; 2]);
    assert_eq!(facts.finished.len(), 2);
}

#[test]
fn an_observer_closure_that_blocks_is_reported() {
    #[derive(Debug)]
    struct BlockingObserver;

    impl Observer for BlockingObserver {
        fn observe(&self, fact: &Fact<'_>) {
            if matches!(fact, Fact::Finished(_)) {
                std::thread::sleep(EXTENSION_CALL_WITHIN * 2);
            }
        }
    }

    let served = Extended::start(|builder| builder.observer(BlockingObserver));
    served.still_serves();
    let until = Instant::now() + Duration::from_secs(10);
    while served.settle().misbehaved.is_empty() {
        assert!(Instant::now() < until, "no fact reports the block");
    }
    let misbehaved = served.settle().misbehaved;
    assert!(misbehaved[0].starts_with("observer: it kept a thread that serves for "), "{misbehaved:?}");
}

#[test]
fn a_closure_can_observe() {
    let received = Arc::<Mutex<Vec<String>>>::default();
    let received_by_actor = Arc::clone(&received);
    let served = Extended::start(|builder| {
        builder.observer(move |fact: &Fact<'_>| {
            if let Fact::Finished(report) = fact {
                received_by_actor.lock().unwrap().push(report.name.clone());
            }
        })
    });
    served.still_serves();
    served.settle();
    assert_eq!(*received.lock().unwrap(), ["file"]);
}

#[test]
fn an_observer_can_report_after_the_server_ended() {
    #[derive(Debug, Default)]
    struct Batch {
        kept: Mutex<usize>,
        said: Arc<Mutex<Vec<usize>>>,
    }

    impl Observer for Batch {
        fn observe(&self, fact: &Fact<'_>) {
            *self.kept.lock().unwrap() += usize::from(matches!(fact, Fact::Finished(_)));
        }

        fn flush(&self) {
            self.said.lock().unwrap().push(*self.kept.lock().unwrap());
        }
    }

    let batch = Batch::default();
    let said = Arc::clone(&batch.said);
    let served = Extended::start(|builder| builder.observer(batch));
    served.still_serves();
    served.still_serves();
    assert!(said.lock().unwrap().is_empty());
    drop(served);
    assert_eq!(*said.lock().unwrap(), [2]);
}

#[test]
fn the_registry_shows_round_trip_and_window() {
    let served = Extended::start(|builder| builder);
    served.store.insert(Name::from_request(b"long").unwrap(), vec![7; 4096]);
    let mut client = served.client();
    client.send(&rrq("long", "octet", &[("windowsize", "2"), ("timeout", "10")]));
    client.expect_oack();
    let first = served.registry().live;
    assert_eq!((first[0].windowsize, first[0].round_trip), (Some(2), None));
    // A session publishes its progress again after a while.
    std::thread::sleep(Duration::from_millis(300));
    client.send(&ack(0));
    client.expect_data(1);
    client.expect_data(2);
    client.send(&ack(2));
    client.expect_data(3);
    let [transfer] = &*served.registry().live else { panic!("one transfer") };
    assert!(transfer.round_trip.is_some_and(|time| time >= Duration::from_millis(300)), "{transfer:?}");
    client.send(&error(0, "enough"));
}
