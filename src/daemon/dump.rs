//! What is live, as lines of the log.

use slog::{Logger, info, o};
use tokio::time::sleep;

use crate::actors::LiveTransfer;
use crate::limits;
use crate::observe::{Label, Tallied};

/// Writes a line for each transfer, and one with the counters. So many lines at a time, so that the log
/// has room for them, and so that whoever serves on this thread has a turn between.
pub(super) async fn dump(log: &Logger, live: &[LiveTransfer], counts: Tallied) {
    for (number, lines) in live.chunks(limits::DUMP_LINES_AT_ONCE).enumerate() {
        if number > 0 {
            sleep(limits::DUMP_PAUSE).await;
        }
        lines.iter().for_each(|transfer| log_transfer(log, transfer));
    }
    info!(log, "counters"; "live" => live.len(), "complete" => counts.complete, "failed" => counts.failed,
        "outages" => counts.outages, "refused" => counts.refused, "dropped" => counts.dropped, "crashed" => counts.crashed,
        "misbehaved" => counts.misbehaved, "octets" => counts.octets);
}

fn log_transfer(log: &Logger, transfer: &LiveTransfer) {
    let report = &transfer.report;
    let label = report.label.as_ref().map(Label::to_string);
    let log = label.map_or_else(|| log.clone(), |label| log.new(o!("label" => label)));
    info!(log, "live {}", report.direction; "transfer" => report.id.0, "peer" => %report.peer, "local" => %report.local,
        "name" => &report.name, "mode" => &report.mode, "octets" => transfer.octets);
}

#[cfg(test)]
mod tests;
