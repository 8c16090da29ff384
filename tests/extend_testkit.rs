//! The kit for tests of extensions.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use stagecoach::Stagecoach;
use stagecoach::extend::{Ask, Grant, Negotiate, NegotiatorStep, RouteStep, Routing};
use stagecoach::observe::OwnedFact;
use stagecoach::store::{Memory, MemoryOptions, Name};
use stagecoach::testkit::{Kit, KitError, Recorder};
use stagecoach::wire::ErrorCode;

fn store() -> Memory {
    let store = Memory::new(MemoryOptions::default());
    store.insert(Name::from_request(b"file").unwrap(), vec![7; 1500]);
    store
}

/// Takes an hour for everything.
struct Slow;

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<Ask> for Slow {
    type Result = ResponseFuture<Routing>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Routing::Pass
        })
    }
}

impl Handler<Negotiate> for Slow {
    type Result = Vec<Grant>;

    fn handle(&mut self, _: Negotiate, _: &mut Self::Context) -> Self::Result {
        vec![Grant::new("x-board", "7")]
    }
}

#[test]
fn files_are_read_and_written_and_refused_without_a_network() {
    Kit::in_virtual_time(async {
        let (store, heard) = (store(), Arc::<Recorder>::default());
        let builder = Stagecoach::builder().store(store.clone()).shared_observer(heard.clone());
        let refuse = |asked: &stagecoach::extend::Asked<'_>| match &*asked.name() {
            "secret" => Routing::refuse(ErrorCode::ACCESS_VIOLATION, "not for you"),
            _ => Routing::Pass,
        };
        let kit = builder.route(refuse).kit().unwrap();
        let mut client = kit.client();
        assert_eq!(client.get("file").await, Ok(vec![7; 1500]));
        let got = client.get_with("file", &[("blksize", "100"), ("windowsize", "4")]).await.unwrap();
        assert_eq!((got.octets.len(), got.option("blksize")), (1500, Some("100")));
        for length in [0, 511, 512, 2000] {
            let name = format!("new-{length}");
            assert_eq!(client.put(&name, &vec![1; length]).await, Ok(()));
            assert_eq!(store.get(&Name::from_request(name.as_bytes()).unwrap()).unwrap(), vec![1; length]);
        }
        let refused = |code, text: &str| Err(KitError::Refused { code, text: text.to_owned() });
        assert_eq!(client.get("secret").await, refused(2, "not for you"));
        assert_eq!(client.get("missing").await, refused(1, "File not found"));
        assert_ne!(kit.client().address(), client.address());
        let is_end = |fact: &&OwnedFact| matches!(fact, OwnedFact::Finished(_));
        assert_eq!(heard.facts().iter().filter(is_end).count(), 8);
    });
}

#[test]
fn to_wait_for_a_deadline_takes_no_time() {
    let began = std::time::Instant::now();
    Kit::in_virtual_time(async {
        let slow = Slow.start();
        let step = RouteStep::asking(slow.clone().recipient()).within(Duration::from_secs(1000));
        let kit = Stagecoach::builder().store(store()).route_step(step).kit().unwrap();
        let refused = kit.client().get("file").await;
        assert_eq!(refused, Err(KitError::Silence));
        let step = RouteStep::asking(slow.clone().recipient()).within(Duration::from_secs(100));
        let builder = Stagecoach::builder().store(store()).route_step(step);
        let negotiator = NegotiatorStep::asking(slow.recipient());
        let kit = builder.negotiator_step(negotiator).kit().unwrap();
        let refused = kit.client().get("file").await;
        assert!(matches!(refused, Err(KitError::Refused { code: 0, .. })), "{refused:?}");
    });
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_client_may_say_what_it_wants() {
    Kit::in_virtual_time(async {
        let kit = Stagecoach::builder().store(store()).kit().unwrap();
        let mut client = kit.client();
        client.ask(b"\0\x01file\0octet\0");
        let first = client.next().await.unwrap();
        assert_eq!((&first[..4], first.len()), (&[0, 3, 0, 1][..], 516));
        // Without an ACK it comes again.
        assert_eq!(client.next().await, Some(first));
        client.send(b"\0\x05\0\0never mind\0");
        client.ask(b"no request");
        assert_eq!(client.next().await, None);
    });
}
