//! Layers in front of a store: a layer sees every file in every call, and knows the client.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::client::{self, Failed};
use common::extended::{Extended, FILE};
use common::raw::{data, error, rrq, wrq};
use stagecoach::error::{Failure, Fault};
use stagecoach::extend::{Asked, Found, Grant};
use stagecoach::settings::{OnAbort, Settings};
use stagecoach::store::{
    CheckedSink, Inspected, Later, Layer, Layered, Memory, Name, Sink, Slab, Source, Store,
};
use stagecoach::wire::ErrorCode;

fn name(text: &str) -> Name {
    Name::from_request(text.as_bytes()).unwrap()
}

/// A store in which the name of a file says which calls open and read the file. The other calls
/// don't.
#[derive(Debug)]
struct ScriptedStore;

#[derive(Debug)]
struct ScriptedSource(String);

const CONTENT: &[u8] = &[b'a'; 1000];

fn opened(name: &Name) -> Result<Arc<dyn Source>, Fault> {
    Ok(Arc::new(ScriptedSource(name.to_string())))
}

impl Store for ScriptedStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        assert!(name.to_string().starts_with("waits"), "{name}");
        opened(name)
    }

    fn open_cached(&self, name: &Name) -> Option<Result<Arc<dyn Source>, Fault>> {
        name.to_string().starts_with("cached").then(|| opened(name))
    }

    fn open_later(&self, name: &Name) -> Option<Later<Arc<dyn Source>>> {
        let opened = opened(name);
        name.to_string().starts_with("later").then(|| Box::pin(std::future::ready(opened)) as _)
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::ReadOnly.into())
    }
}

fn slab(offset: u64, length: usize) -> Slab {
    let rest = &CONTENT[offset as usize..];
    Slab::new(&rest[..rest.len().min(length)], rest.len() <= length)
}

impl Source for ScriptedSource {
    fn size(&self) -> Option<u64> {
        Some(CONTENT.len() as u64)
    }

    fn path(&self) -> &str {
        &self.0
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        assert!(self.0.ends_with("waits"), "{}", self.0);
        Ok(slab(offset, length))
    }

    fn fetch_cached(&self, offset: u64, length: usize) -> Result<Option<Slab>, Fault> {
        Ok(self.0.ends_with("cached").then(|| slab(offset, length)))
    }

    fn fetch_later(&self, offset: u64, length: usize) -> Option<Later<Slab>> {
        self.0.ends_with("later").then(|| Box::pin(std::future::ready(Ok(slab(offset, length)))) as _)
    }
}

/// Serves every file in upper case below a prefix, and refuses some names.
#[derive(Debug)]
struct UppercaseLayer;

impl Layer for UppercaseLayer {
    fn to_read(&self, asked: &Name) -> Result<Name, Fault> {
        match asked.to_string().strip_prefix("loud/") {
            Some("secret") => Err(Fault::refusal(ErrorCode::ACCESS_VIOLATION, "too loud")),
            Some(rest) => Ok(name(rest)),
            None => Err(Failure::NotFound.into()),
        }
    }

    fn opened(&self, _: &Name, source: Arc<dyn Source>) -> Result<Arc<dyn Source>, Fault> {
        let loud = |_, slab: Slab| Ok(Slab::new(slab.bytes.to_ascii_uppercase(), slab.end));
        Ok(Arc::new(Inspected::new(source, loud)))
    }
}

#[test]
fn a_layer_sees_each_file_on_every_way_to_it() {
    let served = Extended::start(|builder| {
        builder.store(Arc::new(ScriptedStore)).wrap_store(|_, store| Layered::new(UppercaseLayer, store))
    });
    for open in ["waits", "cached", "later"] {
        for fetch in ["waits", "cached", "later"] {
            let mut got = Vec::new();
            let asked = format!("loud/{open}-{fetch}");
            client::get(served.address, &asked, client::Ask::PLAIN, |_, octets| {
                got.extend_from_slice(octets);
            })
            .unwrap_or_else(|failed| panic!("{asked}: {failed:?}"));
            assert_eq!(got, CONTENT.to_ascii_uppercase(), "{asked}");
        }
    }
    assert_eq!(served.refusal("loud/secret", 2), "too loud");
    assert_eq!(served.refusal("cached-cached", 1), "File not found");
    assert_eq!(served.settle().crashed, [""; 0]);
}

/// Counts the uploaded octets of the client, which may write three blocks.
#[derive(Debug, Clone)]
struct Quota(Arc<AtomicUsize>);

impl Layer for Quota {
    fn to_write(&self, asked: &Name, claimed: Option<u64>) -> Result<Name, Fault> {
        if claimed.is_some_and(|octets| octets > 1536) {
            return Err(Fault::refusal(ErrorCode::DISK_FULL, "you may write 1536 octets"));
        }
        Ok(name(&format!("of-127.0.0.1-{asked}")))
    }

    fn created(&self, _: &Name, sink: Box<dyn Sink>) -> Result<Box<dyn Sink>, Fault> {
        let used = Arc::clone(&self.0);
        Ok(Box::new(CheckedSink::new(sink, move |octets: &[u8]| {
            match used.fetch_add(octets.len(), Ordering::Relaxed) + octets.len() {
                ..=1536 => Ok(()),
                _ => Err(Fault::refusal(ErrorCode::DISK_FULL, "your quota is used up")),
            }
        })))
    }
}

#[test]
fn a_layer_can_refuse_in_the_middle_of_an_upload() {
    let served = Extended::start(|builder| {
        let quota = Quota(Arc::default());
        builder.wrap_store(move |asked, store| {
            assert!(asked.peer.ip().is_loopback());
            Layered::new(quota.clone(), store)
        })
    });
    for (file, ends) in [("first", Ok(())), ("second", Err("your quota is used up"))] {
        let mut client = served.client();
        client.send(&wrq(file, "octet", &[]));
        client.expect_ack(0);
        client.send(&data(1, &[7; 512]));
        client.expect_ack(1);
        client.send(&data(2, &[7; 500]));
        match ends {
            Ok(()) => client.expect_ack(2),
            Err(text) => assert_eq!(client.expect_error(3), text),
        }
    }
    assert_eq!(served.store.get(&name("of-127.0.0.1-first")).map(|octets| octets.len()), Some(1012));
    assert_eq!(served.store.get(&name("of-127.0.0.1-second")), None);
    let mut client = served.client();
    client.send(&wrq("third", "octet", &[("tsize", "1537")]));
    assert_eq!(client.expect_error(3), "you may write 1536 octets");
    served.still_serves();
}

/// Records the files that pass through the layer.
#[derive(Debug)]
struct RecordingLayer(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Layer for RecordingLayer {
    fn opened(&self, _: &Name, source: Arc<dyn Source>) -> Result<Arc<dyn Source>, Fault> {
        self.1.lock().unwrap().push(self.0);
        Ok(source)
    }
}

#[test]
fn layers_wrap_in_order_behind_all_routes() {
    let notes = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&notes);
    let served = Extended::start(move |builder| {
        let (first, second) = (Arc::clone(&noted), noted);
        builder
            .wrap_store(move |_, store| Layered::new(RecordingLayer("first", Arc::clone(&first)), store))
            .wrap_store(move |asked, store| {
                assert!(asked.name() != "bad", "the secret of the wrap");
                Layered::new(RecordingLayer("second", Arc::clone(&second)), store)
            })
            .route(|asked: &Asked<'_>| match &*asked.name() {
                "routed" => stagecoach::extend::Routing::octets("by a route"),
                _ => stagecoach::extend::Routing::Pass,
            })
    });
    assert_eq!(served.read("routed"), b"by a route");
    assert_eq!(*notes.lock().unwrap(), [""; 0]);
    served.still_serves();
    assert_eq!(*notes.lock().unwrap(), ["first", "second"]);
    served.leaves_unanswered("bad");
    served.still_serves();
}

#[test]
fn a_shared_store_is_served_unchanged() {
    let kept: Arc<dyn Store> = Arc::new(Memory::default());
    let served = Extended::start(move |builder| builder.store(kept));
    let mut client = served.client();
    client.send(&wrq("config", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, FILE));
    client.expect_ack(1);
    assert_eq!(served.read("config"), FILE);
}

#[test]
fn a_negotiator_sees_name_store_and_change_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
    let directory = stagecoach::store::Directory::open(root.path(), Default::default()).unwrap();
    let served = Extended::start(move |builder| {
        let negotiator = move |asked: &stagecoach::extend::Asked<'_>, found: &Found| {
            let modified = found.source.as_ref().and_then(Source::modified);
            let is_open = found.store.open(&found.name).is_ok();
            let seen = format!("{} {is_open} {}", found.name, modified == Some(changed));
            asked.option("x-seen").map(|_| Grant::new("x-seen", seen)).into_iter().collect()
        };
        builder
            .store(directory)
            .wrap_store(|_, store| Layered::new(RecordingLayer("", Arc::default()), store))
            .negotiator(stagecoach::extend::NegotiatorStep::from_fn(negotiator))
    });
    let mut client = served.client();
    client.send(&rrq("file", "octet", &[("x-seen", "1")]));
    let oack = client.expect_oack();
    assert!(format!("{oack:?}").contains("file true true"), "{oack:?}");
}

#[test]
fn a_layer_that_changes_nothing_changes_no_refusal() {
    let served = Extended::start(|builder| {
        builder.wrap_store(|_, store| Layered::new(RecordingLayer("", Arc::default()), store))
    });
    let missing = client::get(served.address, "missing", client::Ask::PLAIN, |_, _| {});
    assert!(matches!(missing, Err(Failed::Refused { code: 1, .. })), "{missing:?}");
}

#[test]
fn a_kept_partial_upload_passes_the_layers() {
    let served = Extended::start(|builder| {
        let mut settings = Settings::default();
        settings.on_abort = OnAbort::Keep;
        let quota = Quota(Arc::default());
        builder.settings(settings).wrap_store(move |_, store| Layered::new(quota.clone(), store))
    });
    let mut client = served.client();
    client.send(&wrq("half", "octet", &[]));
    client.expect_ack(0);
    client.send(&data(1, &[7; 512]));
    client.expect_ack(1);
    client.send(&error(0, "never mind"));
    served.settle();
    let kept = Name::of_partial(&name("of-127.0.0.1-half")).unwrap();
    assert_eq!(served.store.get(&kept).map(|octets| octets.len()), Some(512));
}
