//! Runs real clients against the real daemon: all options of each client, with files of difficult
//! sizes, compared octet by octet.
//!
//! A cell is one run of one client. All cells run, even if some fail. The test prints the table of
//! cells at the end, keeps it in `target/tmp/interop.txt`, and fails if any cell is wrong. A known
//! fault of a client is a [`Quirk`](clients::Quirk): the test expects the fault, fails once the
//! fault is gone, and `docs/interop.md` has the proof.

mod cells;
mod clients;
mod run;
mod table;

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use cells::Cell;
use common::content::{netascii_text, to_netascii};
use run::Fixture;

#[test]
fn every_client_reads_and_writes_what_it_asks_for() {
    clients::require_all();
    let fixture = Fixture::set();
    let cells = cells::transfers();
    assert!(cells.len() >= 300, "several hundred cells, not {}", cells.len());
    check_results("transfers", &fixture, &cells);
}

#[test]
fn every_client_is_told_why_it_is_refused() {
    clients::require_all();
    let fixture = Fixture::set();
    check_results("refusals", &fixture, &cells::refusals());
}

/// Checks that the texts split every pair. Otherwise the cells above would prove little.
#[test]
fn texts_tear_pairs_apart_at_the_ends_of_blocks() {
    for blksize in [8, 512, 1428] {
        let wire = to_netascii(&netascii_text(20_000, blksize));
        let ends = wire.chunks_exact(blksize).map(|block| block[blksize - 1]);
        let (blocks, torn) = (ends.len(), ends.filter(|&octet| octet == b'\r').count());
        assert!(torn * 3 > blocks, "only {torn} of {blocks} blocks of {blksize} end within a pair");
        for pair in [b"\r\n", b"\r\0"] {
            let whole = wire.windows(2).filter(|octets| octets == pair).count();
            assert!(whole > 10, "{pair:?} comes {whole} times");
        }
        assert!(wire.iter().any(|&octet| octet >= 0x80) && wire.ends_with(b"\r\0"));
    }
}

fn check_results(name: &str, fixture: &Fixture, cells: &[Cell]) {
    let mut results = fixture.run_all(cells);
    results.extend(fixture.check_leftovers());
    let table = table::draw(cells, &results);
    println!("{table}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interop-{name}.txt"));
    fs::write(&path, &table).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let failed: Vec<_> = results.iter().filter(|result| result.wrong.is_some()).collect();
    assert!(failed.is_empty(), "{} of {} cells failed; see the table", failed.len(), results.len());
}
