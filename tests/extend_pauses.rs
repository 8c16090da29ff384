//! Actors that panic over questions of some clients, and the effect of their restart pauses on
//! other clients.

mod common;

use std::time::{Duration, Instant};

use actix::prelude::*;
use common::extended::{Extended, FILE};
use common::faulty_actors::unresponsive_actor;
use common::raw::{Packet, ack, data, rrq, wrq};
use stagecoach::error::{Failure, Fault};
use stagecoach::extend::{
    ActorStore, AppendSlab, Ask, CloseFile, CreateFile, CreatedFile, FetchSlab, Negotiate, NegotiatorStep,
    OpenFile, OpenedFile, Otherwise, PublishFile, RouteStep, Routing,
};
use stagecoach::observe::Outcome;
use stagecoach::store::{Name, Slab};
use stagecoach::supervision::{ChildSpec, RestartLimit};

/// More than a slab, so that a transfer asks again later.
static CONTENT: [u8; 2_000_000] = [7; 2_000_000];

/// Panics over names and octets that begin with `bad`, and over the option `bad`.
struct PanickingActor;

impl Actor for PanickingActor {
    type Context = Context<Self>;
}

impl Supervised for PanickingActor {}

impl Handler<Ask> for PanickingActor {
    type Result = Routing;

    fn handle(&mut self, Ask(asked): Ask, _: &mut Self::Context) -> Routing {
        assert!(!asked.name().starts_with("bad"), "the secret of the route");
        Routing::Pass
    }
}

impl Handler<Negotiate> for PanickingActor {
    type Result = MessageResult<Negotiate>;

    fn handle(&mut self, Negotiate { asked, .. }: Negotiate, _: &mut Self::Context) -> Self::Result {
        assert!(asked.option("bad").is_none(), "the secret of the negotiator");
        MessageResult(Vec::new())
    }
}

impl Handler<OpenFile> for PanickingActor {
    type Result = Result<OpenedFile, Fault>;

    fn handle(&mut self, OpenFile { name, .. }: OpenFile, _: &mut Self::Context) -> Self::Result {
        assert!(!name.to_string().starts_with("bad"), "the secret of the store");
        Ok(OpenedFile::new(Some(CONTENT.len() as u64), "fragile"))
    }
}

impl Handler<FetchSlab> for PanickingActor {
    type Result = Result<Slab, Fault>;

    fn handle(&mut self, FetchSlab { offset, length, .. }: FetchSlab, _: &mut Self::Context) -> Self::Result {
        let start = CONTENT.len().min(offset as usize);
        let stop = CONTENT.len().min(start + length);
        Ok(Slab::new(&CONTENT[start..stop], stop == CONTENT.len()))
    }
}

impl Handler<CreateFile> for PanickingActor {
    type Result = Result<CreatedFile, Fault>;

    fn handle(&mut self, _: CreateFile, _: &mut Self::Context) -> Self::Result {
        Ok(CreatedFile::new("fragile"))
    }
}

impl Handler<AppendSlab> for PanickingActor {
    type Result = Result<(), Fault>;

    fn handle(&mut self, AppendSlab { octets, .. }: AppendSlab, _: &mut Self::Context) -> Self::Result {
        assert!(!octets.starts_with(b"bad"), "the secret of the store");
        Ok(())
    }
}

impl Handler<PublishFile> for PanickingActor {
    type Result = Result<(), Fault>;

    fn handle(&mut self, _: PublishFile, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<CloseFile> for PanickingActor {
    type Result = ();

    fn handle(&mut self, _: CloseFile, _: &mut Self::Context) {}
}

/// An actor that pauses for this long after a panic.
fn panicking_actor(pause: Duration) -> ChildSpec<PanickingActor> {
    let limit = RestartLimit::endless().pausing(pause, pause);
    ChildSpec::permanent("fragile", |_| PanickingActor).limit(limit)
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_question_to_a_restarting_actor_fails_at_once() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG)).recipient();
        builder.route(RouteStep::asking(actor).within(LONG).or(Otherwise::Pass))
    });
    served.still_serves();
    assert_eq!(served.refusal("bad", 1), "File not found");
    let began = Instant::now();
    served.still_serves();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let misbehaved = served.settle().misbehaved;
    assert_eq!(
        misbehaved,
        ["route: it panicked, or has stopped", "route: it panicked, and has not started again"]
    );
}

#[test]
fn a_restarting_route_leaves_its_reads_unanswered() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG)).recipient();
        builder.route(RouteStep::asking(actor).within(LONG))
    });
    served.leaves_unanswered("bad");
    served.leaves_unanswered("file");
}

#[test]
fn a_queued_question_fails_at_once_after_a_panic() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG).with_supervisor()).recipient();
        builder.route(RouteStep::asking(actor).within(LONG).or(Otherwise::Pass))
    });
    let bad: Vec<_> = (0..5).map(|_| served.client()).collect();
    let mut readers: Vec<_> = (0..5).map(|_| served.client()).collect();
    for (bad, reader) in bad.iter().zip(&readers) {
        bad.send(&rrq("bad", "octet", &[]));
        reader.send(&rrq("file", "octet", &[]));
    }
    for reader in &mut readers {
        assert_eq!(reader.expect_data(1), FILE);
    }
}

#[test]
fn a_restarting_negotiator_delays_no_client() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG)).recipient();
        builder.negotiator(NegotiatorStep::asking(actor).within(LONG))
    });
    for option in ["bad", "good", "good"] {
        let mut client = served.client();
        client.send(&rrq("file", "octet", &[(option, "1")]));
        assert_eq!(client.expect_data(1), FILE);
    }
}

/// Thirty clients make an actor panic while thirty others read, some before the first panic and
/// some in the pauses after it. Returns the longest wait of a reader.
fn thirty_panicking_and_thirty_reading(served: &Extended) -> Duration {
    let bad: Vec<_> = (0..30).map(|_| served.client()).collect();
    let mut readers: Vec<_> = (0..30).map(|_| served.client()).collect();
    let began = Instant::now();
    for (number, (bad, reader)) in bad.iter().zip(&readers).enumerate() {
        let name = format!("bad-{number}");
        served.store.insert(Name::from_request(name.as_bytes()).unwrap(), FILE);
        bad.send(&rrq(&name, "octet", &[("bad", "1")]));
        reader.send(&rrq("file", "octet", &[("good", "1")]));
    }
    for reader in &mut readers {
        assert_eq!(reader.expect_data(1), FILE);
        reader.send(&ack(1));
    }
    began.elapsed()
}

#[test]
fn a_restarting_filtered_route_harms_no_other_read() {
    for by in 0..3 {
        let served = Extended::start(move |mut builder| {
            let actor = builder.start_child(panicking_actor(LONG)).recipient();
            let step = RouteStep::asking(actor).within(LONG);
            builder.route(match by {
                0 => step.only(|asked| asked.name_bytes().starts_with(b"bad")),
                1 => step.only_below("bad-").only_named(["unheard of"]),
                _ => step.only_named((0..30).map(|number| format!("bad-{number}"))),
            })
        });
        let waited = thirty_panicking_and_thirty_reading(&served);
        assert!(waited < Duration::from_secs(3), "{waited:?}");
        assert!(!served.settle().crashed.is_empty(), "it was asked about its own");
    }
}

#[test]
fn a_route_skipped_on_failure_harms_no_read() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG)).recipient();
        builder.route(RouteStep::asking(actor).within(LONG).or(Otherwise::Pass))
    });
    let waited = thirty_panicking_and_thirty_reading(&served);
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

#[test]
fn a_restarting_negotiator_harms_no_other_option() {
    let served = Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG)).recipient();
        builder.negotiator(NegotiatorStep::asking(actor).within(LONG).for_option("BAD"))
    });
    let waited = thirty_panicking_and_thirty_reading(&served);
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    let facts = served.settle();
    assert_eq!(facts.crashed, ["fragile of 0: the secret of the negotiator"]);
}

#[test]
fn a_hung_negotiator_delays_only_its_option() {
    let served = Extended::start(|builder| {
        let stuck = NegotiatorStep::asking(unresponsive_actor()).within(LONG);
        builder.negotiator(stuck.for_option("slow").for_option("slower"))
    });
    let waiting = [served.client(), served.client()];
    waiting[0].send(&rrq("file", "octet", &[("slow", "1")]));
    waiting[1].send(&rrq("file", "octet", &[("slower", "1")]));
    let mut other = served.client();
    other.send(&rrq("file", "octet", &[("blksize", "1428")]));
    other.expect_oack();
    for client in &waiting {
        client.expect_silence(Duration::from_millis(10));
    }
}

#[test]
fn a_route_filter_may_panic() {
    let served = Extended::start(|builder| {
        let step = RouteStep::from_fn(|_| Routing::octets("made"));
        builder.route(step.only(|asked| {
            assert!(asked.name() != "bad", "the secret of the route");
            asked.name() == "made"
        }))
    });
    served.leaves_unanswered("bad");
    assert_eq!(served.read("made"), b"made");
    served.still_serves();
}

/// A server with a store actor whose pause after a panic never ends.
fn served_by_panicking_store() -> Extended {
    Extended::start(|mut builder| {
        let actor = builder.start_child(panicking_actor(LONG));
        builder.store(ActorStore::new(&actor))
    })
}

#[test]
fn a_restarting_store_delays_no_client() {
    let served = served_by_panicking_store();
    let mut reading = served.client();
    reading.send(&rrq("read-before", "octet", &[("blksize", "32768")]));
    reading.expect_oack();
    reading.send(&ack(0));
    reading.expect_data(1);
    let mut writing = served.client();
    writing.send(&wrq("new", "octet", &[]));
    writing.expect_ack(0);
    served.leaves_unanswered("bad");
    served.leaves_unanswered("file");
    writing.send(&data(1, b"short"));
    assert_eq!(writing.expect_error(0), "Internal error");
    let mut late = served.client();
    late.send(&wrq("newer", "octet", &[]));
    assert_eq!(late.expect_error(0), "Internal error");
    // The reader may have fetched some slabs before.
    while let Packet::Data { block, .. } = reading.next() {
        reading.send(&ack(block));
    }
    let facts = served.settle();
    let outcome = |name| facts.finished.iter().find(|it| it.name == name).map(|it| it.outcome.clone());
    assert_eq!(outcome("read-before"), Some(Outcome::Failed(Failure::Internal)));
    let why = facts.finished.iter().find(|report| report.name == "newer").and_then(|it| it.detail.clone());
    let why = why.expect("the reason");
    assert_eq!(&*why, "the store's actor did not answer: it panicked, and has not started again");
}
