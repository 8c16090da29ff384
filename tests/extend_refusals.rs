//! Refusals with a text of an extension, before a transfer and during a transfer: the client
//! receives the text.

mod common;

use std::sync::Arc;

use common::client::{self, Failed};
use common::extended::Extended;
use common::raw::{data, wrq};
use stagecoach::error::Fault;
use stagecoach::internals::limits::ERROR_TEXT_OCTETS_MAX;
use stagecoach::store::{Name, Sink, Slab, Source, Store};
use stagecoach::wire::ErrorCode;

/// A store that refuses with a text of its own. The name of the file says at which call.
#[derive(Debug)]
struct RefusingStore;

fn refusal() -> Fault {
    let long = "x".repeat(2 * ERROR_TEXT_OCTETS_MAX);
    Fault::refusal(ErrorCode::DISK_FULL, &format!("quota of\r\nboard 7 \u{fc}sed up: {long}"))
}

/// The text that a client receives: printable ASCII, cut to the length of an ERROR text.
fn expected_text() -> String {
    let long = "x".repeat(2 * ERROR_TEXT_OCTETS_MAX);
    let mut expected_text = format!("quota ofboard 7 sed up: {long}");
    expected_text.truncate(ERROR_TEXT_OCTETS_MAX);
    expected_text
}

#[test]
fn fault_texts_in_tests_match_those_on_the_wire() {
    assert_eq!(refusal().text_for_peer(), expected_text());
    assert!(refusal().detail.is_some_and(|detail| detail.len() > ERROR_TEXT_OCTETS_MAX));
}

impl Store for RefusingStore {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        if name.to_string() == "at-open" { Err(refusal()) } else { Ok(Arc::new(RefusingFile(name.clone()))) }
    }

    fn create(&self, name: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        if name.to_string() == "at-create" {
            Err(refusal())
        } else {
            Ok(Box::new(RefusingFile(name.clone())))
        }
    }
}

#[derive(Debug)]
struct RefusingFile(Name);

impl RefusingFile {
    fn step(&self, step: &str) -> Result<(), Fault> {
        if self.0.to_string() == step { Err(refusal()) } else { Ok(()) }
    }
}

impl Source for RefusingFile {
    fn size(&self) -> Option<u64> {
        None
    }

    fn path(&self) -> &str {
        "picky"
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        self.step(if offset == 0 { "at-first-fetch" } else { "at-fetch" })?;
        Ok(Slab::new(vec![7; length], offset > 1_000_000))
    }

    fn fetch_cached(&self, _: u64, _: usize) -> Result<Option<Slab>, Fault> {
        self.step("at-fetch-cached").map(|()| None)
    }
}

impl Sink for RefusingFile {
    fn path(&self) -> &str {
        "picky"
    }

    fn write(&mut self, _: &[u8]) -> Result<(), Fault> {
        self.step("at-write")
    }

    fn publish(self: Box<Self>) -> Result<(), Fault> {
        self.step("at-publish")
    }
}

#[test]
fn reads_get_the_text_of_the_refusing_store() {
    let served = Extended::start(|builder| builder.store(RefusingStore));
    for name in ["at-open", "at-fetch-cached", "at-first-fetch", "at-fetch"] {
        for ask in [client::Ask::PLAIN, client::Ask::window(1428, 8)] {
            let ended = client::get(served.address, name, ask, |_, _| {});
            let Err(Failed::Refused { code, text }) = ended else { panic!("{name}: {ended:?}") };
            assert_eq!((code, text), (3, expected_text()), "{name}");
        }
    }
}

#[test]
fn uploads_get_the_text_of_the_refusing_store() {
    let served = Extended::start(|builder| builder.store(RefusingStore));
    for name in ["at-create", "at-write", "at-publish"] {
        let mut client = served.client();
        client.send(&wrq(name, "octet", &[]));
        if name != "at-create" {
            client.expect_ack(0);
            client.send(&data(1, b"end"));
        }
        assert_eq!(client.expect_error(3), expected_text(), "{name}");
    }
}
