//! Routes: the files that they serve or refuse, and the clients when a route is slow, wrong, full
//! or panics.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use common::extended::{Extended, FILE};
use common::faulty_actors::{slow_actor, stopped_actor, unresponsive_actor};
use common::raw::{Packet, ack, data, rrq, wrq};
use slog::{Drain, KV, Logger, Never, OwnedKVList, Record, Serializer, o};
use stagecoach::error::Failure;
use stagecoach::extend::{Ask, Asked, Otherwise, RouteStep, Routing, Served};
use stagecoach::internals::limits::EXTENSION_CALL_WITHIN;
use stagecoach::observe::{Counters, Outcome, Report};
use stagecoach::store::{Fixed, Memory, MemoryOptions, Name};
use stagecoach::wire::ErrorCode;

/// Decides by name.
struct Router;

impl Actor for Router {
    type Context = Context<Self>;
}

impl Handler<Ask> for Router {
    type Result = ResponseFuture<Routing>;

    fn handle(&mut self, Ask(asked): Ask, _: &mut Self::Context) -> Self::Result {
        let name = asked.name().into_owned();
        Box::pin(async move {
            match &*name {
                "made" => Routing::octets("by an actor"),
                "forbidden" => Routing::refuse(ErrorCode::ACCESS_VIOLATION, "not for you"),
                "slow" => std::future::pending().await,
                "late" => {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    Routing::octets("too late")
                }
                _ => Routing::Pass,
            }
        })
    }
}

/// Panics over one name.
struct PanickingRoute;

impl Actor for PanickingRoute {
    type Context = Context<Self>;
}

impl Supervised for PanickingRoute {}

impl Handler<Ask> for PanickingRoute {
    type Result = Routing;

    fn handle(&mut self, Ask(asked): Ask, _: &mut Self::Context) -> Routing {
        assert!(asked.name() != "bad", "the secret of the route");
        Routing::octets("alive")
    }
}

fn by_name(asked: &Asked<'_>) -> Routing {
    match &*asked.name() {
        "hello" => Routing::octets(format!("hello, {}", asked.peer.ip())),
        "forbidden" => Routing::refuse(ErrorCode::FILE_NOT_FOUND, "no such\nboard"),
        "elsewhere" => {
            let name = Name::from_request(b"other").unwrap();
            Served::from_store(Arc::new(Fixed::new("elsewhere"))).named(name).labelled("a\x1blabel").into()
        }
        "bad" => panic!("the secret of the route"),
        _ => Routing::Pass,
    }
}

#[test]
fn a_closure_serves_refuses_and_passes_on() {
    let served = Extended::start(|builder| builder.route(by_name));
    assert_eq!(served.read("hello"), b"hello, 127.0.0.1");
    assert_eq!(served.refusal("forbidden", 1), "no suchboard");
    assert_eq!(served.read("elsewhere"), b"elsewhere");
    assert_eq!(served.refusal("missing", 1), "File not found");
    served.still_serves();
    let finished = served.settle().finished;
    let label = |name: &str| {
        let report = finished.iter().find(|report| report.name == name).unwrap();
        report.label.as_ref().map(ToString::to_string)
    };
    assert_eq!((label("elsewhere").as_deref(), label("hello")), (Some("alabel"), None));
    let refused = finished.iter().find(|report| report.name == "forbidden").unwrap();
    assert_eq!(refused.outcome, Outcome::Failed(Failure::Refused(ErrorCode::FILE_NOT_FOUND)));
    assert_eq!(refused.detail.as_deref(), Some("no suchboard"));
}

/// A log that keeps the labels only.
#[derive(Debug, Clone, Default)]
struct LabelLog(Arc<Mutex<Vec<String>>>);

impl Drain for LabelLog {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        record.kv().serialize(record, &mut self.clone()).unwrap();
        values.serialize(record, &mut self.clone()).unwrap();
        Ok(())
    }
}

impl Serializer for LabelLog {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "label" {
            self.0.lock().unwrap().push(value.to_string());
        }
        Ok(())
    }
}

#[test]
fn a_label_is_in_the_registry_log_and_counters() {
    let (counters, labels) = (Arc::<Counters>::default(), LabelLog::default());
    let (counted, log) = (Arc::clone(&counters), Logger::root(labels.clone(), o!()));
    let served = Extended::start(move |builder| {
        let label = |asked: &Asked<'_>| {
            let store = Arc::new(Fixed::new(vec![7; 600]));
            Served::from_store(store).labelled(&format!("board {}", asked.name())).into()
        };
        builder.route(label).observer(counted).log(log)
    });
    let mut client = served.client();
    client.send(&rrq("0815", "octet", &[]));
    client.expect_data(1);
    let label = |report: &Report| report.label.as_ref().map(ToString::to_string);
    let live = served.registry().live;
    assert_eq!(
        live.iter().map(|live| label(&live.report)).collect::<Vec<_>>(),
        [Some("board 0815".to_owned())]
    );
    served.handle.dump();
    let until = Instant::now() + Duration::from_secs(10);
    while labels.0.lock().unwrap().is_empty() {
        assert!(Instant::now() < until, "what is live is not logged");
        std::thread::sleep(Duration::from_millis(5));
    }
    client.send(&ack(1));
    client.expect_data(2);
    client.send(&ack(2));
    served.settle();
    let history = served.registry().history;
    assert_eq!(history.iter().map(label).collect::<Vec<_>>(), [Some("board 0815".to_owned())]);
    assert_eq!(*labels.0.lock().unwrap(), ["board 0815"; 2]);
    let by_label = counters.by_label();
    assert_eq!((by_label[0].0.as_str(), by_label[0].1.octets), ("board 0815", 600));
}

#[test]
fn routes_are_asked_in_turn_until_one_decides() {
    let served = Extended::start(|builder| {
        let router = Router.start();
        builder
            .route(
                |asked: &Asked<'_>| {
                    if asked.name() == "both" { Routing::octets("first") } else { Routing::Pass }
                },
            )
            .route(RouteStep::asking(router.recipient()))
            .route(|asked: &Asked<'_>| match &*asked.name() {
                "both" | "made" => Routing::octets("last"),
                "mine" => Routing::octets("mine"),
                _ => Routing::Pass,
            })
    });
    assert_eq!(served.read("both"), b"first");
    assert_eq!(served.read("made"), b"by an actor");
    assert_eq!(served.read("mine"), b"mine");
    assert_eq!(served.refusal("forbidden", 2), "not for you");
    served.still_serves();
}

#[test]
fn a_route_may_serve_a_name_no_file_can_have() {
    let served = Extended::start(|builder| {
        builder.route(|asked: &Asked<'_>| match asked.name_bytes() {
            [.., 0xff] => Routing::octets("without the octet that the firmware appends"),
            _ => Routing::Pass,
        })
    });
    let mut client = served.client();
    client.send(b"\0\x01boot/\xff\0octet\0");
    assert!(client.expect_data(1).starts_with(b"without"));
    client.send(&ack(1));
    assert_eq!(served.refusal("../up", 2), "Access violation");
    served.still_serves();
}

#[test]
fn uploads_go_to_the_store_of_their_route() {
    let uploads = Memory::new(MemoryOptions::default());
    let store = uploads.clone();
    let served = Extended::start(move |builder| {
        builder.route(move |asked: &Asked<'_>| match &*asked.name() {
            "made" => Routing::octets("read only"),
            _ if !asked.is_read() => Served::from_store(Arc::new(store.clone())).into(),
            _ => Routing::Pass,
        })
    });
    let mut client = served.client();
    client.send(&wrq("config", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, b"saved"));
    client.expect_ack(1);
    assert_eq!(uploads.get(&Name::from_request(b"config").unwrap()).as_deref(), Some(&b"saved"[..]));
    assert_eq!(served.store.get(&Name::from_request(b"config").unwrap()), None);
    let mut client = served.client();
    client.send(&wrq("made", "octet", &[]));
    client.expect_error(2);
    served.still_serves();
}

#[test]
fn a_route_that_panics_ends_only_that_transfer() {
    let served = Extended::start(|builder| builder.route(by_name));
    for _ in 0..3 {
        served.leaves_unanswered("bad");
        served.still_serves();
    }
    let facts = served.settle();
    assert_eq!(facts.crashed.len(), 3);
    assert!(facts.crashed[0].starts_with("route of 1: the secret of"), "{:?}", facts.crashed);
}

#[test]
fn a_route_actor_is_restarted_after_a_panic() {
    let served = Extended::start(|mut builder| {
        let spec = stagecoach::supervision::ChildSpec::permanent("router", |_| PanickingRoute);
        let router = builder.start_child(spec);
        builder.route(RouteStep::asking(router.recipient()))
    });
    assert_eq!(served.read("file"), b"alive");
    served.leaves_unanswered("bad");
    assert_eq!(served.read("file"), b"alive");
    let facts = served.settle();
    assert_eq!(facts.crashed, ["router of 0: the secret of the route"]);
    assert_eq!(facts.misbehaved, ["route: it panicked, or has stopped"]);
}

#[test]
fn an_actor_that_gives_no_answer_is_not_waited_for() {
    let within = Duration::from_millis(100);
    let served = Extended::start(move |builder| {
        let router = Router.start().recipient();
        builder.route(RouteStep::asking(router).within(within))
    });
    for name in ["slow", "late"] {
        served.leaves_unanswered(name);
    }
    assert_eq!(served.read("made"), b"by an actor");
    served.still_serves();
    // The late answer was dropped.
    std::thread::sleep(Duration::from_millis(500));
    let facts = served.settle();
    assert_eq!(facts.misbehaved, ["route: it gave no answer within 100ms"; 2]);
    assert_eq!(facts.finished.len(), 4);
}

#[test]
fn an_actor_that_gives_no_answer_may_be_passed_over() {
    let served = Extended::start(|builder| {
        let router = Router.start().recipient();
        let wait = Duration::from_millis(50);
        builder
            .route(RouteStep::asking(stopped_actor()).or(Otherwise::Pass))
            .route(RouteStep::asking(router).within(wait).or(Otherwise::Pass))
            .route(
                |asked: &Asked<'_>| {
                    if asked.name() == "slow" { Routing::octets("next") } else { Routing::Pass }
                },
            )
    });
    assert_eq!(served.read("slow"), b"next");
    served.still_serves();
    assert!(served.settle().crashed.is_empty());
}

#[test]
fn a_full_mailbox_is_waited_for_like_a_slow_actor() {
    let asked = Arc::<AtomicU32>::default();
    let counted = Arc::clone(&asked);
    let served = Extended::start(move |builder| {
        let router = slow_actor(move |_: Ask| {
            counted.fetch_add(1, Ordering::Relaxed);
            Routing::octets("in turn")
        });
        builder.route(RouteStep::asking(router))
    });
    let mut clients: Vec<_> = (0..10).map(|_| served.client()).collect();
    for client in &clients {
        client.send(&rrq("any", "octet", &[]));
    }
    for client in &mut clients {
        assert_eq!(client.expect_data(1), b"in turn");
        client.send(&ack(1));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 10);
}

#[test]
fn a_route_whose_mailbox_stays_full_is_given_up() {
    let served = Extended::start(|builder| {
        let step =
            RouteStep::asking(unresponsive_actor()).within(Duration::from_millis(100)).or(Otherwise::Pass);
        builder.route(step).route(|_: &Asked<'_>| Routing::octets("next"))
    });
    let mut clients: Vec<_> = (0..5).map(|_| served.client()).collect();
    for client in &clients {
        client.send(&rrq("any", "octet", &[]));
    }
    for client in &mut clients {
        assert_eq!(client.expect_data(1), b"next");
        client.send(&ack(1));
    }
    assert_eq!(served.settle().misbehaved, ["route: it gave no answer within 100ms"; 5]);
}

#[test]
fn a_route_that_keeps_the_listeners_thread_is_told_of() {
    let served = Extended::start(|builder| {
        builder.route(|asked: &Asked<'_>| {
            if asked.name() == "slow" {
                std::thread::sleep(EXTENSION_CALL_WITHIN * 2);
            }
            Routing::Pass
        })
    });
    assert_eq!(served.refusal("slow", 1), "File not found");
    served.still_serves();
    let misbehaved = served.settle().misbehaved;
    assert_eq!(misbehaved.len(), 1);
    assert!(misbehaved[0].starts_with("route: it kept a thread that serves for "), "{misbehaved:?}");
}

#[test]
fn a_request_repeated_during_routing_gets_one_answer() {
    let served = Extended::start(|builder| builder.route(RouteStep::asking(Router.start().recipient())));
    let mut client = served.client();
    for _ in 0..3 {
        client.send(&rrq("late", "octet", &[]));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.expect_data(1), b"too late");
    client.send(&ack(1));
    assert!(matches!(client.receive(Duration::from_millis(300)), None | Some((Packet::Data { .. }, _))));
    assert_eq!(served.settle().finished.len(), 1);
}

#[test]
fn a_served_extension_file_has_options_and_windows() {
    let file: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let content = file.clone();
    let served =
        Extended::start(move |builder| {
            builder.route(move |asked: &Asked<'_>| {
                if asked.name() == "big" { Routing::octets(content.clone()) } else { Routing::Pass }
            })
        });
    let mut got = Vec::new();
    let ask = common::client::Ask::window(1428, 8);
    let done =
        common::client::get(served.address, "big", ask, |_, octets| got.extend_from_slice(octets)).unwrap();
    assert_eq!((done.octets, done.windowsize), (200_000, 8));
    assert_eq!(got, file);
    assert_ne!(got, FILE);
}
