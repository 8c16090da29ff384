//! The testkit for extensions.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::FutureExt;
use stagecoach::Stagecoach;
use stagecoach::error::{Failure, Fault};
use stagecoach::extend::{
    Ask, Datagram, Grant, Negotiate, NegotiatorStep, Opcode, OpcodeStep, Received, RouteStep, Routing,
};
use stagecoach::internals::limits::READ_WITHIN;
use stagecoach::observe::{Fact, Outcome};
use stagecoach::settings::{OnOutage, Settings};
use stagecoach::store::{Memory, MemoryOptions, Name, Sink, Slab, Source, Store};
use stagecoach::supervision::ChildSpec;
use stagecoach::testkit::{Call, FaultyStore, Kit, KitError, Recorder, StoreFault};
use stagecoach::wire::ErrorCode;

fn store() -> Memory {
    let store = Memory::new(MemoryOptions::default());
    store.insert(Name::from_request(b"file").unwrap(), vec![7; 1500]);
    store
}

/// Settings with which clients get an ERROR in an outage.
fn on_outage_error() -> Settings {
    let mut settings = Settings::default();
    settings.on_outage = OnOutage::Error;
    settings
}

/// Answers after an hour.
struct SlowActor;

impl Actor for SlowActor {
    type Context = Context<Self>;
}

impl Handler<Ask> for SlowActor {
    type Result = ResponseFuture<Routing>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Routing::Pass
        })
    }
}

impl Handler<Negotiate> for SlowActor {
    type Result = Vec<Grant>;

    fn handle(&mut self, _: Negotiate, _: &mut Self::Context) -> Self::Result {
        vec![Grant::new("x-board", "7")]
    }
}

#[test]
fn the_testkit_transfers_files_without_a_network() {
    Kit::in_virtual_time(async {
        let (store, heard) = (store(), Arc::<Recorder>::default());
        let builder = Stagecoach::builder().store(store.clone()).observer(heard.clone());
        let refuse = |asked: &stagecoach::extend::Asked<'_>| match &*asked.name() {
            "secret" => Routing::refuse(ErrorCode::ACCESS_VIOLATION, "not for you"),
            _ => Routing::Pass,
        };
        let kit = builder.route(refuse).kit().unwrap();
        let mut client = kit.client();
        let ends = || heard.facts().iter().filter(|fact| matches!(fact, Fact::Finished(_))).count();
        assert_eq!(client.get("file").await, Ok(vec![7; 1500]));
        assert_eq!(ends(), 1, "who has the file is heard of");
        let download = client.get_with("file", &[("blksize", "100"), ("windowsize", "4")]).await.unwrap();
        assert_eq!((download.octets.len(), download.option("blksize")), (1500, Some("100")));
        for length in [0, 511, 512, 2000] {
            let name = format!("new-{length}");
            assert_eq!(client.put(&name, &vec![1; length]).await, Ok(()));
            assert_eq!(store.get(&Name::from_request(name.as_bytes()).unwrap()).unwrap(), vec![1; length]);
        }
        let refused = |code, text: &str| Err(KitError::Refused { code, text: text.to_owned() });
        assert_eq!(client.get("secret").await, refused(2, "not for you"));
        assert_eq!(client.get("missing").await, refused(1, "File not found"));
        assert_ne!(kit.client().address(), client.address());
        assert_eq!(ends(), 8);
    });
}

#[test]
fn waiting_for_a_deadline_takes_no_real_time() {
    let began = std::time::Instant::now();
    Kit::in_virtual_time(async {
        let slow = SlowActor.start();
        let step = RouteStep::asking(slow.clone().recipient()).within(Duration::from_secs(1000));
        let kit = Stagecoach::builder().store(store()).route(step).kit().unwrap();
        let refused = kit.client().get("file").await;
        assert_eq!(refused, Err(KitError::Silence));
        let step = RouteStep::asking(slow.clone().recipient()).within(Duration::from_secs(100));
        let builder = Stagecoach::builder().settings(on_outage_error()).store(store()).route(step);
        let negotiator = NegotiatorStep::asking(slow.recipient());
        let kit = builder.negotiator(negotiator).kit().unwrap();
        let refused = kit.client().get("file").await;
        assert!(matches!(refused, Err(KitError::Refused { code: 0, .. })), "{refused:?}");
    });
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_testkit_client_chooses_its_options() {
    Kit::in_virtual_time(async {
        let kit = Stagecoach::builder().store(store()).kit().unwrap();
        let mut client = kit.client();
        client.ask(b"\0\x01file\0octet\0");
        let first = client.next().await.unwrap();
        assert_eq!((&first[..4], first.len()), (&[0, 3, 0, 1][..], 516));
        // The client sends no ACK, so the block comes again.
        assert_eq!(client.next().await, Some(first));
        client.send(b"\0\x05\0\0never mind\0");
        client.ask(b"no request");
        assert_eq!(client.next().await, None);
    });
}

#[test]
fn files_arrive_whole_over_a_lossy_link() {
    let file: Vec<u8> = (0..50_000_u32).map(|number| (number % 251) as u8).collect();
    Kit::in_virtual_time(async {
        let (store, heard) = (store(), Arc::<Recorder>::default());
        store.insert(Name::from_request(b"big").unwrap(), file.clone());
        let kit = Stagecoach::builder().store(store.clone()).observer(heard.clone()).kit().unwrap();
        for percent in 1..=10 {
            let mut client = kit.client().losing(percent, 7);
            assert!(client.get("big").await.as_ref() == Ok(&file), "{percent}");
            let windows = [("windowsize", "8"), ("blksize", "1000")];
            let download = client.get_with("big", &windows).await.unwrap();
            assert!(download.octets == file && download.option("windowsize") == Some("8"), "{percent}");
            let name = format!("new-{percent}");
            let granted = client.put_with(&name, &file, &[("blksize", "1000")]).await.unwrap();
            assert_eq!(granted, [("blksize".to_owned(), "1000".to_owned())]);
            assert!(store.get(&Name::from_request(name.as_bytes()).unwrap()).unwrap() == file);
        }
        let ends: Vec<_> = heard
            .facts()
            .into_iter()
            .filter_map(|fact| match fact {
                Fact::Finished(report) => Some(report.outcome.is_success()),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [true; 30]);
    });
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    /// A store that shows when it is dropped.
    #[derive(Debug)]
    struct WatchedStore(Memory, Arc<()>);

    impl Store for WatchedStore {
        fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
            Ok(Arc::new(WatchedSource(self.0.open(name)?, self.1.clone())))
        }

        fn create(&self, name: &Name, claimed: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
            self.0.create(name, claimed)
        }
    }

    #[derive(Debug)]
    struct WatchedSource(Arc<dyn Source>, #[expect(dead_code)] Arc<()>);

    impl Source for WatchedSource {
        fn size(&self) -> Option<u64> {
            self.0.size()
        }
        fn path(&self) -> &str {
            self.0.path()
        }
        fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
            self.0.fetch(offset, length)
        }
    }

    Kit::in_virtual_time(async {
        let (store, open) = (store(), Arc::new(()));
        let kit = Stagecoach::builder().store(WatchedStore(store.clone(), open.clone())).kit().unwrap();
        let mut client = kit.client().leaving_after(1);
        assert_eq!(client.get("file").await, Err(KitError::Left));
        assert_eq!(client.put("new", &[1; 2000]).await, Err(KitError::Left));
        assert_eq!(kit.client().get("file").await.unwrap().len(), 1500);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(Arc::strong_count(&open), 2, "(here and in the store)");
        assert_eq!(store.get(&Name::from_request(b"new").unwrap()), None);
    });
}

#[test]
fn a_store_has_the_planned_faults_and_no_others() {
    Kit::in_virtual_time(async {
        let hour = StoreFault::Takes(Duration::from_secs(3600));
        let faulty = FaultyStore::new(store())
            .on(Call::Open, 1, StoreFault::Fails(Failure::Forbidden))
            .on(Call::Open, 2, hour)
            .on(Call::Fetch, 1, StoreFault::Panics)
            .on(Call::Create, 1, StoreFault::Fails(Failure::DiskFull))
            .on(Call::Write, 2, StoreFault::Fails(Failure::Io))
            .on(Call::Publish, 1, StoreFault::Panics);
        let kit = Stagecoach::builder().settings(on_outage_error()).store(faulty).kit().unwrap();
        let mut client = kit.client();
        let refused = |code, text: &str| KitError::Refused { code, text: text.to_owned() };
        assert_eq!(client.get("file").await.unwrap_err(), refused(2, "Access violation"));
        assert_eq!(client.get("file").await.unwrap_err(), refused(0, "Input/output error"));
        assert_eq!(client.get("file").await.unwrap_err(), refused(0, "Internal error"));
        assert_eq!(client.get("file").await, Ok(vec![7; 1500]));
        let new = vec![1; 10];
        assert_eq!(
            client.put("new", &new).await.unwrap_err(),
            refused(3, "Disk full or allocation exceeded")
        );
        assert_eq!(client.put("new", &new).await.unwrap_err(), refused(0, "Internal error"));
        assert_eq!(client.put("new", &new).await.unwrap_err(), refused(0, "Input/output error"));
        assert_eq!(client.put("new", &new).await, Ok(()));
    });
}

#[test]
fn a_hung_disk_is_retried_during_a_read() {
    Kit::in_virtual_time(async {
        let hangs = |s| StoreFault::Takes(Duration::from_secs(s));
        let faulty = FaultyStore::new(store()).on(Call::Open, 1, hangs(3600)).on(Call::Open, 2, hangs(20));
        let heard = Arc::<Recorder>::default();
        let kit = Stagecoach::builder().store(faulty).observer(heard.clone()).kit().unwrap();
        let (mut client, began) = (kit.client(), tokio::time::Instant::now());
        // The client repeats its request every second. The server does not ask the store again
        // while the first call lasts.
        assert_eq!(client.get("file").await, Ok(vec![7; 1500]));
        let waited = began.elapsed();
        let expected = READ_WITHIN + Duration::from_secs(20);
        assert!((expected..expected + Duration::from_secs(2)).contains(&waited), "{waited:?}");
        let ends: Vec<_> = heard.facts().iter().filter_map(outcome).collect();
        assert_eq!(ends, [Outcome::Outage(Failure::Io), Outcome::Complete]);
    });
}

#[test]
fn a_hung_disk_is_retried_before_the_first_block() {
    Kit::in_virtual_time(async {
        let hour = StoreFault::Takes(Duration::from_secs(3600));
        let faulty =
            FaultyStore::new(store()).on(Call::Fetch, 1, hour).on(Call::Fetch, 2, StoreFault::Panics);
        let heard = Arc::<Recorder>::default();
        let kit = Stagecoach::builder().store(faulty).observer(heard.clone()).kit().unwrap();
        assert_eq!(kit.client().get("file").await, Ok(vec![7; 1500]));
        let ends: Vec<_> = heard.facts().iter().filter_map(outcome).collect();
        let outages = [Failure::Io, Failure::Internal].map(Outcome::Outage);
        assert_eq!(ends, [&outages[..], &[Outcome::Complete]].concat());
    });
}

fn outcome(fact: &Fact<'_>) -> Option<Outcome> {
    match fact {
        Fact::Finished(report) => Some(report.outcome.clone()),
        _ => None,
    }
}

/// Answers with the reversed datagram.
#[derive(Debug)]
struct ReversingOpcode;

impl Opcode for ReversingOpcode {
    fn answer(&self, datagram: &Datagram<'_>) -> Option<Bytes> {
        let mut octets = datagram.octets.to_vec();
        octets.reverse();
        Some(octets.into())
    }
}

impl Actor for ReversingOpcode {
    type Context = Context<Self>;
}

impl Handler<Received> for ReversingOpcode {
    type Result = Option<Bytes>;

    fn handle(&mut self, Received(datagram): Received, _: &mut Self::Context) -> Self::Result {
        self.answer(&datagram)
    }
}

#[test]
fn opcodes_are_answered_without_a_network_too() {
    Kit::in_virtual_time(async {
        let builder = Stagecoach::builder().store(store());
        let asking = OpcodeStep::asking(ReversingOpcode.start().recipient());
        let kit =
            builder.opcode(0x100, OpcodeStep::new(ReversingOpcode)).opcode(0x200, asking).kit().unwrap();
        let mut client = kit.client();
        for opcode in [1, 2] {
            client.ask(&[opcode, 0, b'a', b'b']);
            assert_eq!(client.next().await, Some(vec![b'b', b'a', 0, opcode]));
        }
        client.ask(&[3, 0, b'a', b'b']);
        assert_eq!(client.next().await, None);
    });
}

/// Answers every question after two seconds.
struct LateActor;

impl Actor for LateActor {
    type Context = Context<Self>;
}

impl Handler<Negotiate> for LateActor {
    type Result = ResponseFuture<Vec<Grant>>;

    fn handle(&mut self, _: Negotiate, _: &mut Self::Context) -> Self::Result {
        Box::pin(tokio::time::sleep(Duration::from_secs(2)).map(|()| vec![Grant::new("x-board", "7")]))
    }
}

impl Handler<Received> for LateActor {
    type Result = ResponseFuture<Option<Bytes>>;

    fn handle(&mut self, _: Received, _: &mut Self::Context) -> Self::Result {
        Box::pin(tokio::time::sleep(Duration::from_secs(2)).map(|()| Some(Bytes::from_static(b"late"))))
    }
}

#[test]
fn a_late_answer_of_a_negotiator_is_dropped() {
    for (within, granted) in [(1, "tsize"), (3, "tsize x-board")] {
        Kit::in_virtual_time(async {
            let heard = Arc::<Recorder>::default();
            let step =
                NegotiatorStep::asking(LateActor.start().recipient()).within(Duration::from_secs(within));
            let builder = Stagecoach::builder().store(store()).observer(heard.clone());
            let kit = builder.negotiator(step).kit().unwrap();
            let mut client = kit.client();
            client.ask(b"\0\x01file\0octet\0tsize\x000\0x-board\0?\0");
            let oack = client.next().await.unwrap();
            let names: Vec<_> = ["tsize", "x-board"]
                .into_iter()
                .filter(|name| oack.windows(name.len()).any(|it| it == name.as_bytes()))
                .collect();
            assert_eq!(names.join(" "), granted);
            // By then the late answer has arrived.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            client.send(b"\0\x04\0\0");
            while client.next().await.unwrap()[..4] != [0, 3, 0, 1] {}
            client.send(b"\0\x05\0\0never mind\0");
            let is_misbehaved = |fact: &&Fact<'_>| matches!(fact, Fact::Misbehaved { .. });
            assert_eq!(heard.facts().iter().filter(is_misbehaved).count(), usize::from(within == 1));
        });
    }
}

#[test]
fn a_late_answer_to_an_opcode_is_dropped() {
    for (within, answer) in [(1, None), (3, Some(b"late".to_vec()))] {
        Kit::in_virtual_time(async {
            let step = OpcodeStep::asking(LateActor.start().recipient()).within(Duration::from_secs(within));
            let kit = Stagecoach::builder().store(store()).opcode(0x100, step).kit().unwrap();
            let mut client = kit.client();
            client.ask(b"\x01\0now?");
            assert_eq!(client.next().await, answer);
        });
    }
}

#[test]
fn a_repeated_request_joins_its_transfer() {
    Kit::in_virtual_time(async {
        let kit = Stagecoach::builder().store(store()).kit().unwrap();
        let mut client = kit.client();
        for _ in 0..2 {
            client.ask(b"\0\x01file\0octet\0");
        }
        let first = client.next().await.unwrap();
        assert_eq!((&first[..4], first.len()), (&[0, 3, 0, 1][..], 516));
        client.send(b"\0\x04\0\x01");
        while let Some(packet) = client.next().await {
            if packet[..4] == [0, 3, 0, 2] {
                return client.send(b"\0\x05\0\0never mind\0");
            }
        }
        panic!("no second block");
    });
}

/// Panics over every second question.
#[derive(Default)]
struct PanickingRoute(u32);

impl Actor for PanickingRoute {
    type Context = Context<Self>;
}

impl Supervised for PanickingRoute {}

impl Handler<Ask> for PanickingRoute {
    type Result = Routing;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Routing {
        self.0 += 1;
        assert!(self.0 % 2 == 1, "the secret of the actor");
        Routing::octets(self.0.to_string())
    }
}

#[test]
fn a_panicked_actor_is_restarted_and_observed() {
    Kit::in_virtual_time(async {
        let heard = Arc::<Recorder>::default();
        let mut builder = Stagecoach::builder().store(store()).observer(heard.clone());
        let actor = builder.start_child(ChildSpec::permanent("fragile", |_| PanickingRoute::default()));
        let kit = builder.route(RouteStep::asking(actor.recipient())).kit().unwrap();
        let mut client = kit.client();
        assert_eq!(client.get("any").await, Ok(b"1".to_vec()));
        // The actor panicked over the second question, and answered when the client repeated its
        // request.
        assert_eq!(client.get("any").await, Ok(b"3".to_vec()));
        let is_crash = |fact: &Fact<'_>| matches!(fact, Fact::Crashed { actor: "fragile", .. });
        assert_eq!(heard.facts().iter().filter(|fact| is_crash(fact)).count(), 1);
    });
}

#[test]
fn a_client_waits_as_long_as_its_patience() {
    Kit::in_virtual_time(async {
        let route = RouteStep::asking(SlowActor.start().recipient()).within(Duration::from_secs(100_000));
        let kit = Stagecoach::builder().store(store()).route(route).kit().unwrap();
        for (client, waits) in
            [(kit.client(), 600_000), (kit.client().patience(Duration::from_millis(2500)), 2500)]
        {
            let (mut client, began) = (client, tokio::time::Instant::now());
            assert_eq!(client.get("file").await, Err(KitError::Silence));
            assert_eq!(began.elapsed(), Duration::from_millis(waits));
        }
        let mut patient = kit.client().patience(Duration::from_secs(7200));
        assert_eq!(patient.get("file").await.map(|file| file.len()), Ok(1500));
    });
}
