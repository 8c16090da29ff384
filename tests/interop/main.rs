//! Real clients against the real daemon: what each can ask for, with files of awkward sizes, compared octet by octet.
//!
//! A cell is one run of one client. All cells run whatever the others do, the table of them is printed at the end (and kept in
//! `target/tmp/interop.txt`), and any cell that is not as it should be fails the test. What a client itself does wrong
//! is a [`Quirk`](clients::Quirk): expected, checked to be still so, and proved in `docs/interop.md`.

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
use run::Stage;

#[test]
fn every_client_reads_and_writes_what_it_asks_for() {
    clients::require_all();
    let stage = Stage::set();
    let cells = cells::transfers();
    assert!(cells.len() >= 300, "several hundred cells, not {}", cells.len());
    judge("transfers", &stage, &cells);
}

#[test]
fn every_client_is_told_why_it_is_refused() {
    clients::require_all();
    let stage = Stage::set();
    judge("refusals", &stage, &cells::refusals());
}

/// The texts are as hard as they are said to be; else the cells above would prove little.
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

fn judge(name: &str, stage: &Stage, cells: &[Cell]) {
    let mut results = stage.run_all(cells);
    results.extend(stage.leavings());
    let table = table::draw(cells, &results);
    println!("{table}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interop-{name}.txt"));
    fs::write(&path, &table).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let failed: Vec<_> = results.iter().filter(|result| result.wrong.is_some()).collect();
    assert!(failed.is_empty(), "{} of {} cells failed; see the table", failed.len(), results.len());
}
