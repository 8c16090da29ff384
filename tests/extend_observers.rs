//! Observers that are actors: what they hear, and what becomes of the server if they are slow, gone or panic.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use common::extended::Extended;
use stagecoach::extend::{ActorObserver, Observed};
use stagecoach::internals::limits::EXTENSION_CALL_WITHIN;
use stagecoach::observe::{Fact, Observer, OwnedFact};
use stagecoach::supervision::ChildSpec;

/// Keeps the names of what was transferred; panics over one of them, and is blocked for long by another.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<String>>>);

impl Actor for Audit {
    type Context = Context<Self>;
}

impl Supervised for Audit {}

impl Handler<Observed> for Audit {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Observed { fact, .. }: Observed, _: &mut Self::Context) -> Self::Result {
        let mut wait = Duration::ZERO;
        if let OwnedFact::Finished(report) = &*fact {
            assert!(report.name != "bad", "the secret of the audit");
            self.0.lock().unwrap().push(report.name.clone());
            if report.name == "slow" {
                wait = Duration::from_secs(3600);
            }
        }
        AtomicResponse::new(Box::pin(tokio::time::sleep(wait).into_actor(self).map(|(), _, _| ())))
    }
}

fn wait_for(heard: &Audit, names: &[&str]) {
    let until = Instant::now() + Duration::from_secs(10);
    while *heard.0.lock().unwrap() != names {
        assert!(Instant::now() < until, "{:?}", heard.0.lock().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_observer_gets_facts_in_order_and_after_a_panic() {
    let audit = Audit::default();
    let heard = audit.clone();
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(ChildSpec::permanent("audit", |_| audit));
        builder.observer(ActorObserver::new(actor.recipient()))
    });
    served.still_serves();
    wait_for(&heard, &["file"]);
    served.refusal("bad", 1);
    let until = Instant::now() + Duration::from_secs(10);
    while served.settle().crashed.is_empty() {
        assert!(Instant::now() < until, "it never panicked");
    }
    served.still_serves();
    // (A refusal comes from another thread than a transfer's end.)
    wait_for(&heard, &["file", "file"]);
    served.refusal("missing", 1);
    wait_for(&heard, &["file", "file", "missing"]);
    assert_eq!(served.settle().crashed, ["audit of 0: the secret of the audit"]);
}

#[test]
fn a_slow_or_stopped_observer_loses_counted_facts() {
    let (tell, told) = std::sync::mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let spec = ChildSpec::permanent("audit", |_| Audit::default()).mailbox(8).leaving_mail();
        let slow = Arc::new(ActorObserver::new(builder.start_child(spec).recipient()));
        let gone = Arc::new(ActorObserver::new(Context::<Audit>::new().address().recipient()));
        tell.send((Arc::clone(&slow), Arc::clone(&gone))).unwrap();
        builder.observer(slow).observer(gone)
    });
    let (slow, gone) = told.recv().unwrap();
    served.refusal("slow", 1);
    for _ in 0..200 {
        served.still_serves();
    }
    served.settle();
    // (It has heard a few, and a few more wait in its mailbox.)
    assert!((150..=201).contains(&slow.lost()), "{} lost", slow.lost());
    assert!(gone.lost() >= 201, "{} lost", gone.lost());
}

/// Keeps the thread, or lets an hour pass, with the first fact that it hears.
enum Slow {
    Waits(Duration),
    Blocks(Mutex<std::sync::mpsc::Receiver<()>>),
}

struct Late {
    slow: Slow,
    heard: Arc<Mutex<usize>>,
}

impl Actor for Late {
    type Context = Context<Self>;
}

impl Supervised for Late {}

impl Handler<Observed> for Late {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Observed, _: &mut Self::Context) -> Self::Result {
        *self.heard.lock().unwrap() += 1;
        let wait = match &self.slow {
            Slow::Waits(wait) => *wait,
            Slow::Blocks(released) => {
                let _ = released.lock().unwrap().recv();
                Duration::ZERO
            }
        };
        AtomicResponse::new(Box::pin(tokio::time::sleep(wait).into_actor(self).map(|(), _, _| ())))
    }
}

/// A server that has told an actor of many facts and ended: the facts, those that the actor has
/// heard, those that it has lost.
fn ended_while_it_hears(slow: Slow, stop_within: Duration) -> (usize, usize, u64) {
    let (heard, told) = (Arc::<Mutex<usize>>::default(), Arc::<Mutex<usize>>::default());
    let (hears, tells) = (Arc::clone(&heard), Arc::clone(&told));
    let (tell, teller) = std::sync::mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let spec = ChildSpec::permanent("late", |_| Late { slow, heard: hears });
        let late = builder.start_child(spec.mailbox(1000).stop_within(stop_within));
        let late = Arc::new(ActorObserver::new(late.recipient()));
        tell.send(Arc::clone(&late)).unwrap();
        builder.observer(late).observer(move |_: &Fact<'_>| *tells.lock().unwrap() += 1)
    });
    for _ in 0..100 {
        served.still_serves();
    }
    served.settle();
    drop(served);
    let (heard, told) = (*heard.lock().unwrap(), *told.lock().unwrap());
    (told, heard, teller.recv().unwrap().lost())
}

#[test]
fn a_late_observer_gets_all_facts_at_the_end() {
    let slow = Slow::Waits(Duration::from_millis(10));
    let (told, heard, lost) = ended_while_it_hears(slow, Duration::from_secs(30));
    assert!(told >= 100);
    assert_eq!((heard, lost), (told, 0));
}

#[test]
fn facts_undelivered_at_the_deadline_count_as_lost() {
    let slow = Slow::Waits(Duration::from_secs(3600));
    let (told, heard, lost) = ended_while_it_hears(slow, Duration::from_millis(200));
    assert_eq!((heard, lost), (1, told as u64 - 1));
}

#[test]
fn facts_for_a_blocked_observer_count_as_lost() {
    let (release, released) = std::sync::mpsc::channel();
    let slow = Slow::Blocks(Mutex::new(released));
    let (told, heard, lost) = ended_while_it_hears(slow, Duration::from_millis(200));
    drop(release);
    // (It has not finished with the first either.)
    assert_eq!((heard, lost), (1, told as u64));
}

/// Begins a report with each fact, and takes the next one meanwhile.
struct Hasty;

impl Actor for Hasty {
    type Context = Context<Self>;
}

impl Supervised for Hasty {}

impl Handler<Observed> for Hasty {
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
    let told = Arc::<Mutex<u64>>::default();
    let tells = Arc::clone(&told);
    let (tell, teller) = std::sync::mpsc::channel();
    let served = Extended::start(move |mut builder| {
        let hasty = builder.start_child(ChildSpec::permanent("hasty", |_| Hasty).mailbox(1000));
        let hasty = Arc::new(ActorObserver::new(hasty.recipient()));
        tell.send(Arc::clone(&hasty)).unwrap();
        builder.observer(hasty).observer(move |_: &Fact<'_>| *tells.lock().unwrap() += 1)
    });
    for _ in 0..10 {
        served.still_serves();
    }
    served.settle();
    drop(served);
    assert!(*told.lock().unwrap() >= 10);
    assert_eq!(teller.recv().unwrap().lost(), *told.lock().unwrap());
}

#[test]
fn a_closure_that_panics_loses_only_that_fact() {
    #[derive(Debug)]
    struct Panics;

    impl Observer for Panics {
        fn observe(&self, fact: &Fact<'_>) {
            assert!(!matches!(fact, Fact::Finished(_)), "the secret of the observer");
        }
    }

    let served = Extended::start(|builder| builder.observer(Panics));
    served.still_serves();
    served.still_serves();
    let facts = served.settle();
    assert_eq!(facts.crashed, ["observer of 0: the secret of the observer"; 2]);
    assert_eq!(facts.finished.len(), 2);
}

#[test]
fn an_observer_closure_that_blocks_is_reported() {
    #[derive(Debug)]
    struct Dawdles;

    impl Observer for Dawdles {
        fn observe(&self, fact: &Fact<'_>) {
            if matches!(fact, Fact::Finished(_)) {
                std::thread::sleep(EXTENSION_CALL_WITHIN * 2);
            }
        }
    }

    let served = Extended::start(|builder| builder.observer(Dawdles));
    served.still_serves();
    let until = Instant::now() + Duration::from_secs(10);
    while served.settle().misbehaved.is_empty() {
        assert!(Instant::now() < until, "nobody was told");
    }
    let misbehaved = served.settle().misbehaved;
    assert!(misbehaved[0].starts_with("observer: it kept a thread that serves for "), "{misbehaved:?}");
}

#[test]
fn a_closure_can_observe() {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let hears = Arc::clone(&heard);
    let served = Extended::start(|builder| {
        builder.observer(move |fact: &Fact<'_>| {
            if let Fact::Finished(report) = fact {
                hears.lock().unwrap().push(report.name.clone());
            }
        })
    });
    served.still_serves();
    served.settle();
    assert_eq!(*heard.lock().unwrap(), ["file"]);
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
