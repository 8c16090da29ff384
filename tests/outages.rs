//! A disk or another store that can't say whether a file exists. No reader may get the impression
//! that the file does not exist, as PXELINUX takes from every ERROR.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::extended::Extended;
use common::raw::{ack, rrq, wrq};
use common::served::{GOOD, Served, read_from};
use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use stagecoach::error::{Failure, Fault};
use stagecoach::extend::{Asked, Routing};
use stagecoach::observe::{Counters, Outcome};
use stagecoach::settings::{OnOutage, Settings};
use stagecoach::store::{Later, Name, Sink, Slab, Source, Store};
use stagecoach::wire::ErrorCode;

const OCTETS: usize = 1000;

/// The call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    OpenCached,
    Open,
    Size,
    FetchCached,
    Fetch,
    Create,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlannedFailure {
    Fails(Failure),
    Panics,
}

const OUTAGES: [PlannedFailure; 5] = [
    PlannedFailure::Fails(Failure::Io),
    PlannedFailure::Fails(Failure::Busy),
    PlannedFailure::Fails(Failure::Changed),
    PlannedFailure::Fails(Failure::Internal),
    PlannedFailure::Panics,
];

/// A store and source with the same file under every name, and one planned failure.
#[derive(Debug, Clone, Default)]
struct FailingStore(Arc<Mutex<Option<(Step, PlannedFailure)>>>);

impl FailingStore {
    fn set(&self, planned: Option<(Step, PlannedFailure)>) {
        *self.0.lock().unwrap() = planned;
    }

    fn step(&self, step: Step) -> Result<(), Fault> {
        let planned = self.0.lock().unwrap().filter(|(at, _)| *at == step);
        match planned {
            Some((_, PlannedFailure::Fails(failure))) => Err(Fault::new(failure, "disk on fire")),
            Some((_, PlannedFailure::Panics)) => panic!("the secret of the store"),
            None => Ok(()),
        }
    }
}

impl Store for FailingStore {
    fn open(&self, _: &Name) -> Result<Arc<dyn Source>, Fault> {
        self.step(Step::Open)?;
        Ok(Arc::new(self.clone()))
    }

    fn open_cached(&self, _: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        self.step(Step::OpenCached).err().map(Err)
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        self.step(Step::Create)?;
        Err(Failure::Exists.into())
    }
}

impl Source for FailingStore {
    fn size(&self) -> Option<u64> {
        // `size` has no way to fail but a panic.
        self.step(Step::Size).map_or(None, |()| Some(OCTETS as u64))
    }

    fn path(&self) -> &str {
        "fickle"
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.step(Step::Fetch)?;
        let until = OCTETS.min(offset as usize + length);
        Ok(Slab::new(vec![7; until - offset as usize], until == OCTETS))
    }

    fn fetch_cached(&self, _: u64, _: usize) -> Result<Option<Slab>, Fault> {
        self.step(Step::FetchCached)?;
        Ok(None)
    }
}

/// A server with such a store, and the server's counters.
fn served_with_failing_store(on_outage: OnOutage) -> (Extended, FailingStore, Arc<Counters>) {
    let (store, counters) = (FailingStore::default(), Arc::<Counters>::default());
    let (served, counted) = (store.clone(), Arc::clone(&counters));
    let extended = Extended::start(move |builder| {
        let mut settings = Settings::default();
        settings.on_outage = on_outage;
        builder.settings(settings).store(served).observer(counted)
    });
    (extended, store, counters)
}

#[test]
fn an_outage_leaves_a_read_unanswered() {
    let (served, store, counters) = served_with_failing_store(OnOutage::Silence);
    let mut outages = 0;
    for step in [Step::OpenCached, Step::Open, Step::FetchCached, Step::Fetch] {
        for planned in OUTAGES {
            store.set(Some((step, planned)));
            let mut client = served.client();
            let request = rrq("pxelinux.cfg/01-52-54-00", "octet", &[]);
            // Each repeated request tries again: the server does not take it for a repeat in a
            // transfer that is over.
            for _ in 0..3 {
                let outcome = served.unanswered(&client, &request);
                assert!(matches!(outcome, Outcome::Outage(_)), "{step:?} {planned:?}: {outcome:?}");
                outages += 1;
            }
            store.set(None);
            client.send(&request);
            assert_eq!(client.expect_data(1), [7; 512], "{step:?} {planned:?}");
            client.send(&ack(1));
            client.expect_data(2);
            client.send(&ack(2));
            served.settle();
        }
    }
    let counts = counters.tallied();
    assert_eq!((counts.outages, counts.failed, counts.complete), (outages, outages, 20));
}

#[test]
fn a_panic_over_a_size_is_not_error_1() {
    let (served, store, _) = served_with_failing_store(OnOutage::Silence);
    let client = served.client();
    store.set(Some((Step::Size, PlannedFailure::Panics)));
    // The session panics, and so do three replacements. Then the supervisor ends the transfer.
    let outcome = served.unanswered(&client, &rrq("any", "octet", &[]));
    assert_eq!(outcome, Outcome::Outage(Failure::Internal));
    assert_eq!(served.settle().resumed.len(), 3);
}

#[test]
fn a_refusal_of_a_store_is_not_an_outage() {
    let (served, store, counters) = served_with_failing_store(OnOutage::Silence);
    let answers = [
        (Failure::NotFound, 1),
        (Failure::Forbidden, 2),
        (Failure::NotRegular, 2),
        (Failure::Refused(ErrorCode::NOT_DEFINED), 0),
    ];
    for step in [Step::OpenCached, Step::Open, Step::Fetch] {
        for (failure, code) in answers {
            store.set(Some((step, PlannedFailure::Fails(failure))));
            served.refusal("any", code);
        }
    }
    served.settle();
    assert_eq!(counters.tallied().outages, 0);
}

#[test]
fn an_upload_is_told_of_an_outage() {
    let (served, store, counters) = served_with_failing_store(OnOutage::Silence);
    for planned in OUTAGES {
        store.set(Some((Step::Create, planned)));
        let mut client = served.client();
        client.send(&wrq("any", "octet", &[]));
        client.expect_error(0);
    }
    served.settle();
    assert_eq!(counters.tallied().outages, 0);
}

#[test]
fn an_outage_after_the_first_answer_is_told() {
    let (served, store, counters) = served_with_failing_store(OnOutage::Silence);
    for planned in OUTAGES {
        store.set(Some((Step::Fetch, planned)));
        let mut client = served.client();
        client.send(&rrq("any", "octet", &[("tsize", "0"), ("timeout", "10")]));
        client.expect_oack();
        client.send(&ack(0));
        client.expect_error(0);
    }
    served.settle();
    assert_eq!(counters.tallied().outages, 0);
}

#[test]
fn with_on_outage_error_a_read_is_told_too() {
    let (served, store, counters) = served_with_failing_store(OnOutage::Error);
    for step in [Step::OpenCached, Step::Open, Step::Fetch] {
        for planned in OUTAGES {
            store.set(Some((step, planned)));
            served.refusal("any", 0);
        }
    }
    served.settle();
    assert_eq!(counters.tallied().outages, 0);
}

#[test]
fn a_panic_in_a_route_is_not_error_1() {
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let served = Extended::start(move |builder| {
        builder.route(move |_: &Asked<'_>| {
            assert!(counted.fetch_add(1, Ordering::Relaxed) >= 2, "the secret of the route");
            Routing::Pass
        })
    });
    let mut client = served.client();
    let request = rrq("file", "octet", &[]);
    for _ in 0..2 {
        assert_eq!(served.unanswered(&client, &request), Outcome::Outage(Failure::Internal));
    }
    client.send(&request);
    client.expect_data(1);
    client.send(&ack(1));
    served.settle();
}

/// A store that never answers.
#[derive(Debug)]
struct HungStore;

impl Store for HungStore {
    fn open(&self, _: &Name) -> Result<Arc<dyn Source>, Fault> {
        Err(Failure::NotFound.into())
    }

    fn open_later(&self, _: &Name) -> Option<Later<Arc<dyn Source>>> {
        Some(Box::pin(std::future::pending()))
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::ReadOnly.into())
    }
}

#[test]
fn a_stopping_server_does_not_send_error_1() {
    let served = Extended::start(|builder| builder.store(HungStore));
    let stop = || {
        let until = Instant::now() + Duration::from_secs(10);
        while served.registry().live.is_empty() {
            assert!(Instant::now() < until, "the request is not heard of");
            thread::sleep(Duration::from_millis(5));
        }
        served.handle.stop();
    };
    let outcome = served.unanswered_although(&served.client(), &rrq("any", "octet", &[]), stop);
    assert_eq!(outcome, Outcome::Outage(Failure::ShuttingDown));
}

#[test]
fn an_operator_who_cancels_a_read_has_it_refused() {
    let served = Extended::start(|builder| builder.store(HungStore));
    let mut client = served.client();
    client.send(&rrq("any", "octet", &[]));
    let until = Instant::now() + Duration::from_secs(10);
    while !served.cancel(1) {
        assert!(Instant::now() < until, "the request is not heard of");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.expect_error(0), "Transfer cancelled");
}

/// Limits the program to this many descriptors, or removes the limit.
fn limit_descriptors(served: &Served, descriptors: Option<u64>) {
    let pid = Pid::from_raw(served.daemon.pid().try_into().expect("a pid"));
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = descriptors.or(maximum);
    prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).expect("a process of our own");
}

#[test]
fn a_daemon_out_of_descriptors_is_silent_then_serves() {
    // With a single port a transfer needs no socket. There the file finds no descriptor.
    for flags in [&["-v", "--single-port"][..], &["-v"]] {
        let served = Served::new(flags);
        limit_descriptors(&served, Some(3));
        let mut client = served.client();
        for name in [GOOD, "missing"] {
            let request = rrq(name, "octet", &[]);
            for _ in 0..3 {
                client.send(&request);
            }
            // The line about the limit is for operators. The lines about requests are for `-v`.
            if flags.contains(&"--single-port") {
                let line = served.logged("read dropped", name);
                assert!(line.contains(" DEBG ") && line.contains("Server is busy"), "{line}");
            } else {
                let dropped = |line: &str| {
                    line.contains(" DEBG datagram dropped") && line.contains("the maximum of open files")
                };
                let line = served.daemon.wait_for_log(Duration::from_secs(20), dropped);
                assert!(line.is_some(), "{}", served.daemon.log());
            }
        }
        client.expect_silence(Duration::from_millis(300));
        let log = served.daemon.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("limit: RLIMIT_NOFILE,")).collect();
        assert!(matches!(&*lines, [line] if line.contains(" WARN ")), "once a minute: {log}");
        limit_descriptors(&served, None);
        client.send(&rrq(GOOD, "octet", &[]));
        assert_eq!(read_from(&mut client).len(), 1300);
        served.ask(&rrq("missing", "octet", &[])).expect_error(1);
        served.daemon.signal(Signal::SIGUSR1);
        let counters = served.daemon.wait_for_log(Duration::from_secs(10), |line| line.contains("outages: "));
        let counted = |counter: &str| -> Option<u64> {
            let (_, rest) = counters.as_deref()?.split_once(&format!("{counter}: "))?;
            rest.split(',').next()?.parse().ok()
        };
        // Two of the three requests may have arrived before the first had its answer.
        assert!((2..=6).contains(&counted("dropped").unwrap_or(0)), "{counters:?}");
        assert_eq!(counted("outages"), Some(0), "a limit is no outage: {counters:?}");
    }
}

#[test]
fn on_outage_error_reports_missing_descriptors() {
    let served = Served::new(&["--single-port", "--on-outage", "error"]);
    limit_descriptors(&served, Some(3));
    assert_eq!(served.ask(&rrq(GOOD, "octet", &[])).expect_error(0), "Server is busy");
    limit_descriptors(&served, None);
    served.still_serves();
}
