//! Sources that are no actors, and their transfers when a source panics.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::client::{self, Failed};
use common::engine::TIMEOUT;
use common::extended::Extended;
use common::raw::{ack, rrq};
use stagecoach::error::{Failure, Fault};
use stagecoach::store::{Name, Sink, Slab, Source, Store};

const OCTETS: usize = 200_000;

fn content() -> Vec<u8> {
    (0..OCTETS).map(|at| (at % 251) as u8).collect()
}

/// Panics in the fetch of the second slab, for one name.
#[derive(Debug)]
struct PanickingSource(bool);

impl Store for PanickingSource {
    fn open(&self, name: &Name) -> Result<Arc<dyn Source>, Fault> {
        Ok(Arc::new(Self(name.to_string() == "bad")))
    }

    fn create(&self, _: &Name, _: Option<u64>) -> Result<Box<dyn Sink>, Fault> {
        Err(Failure::ReadOnly.into())
    }
}

impl Source for PanickingSource {
    fn size(&self) -> Option<u64> {
        Some(OCTETS as u64)
    }

    fn path(&self) -> &str {
        "fragile"
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Slab, Fault> {
        assert!(!self.0 || offset == 0, "the secret of the source");
        let (start, all) = (offset as usize, content());
        let stop = all.len().min(start + length);
        Ok(Slab::new(Bytes::copy_from_slice(&all[start..stop]), stop == all.len()))
    }
}

#[test]
fn a_source_that_panics_ends_its_own_transfer_and_no_other() {
    let served = Extended::start(|builder| builder.store(PanickingSource(false)));
    let mut others: Vec<_> = (0..10).map(|_| served.client()).collect();
    for client in &mut others {
        client.send(&rrq("good", "octet", &[("blksize", "8192"), TIMEOUT]));
        client.expect_oack();
        client.send(&ack(0));
        client.expect_data(1);
    }
    for _ in 0..3 {
        let refused =
            client::get(served.address, "bad", client::Ask::window(1428, 8), |_, _| {}).unwrap_err();
        assert!(
            matches!(&refused, Failed::Refused { code: 0, text } if text == "Internal error"),
            "{refused:?}"
        );
    }
    for client in &mut others {
        let mut octets = content()[..8192].to_vec();
        for block in 1..=(OCTETS / 8192) as u16 {
            client.send(&ack(block));
            octets.extend(client.expect_data(block + 1));
        }
        client.send(&ack((OCTETS / 8192) as u16 + 1));
        assert!(octets == content());
    }
    let facts = served.settle();
    assert_eq!(facts.crashed.len(), 3);
    assert!(facts.crashed[0].ends_with("the secret of the source"), "{:?}", facts.crashed);
}
