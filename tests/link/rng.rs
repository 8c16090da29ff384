//! Random numbers that can be replayed.

use std::env;
use std::ops::RangeInclusive;
use std::thread;

/// SplitMix64: small, and the same on every machine and in every release.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    pub(crate) fn length(&mut self, range: RangeInclusive<usize>) -> usize {
        self.within(*range.start() as u64..=*range.end() as u64) as usize
    }

    /// True in `permille` of 1000 cases.
    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        self.next() % 1000 < permille
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.length(0..=choices.len() - 1)]
    }

    /// Another generator, so that one part's draws don't shift another's.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// Runs `test` for each seed, or for `STAGECOACH_SEED` alone, or for as many as `STAGECOACH_SEEDS`
/// says. A panic reports its seed. `name` is what `cargo test` is given to run the test.
pub(crate) fn for_each_seed(name: &str, seeds: u64, mut test: impl FnMut(u64)) {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds = number("STAGECOACH_SEEDS").unwrap_or(seeds);
    let (first, last) = number("STAGECOACH_SEED").map_or((0, seeds - 1), |seed| (seed, seed));
    for seed in first..=last {
        let reporter = ReportSeedOnPanic { name, seed };
        test(seed);
        drop(reporter);
    }
}

struct ReportSeedOnPanic<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for ReportSeedOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { name, seed } = self;
            eprintln!("seed {seed} failed; replay: STAGECOACH_SEED={seed} cargo test {name}");
        }
    }
}
