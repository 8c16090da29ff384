//! Logs live transfers and counters.

use slog::{Logger, info, o};
use tokio::time::sleep;

use crate::actors::LiveTransfer;
use crate::limits;
use crate::observe::{Label, Tallied, TalliedReason};

/// Logs a line for each live transfer, one with the counters, and one for each reason of a failure.
/// The lines come in batches, so that the log's queue has room for them and other tasks on this
/// thread run in between.
pub(super) async fn dump(log: &Logger, live: &[LiveTransfer], counts: Tallied, reasons: &[TalliedReason]) {
    for (number, lines) in live.chunks(limits::DUMP_LINES_AT_ONCE).enumerate() {
        if number > 0 {
            sleep(limits::DUMP_PAUSE).await;
        }
        lines.iter().for_each(|transfer| log_transfer(log, transfer));
    }
    // The octets of live transfers are added here, since counters get them only when a transfer
    // ends.
    let octets =
        live.iter().fold(counts.octets, |sum, transfer| sum.saturating_add(transfer.report.tally.octets));
    info!(log, "counters"; "live" => live.len(), "complete" => counts.complete, "failed" => counts.failed,
        "outages" => counts.outages, "refused" => counts.refused, "dropped" => counts.dropped, "crashed" => counts.crashed,
        "misbehaved" => counts.misbehaved, "limited" => counts.limited, "octets" => octets);
    for TalliedReason { counter, why, count, .. } in reasons {
        info!(log, "counted"; "counter" => counter, "count" => count, "why" => why);
    }
}

fn log_transfer(log: &Logger, transfer: &LiveTransfer) {
    let report = &transfer.report;
    let label = report.label.as_ref().map(Label::to_string);
    let log = label.map_or_else(|| log.clone(), |label| log.new(o!("label" => label)));
    let size = report.size.or(report.announced).map_or_else(|| "-".to_owned(), |octets| octets.to_string());
    let asked = if report.asked.is_empty() { "-" } else { &report.asked };
    info!(log, "live {}", report.direction; "transfer" => report.id.0, "peer" => %report.peer, "local" => %report.local,
        "name" => &report.name, "mode" => &report.mode, "asked" => asked, "octets" => transfer.report.tally.octets,
        "size" => size, "seconds" => format_args!("{:.3}", report.duration.as_secs_f64()));
}

#[cfg(test)]
mod tests;
