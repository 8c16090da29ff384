//! Negotiators: which of their answers reach clients, and the transfers when a negotiator is slow,
//! wrong or panics.

mod common;

use std::time::Duration;

use actix::prelude::*;
use common::extended::{Extended, FILE};
use common::faulty_actors::{slow_actor, stopped_actor};
use common::raw::{ack, data, rrq, wrq};
use stagecoach::error::Failure;
use stagecoach::extend::{Asked, Found, Grant, Negotiate, Negotiator, NegotiatorStep, Otherwise};
use stagecoach::internals::limits::EXTENSION_CALL_WITHIN;
use stagecoach::observe::Outcome;

/// A negotiator with fixed answers.
#[derive(Debug, Clone)]
struct FixedAnswer(Vec<Grant>);

impl FixedAnswer {
    fn new(answers: &[(&str, &str)]) -> Self {
        Self(answers.iter().map(|(name, value)| Grant::new(*name, *value)).collect())
    }
}

impl Negotiator for FixedAnswer {
    fn negotiate(&self, _: &Asked<'_>, _: &Found) -> Vec<Grant> {
        self.0.clone()
    }
}

/// An actor with fixed answers and a delay.
struct SlowNegotiator(FixedAnswer, Duration);

impl Actor for SlowNegotiator {
    type Context = Context<Self>;
}

impl Supervised for SlowNegotiator {}

impl Handler<Negotiate> for SlowNegotiator {
    type Result = ResponseFuture<Vec<Grant>>;

    fn handle(&mut self, Negotiate { asked, file, .. }: Negotiate, _: &mut Self::Context) -> Self::Result {
        assert!(asked.name() != "bad", "the secret of the negotiator");
        assert_eq!(file.source.is_some(), asked.is_read());
        let (FixedAnswer(grants), time) = (self.0.clone(), self.1);
        Box::pin(async move {
            tokio::time::sleep(time).await;
            grants
        })
    }
}

fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Reads the file with these options. Returns the granted options.
fn read(served: &Extended, name: &str, asked: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut client = served.client();
    client.send(&rrq(name, "octet", asked));
    let agreed = client.expect_oack();
    client.send(&ack(0));
    let blksize = agreed.iter().find(|(name, _)| name == "blksize").map_or(512, |(_, n)| n.parse().unwrap());
    let mut octets = Vec::new();
    for block in 1.. {
        let payload = client.expect_data(block);
        client.send(&ack(block));
        octets.extend_from_slice(&payload);
        if payload.len() < blksize {
            break;
        }
    }
    assert_eq!(octets, FILE);
    agreed
}

#[test]
fn a_new_option_is_answered_beside_the_known_ones() {
    let served = Extended::start(|builder| builder.negotiator(FixedAnswer::new(&[("x-board", "7")])));
    let asked = [("tsize", "0"), ("X-Board", "?"), ("blksize", "1024")];
    let agreed = options(&[("tsize", "27"), ("blksize", "1024"), ("X-Board", "7")]);
    assert_eq!(read(&served, "file", &asked), agreed);
    // RFC 2347: the server grants only options of the request.
    assert_eq!(read(&served, "file", &[("tsize", "0")]), options(&[("tsize", "27")]));
    served.still_serves();
    let facts = served.settle();
    assert_eq!(facts.misbehaved, ["negotiator: it answered an option that nobody asked for"]);
    assert_eq!(facts.finished[0].options, "tsize=27 blksize=1024 X-Board=7");
}

#[test]
fn an_option_lowered_by_a_negotiator_holds() {
    let served = Extended::start(|builder| builder.negotiator(FixedAnswer::new(&[("blksize", "8")])));
    assert_eq!(read(&served, "file", &[("blksize", "1024")]), options(&[("blksize", "8")]));
}

#[test]
fn an_option_left_out_by_a_negotiator_has_no_effect() {
    #[derive(Debug)]
    struct NoSizes;

    impl Negotiator for NoSizes {
        fn negotiate(&self, asked: &Asked<'_>, _: &Found) -> Vec<Grant> {
            asked.option("tsize").map(|_| Grant::leave_out("tsize")).into_iter().collect()
        }
    }

    let served = Extended::start(|builder| builder.negotiator(NoSizes));
    let asked = [("tsize", "0"), ("blksize", "1024")];
    assert_eq!(read(&served, "file", &asked), options(&[("blksize", "1024")]));
    // RFC 2347: without any option there is no OACK.
    let mut client = served.client();
    client.send(&rrq("file", "octet", &[("tsize", "0")]));
    assert_eq!(client.expect_data(1), FILE);
    client.send(&ack(1));
    assert_eq!(served.settle().misbehaved, [""; 0]);
}

#[test]
fn a_closure_answers_too() {
    let served = Extended::start(|builder| {
        builder.negotiator(NegotiatorStep::from_fn(|asked, file| {
            let size = file.size.map(|size| Grant::new("x-size", size.to_string()));
            size.filter(|_| asked.option("x-size").is_some()).into_iter().collect()
        }))
    });
    assert_eq!(read(&served, "file", &[("x-size", "")]), options(&[("x-size", "27")]));
}

#[test]
fn an_invalid_answer_of_a_negotiator_is_not_sent() {
    let long = "a".repeat(600);
    for (name, value) in [
        ("x-board", ""),
        ("x-board", "a\0b"),
        ("x-board", long.as_str()),
        ("tsize", "1"),
        ("blksize", "65464"),
        ("blksize", "0"),
        ("blksize", "-1"),
        ("y-unasked", "1"),
    ] {
        let says = FixedAnswer::new(&[(name, value)]);
        let served = Extended::start(move |builder| builder.negotiator(says));
        let asked = [("x-board", "?"), ("tsize", "0"), ("blksize", "512")];
        assert_eq!(read(&served, "file", &asked), options(&[("tsize", "27"), ("blksize", "512")]), "{name}");
        assert_eq!(served.settle().misbehaved.len(), 1, "{name}={value}");
    }
}

#[test]
fn a_negotiator_actor_answers_reads_and_uploads() {
    let served = Extended::start(|builder| {
        let actor = SlowNegotiator(FixedAnswer::new(&[("x-board", "7")]), Duration::from_millis(20)).start();
        builder.negotiator(NegotiatorStep::asking(actor.recipient()))
    });
    assert_eq!(read(&served, "file", &[("x-board", "?")]), options(&[("x-board", "7")]));
    let mut client = served.client();
    client.send(&wrq("saved", "octet", &[("x-board", "?")]));
    assert_eq!(client.expect_oack(), options(&[("x-board", "7")]));
    client.send(&data(1, b"octets"));
    client.expect_ack(1);
    served.still_serves();
    assert_eq!(served.settle().misbehaved, [""; 0]);
}

#[test]
fn a_silent_negotiator_is_skipped_after_its_timeout() {
    for (otherwise, is_served) in [(Otherwise::Pass, true), (Otherwise::Refuse, false)] {
        let served = Extended::start(move |builder| {
            let actor =
                SlowNegotiator(FixedAnswer::new(&[("x-board", "7")]), Duration::from_secs(60)).start();
            let step = NegotiatorStep::asking(actor.recipient()).within(Duration::from_millis(50));
            builder.negotiator(step.or(otherwise)).negotiator(FixedAnswer::new(&[("x-more", "1")]))
        });
        let asked = [("x-board", "?"), ("x-more", "?")];
        if is_served {
            assert_eq!(read(&served, "file", &asked), options(&[("x-more", "1")]));
        } else {
            let outcome = served.unanswered(&served.client(), &rrq("file", "octet", &asked));
            assert_eq!(outcome, Outcome::Outage(Failure::Internal));
        }
        served.still_serves();
        assert_eq!(served.settle().misbehaved[0], "negotiator: it gave no answer within 50ms");
    }
}

#[test]
fn a_stopped_negotiator_is_skipped_or_fails_transfers() {
    for (otherwise, is_served) in [(Otherwise::Pass, true), (Otherwise::Refuse, false)] {
        let served = Extended::start(move |builder| {
            builder.negotiator(NegotiatorStep::asking(stopped_actor()).or(otherwise))
        });
        let asked = [("x-board", "?"), ("tsize", "0")];
        if is_served {
            assert_eq!(read(&served, "file", &asked), options(&[("tsize", "27")]));
        } else {
            let outcome = served.unanswered(&served.client(), &rrq("file", "octet", &asked));
            assert_eq!(outcome, Outcome::Outage(Failure::Internal));
        }
        served.still_serves();
        assert_eq!(served.settle().misbehaved, ["negotiator: it panicked, or has stopped"]);
    }
}

#[test]
fn a_full_negotiator_mailbox_is_waited_for() {
    let served = Extended::start(|builder| {
        let actor = slow_actor(|_: Negotiate| vec![Grant::new("x-board", "7")]);
        builder.negotiator(NegotiatorStep::asking(actor))
    });
    let mut clients: Vec<_> = (0..10).map(|_| served.client()).collect();
    for client in &clients {
        client.send(&rrq("file", "octet", &[("x-board", "?")]));
    }
    for client in &mut clients {
        assert_eq!(client.expect_oack(), options(&[("x-board", "7")]));
        client.send(&ack(0));
        assert_eq!(client.expect_data(1), FILE);
        client.send(&ack(1));
    }
    assert_eq!(served.settle().misbehaved, [""; 0]);
}

#[test]
fn a_negotiator_that_blocks_is_reported() {
    #[derive(Debug)]
    struct BlockingNegotiator;

    impl Negotiator for BlockingNegotiator {
        fn negotiate(&self, _: &Asked<'_>, _: &Found) -> Vec<Grant> {
            std::thread::sleep(EXTENSION_CALL_WITHIN * 2);
            vec![Grant::new("x-board", "7")]
        }
    }

    let served = Extended::start(|builder| builder.negotiator(BlockingNegotiator));
    assert_eq!(read(&served, "file", &[("x-board", "?")]), options(&[("x-board", "7")]));
    let misbehaved = served.settle().misbehaved;
    assert!(misbehaved[0].starts_with("negotiator: it kept a thread that serves for "), "{misbehaved:?}");
}

#[test]
fn a_panicked_negotiator_loses_only_its_answer() {
    #[derive(Debug)]
    struct PanickingNegotiator;

    impl Negotiator for PanickingNegotiator {
        fn negotiate(&self, _: &Asked<'_>, _: &Found) -> Vec<Grant> {
            panic!("the secret of the negotiator");
        }
    }

    let served = Extended::start(|builder| builder.negotiator(PanickingNegotiator));
    assert_eq!(read(&served, "file", &[("x-board", "?"), ("tsize", "0")]), options(&[("tsize", "27")]));
    served.still_serves();
    assert_eq!(served.settle().crashed, ["negotiator of 1: the secret of the negotiator"]);

    let served = Extended::start(|mut builder| {
        let make = |_: &mut _| SlowNegotiator(FixedAnswer::new(&[("x-board", "7")]), Duration::ZERO);
        let actor = builder.start_child(stagecoach::supervision::ChildSpec::permanent("negotiator", make));
        builder.negotiator(NegotiatorStep::asking(actor.recipient()))
    });
    served.store.insert(stagecoach::store::Name::from_request(b"bad").unwrap(), FILE);
    let asked = [("x-board", "?"), ("tsize", "0")];
    assert_eq!(read(&served, "bad", &asked), options(&[("tsize", "27")]));
    assert_eq!(read(&served, "file", &asked), options(&[("tsize", "27"), ("x-board", "7")]));
    assert_eq!(served.settle().misbehaved, ["negotiator: it panicked, or has stopped"]);
}

#[test]
fn a_plain_request_asks_no_negotiator() {
    let served = Extended::start(|builder| {
        let actor = SlowNegotiator(FixedAnswer::new(&[]), Duration::from_secs(60)).start();
        builder.negotiator(NegotiatorStep::asking(actor.recipient()))
    });
    served.still_serves();
}
