//! Runs the bodies of the fuzz targets over `fuzz/corpus/` and over generated octets, so that no
//! fixed bug comes back.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::path::Path;

/// Number of generated inputs for each target.
const MADE_UP: u64 = 4000;

/// Octets that depend on `number` alone.
fn octets(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = next() % 600;
    (0..length).map(|_| next() as u8).collect()
}

/// Runs `body` over the corpus of a target.
fn play(target: &str, body: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let kept: Vec<_> = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{directory:?}: {e}")).collect();
    assert!(!kept.is_empty(), "{directory:?} is empty");
    for entry in kept {
        let path = entry.unwrap().path();
        body(&fs::read(&path).unwrap());
    }
    (0..MADE_UP).for_each(|number| body(&octets(number)));
}

#[test]
fn packets() {
    play("packet", bodies::packet);
}

#[test]
fn requests() {
    play("request", bodies::request);
}

#[test]
fn options() {
    play("options", bodies::options);
}

#[test]
fn netascii() {
    play("netascii", bodies::netascii);
}

#[test]
fn machines() {
    play("machine", bodies::machine);
}
