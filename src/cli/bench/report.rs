//! The report of a load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::Serialize;

use super::super::exchange::Finished;
use super::super::{Exit, values};
use super::Work;
use crate::limits;
use crate::transfer::Outcome;
use crate::wire::ErrorCode;

/// What is counted of each transfer.
#[derive(Debug, Default, Serialize)]
pub(super) struct Record {
    ok: u64,
    failed: u64,
    failures: BTreeMap<String, u64>,
    octets: u64,
    /// Packets that this end repeated.
    repeats: u64,
    /// Of the transfers that succeeded.
    #[serde(skip)]
    latencies: Vec<Duration>,
    #[serde(skip)]
    first_answers: Vec<Duration>,
    /// The lowest exit code among the failures.
    #[serde(skip)]
    exit: Option<Exit>,
}

impl Record {
    pub(super) fn add(&mut self, work: Work, finished: Result<Finished, String>) {
        let finished = match finished {
            Ok(finished) => finished,
            Err(reason) => return self.failed(reason, Exit::Failed),
        };
        self.octets += finished.tally.octets;
        self.repeats += finished.tally.repeats;
        let is_done = match (work, &finished.outcome) {
            (Work::Get | Work::Put, outcome) => *outcome == Outcome::Complete,
            (Work::Miss, Outcome::PeerAborted { code, .. } | Outcome::Declined { code, .. }) => {
                *code == ErrorCode::FILE_NOT_FOUND
            }
            (Work::Miss, Outcome::Complete) => {
                return self.failed("the file is there".to_owned(), Exit::Failed);
            }
            (Work::Miss, _) => false,
        };
        if is_done {
            self.ok += 1;
            self.latencies.push(finished.took);
            self.first_answers.extend(finished.answered_after);
        } else {
            self.failed(finished.reason(), finished.exit());
        }
    }

    fn failed(&mut self, reason: String, exit: Exit) {
        self.failed += 1;
        self.exit = Some(self.exit.map_or(exit, |least| least.min(exit)));
        let is_counted =
            self.failures.contains_key(&reason) || self.failures.len() < limits::BENCH_REASONS_MAX;
        let reason = if is_counted { reason } else { "any other reason".to_owned() };
        *self.failures.entry(reason).or_default() += 1;
    }
}

/// The report of a load. The fields are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    what: &'static str,
    server: SocketAddr,
    concurrency: usize,
    #[serde(flatten)]
    record: Record,
    seconds: f64,
    transfers_per_s: f64,
    /// Megabytes of 1000000 octets.
    mb_per_s: f64,
    /// From the request to the end of the transfer.
    latency_us: Percentiles,
    /// From the request to the server's first packet.
    first_answer_us: Percentiles,
    /// Processor time of this program. If it is close to `seconds`, the client was the limit.
    client_cpu_seconds: f64,
}

/// In microseconds; 0 without any value.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Percentiles {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Report {
    pub(super) fn new(
        work: Work,
        server: SocketAddr,
        concurrency: usize,
        took: Duration,
        mut record: Record,
    ) -> Self {
        // The clock may not have advanced: avoids a division by zero.
        let seconds = took.as_secs_f64().max(1e-6);
        Self {
            what: values::show_word(&work),
            server,
            concurrency,
            seconds,
            transfers_per_s: record.ok as f64 / seconds,
            mb_per_s: record.octets as f64 / seconds / 1e6,
            latency_us: Percentiles::of(&mut record.latencies),
            first_answer_us: Percentiles::of(&mut record.first_answers),
            client_cpu_seconds: cpu_seconds(),
            record,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        self.record.exit.unwrap_or(Exit::Done)
    }

    pub(super) fn json(&self) -> String {
        // Serialization fails only for map keys that are not strings, and there are none.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub(super) fn sentence(&self) -> String {
        let Self { what, seconds, transfers_per_s, latency_us, .. } = self;
        let Record { ok, failed, failures, .. } = &self.record;
        let rate = values::show_octets((self.mb_per_s * 1e6) as u64);
        let [p50, p99] = [latency_us.p50, latency_us.p99].map(|us| us as f64 / 1e3);
        let mut sentence = format!(
            "{what}: {ok} succeeded in {seconds:.2} s, {transfers_per_s:.1}/s, {rate}/s, p50 {p50:.1} ms, p99 {p99:.1} ms; {failed} failed"
        );
        if let Some((reason, number)) = failures.iter().max_by_key(|(_, number)| **number) {
            sentence.push_str(&format!(", {number} of them: {reason}"));
        }
        sentence
    }
}

impl Percentiles {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0, |time| time.as_micros() as u64)
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// Processor time of this process so far; 0 if the kernel doesn't report it.
fn cpu_seconds() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0.0 };
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

#[cfg(test)]
mod tests;
