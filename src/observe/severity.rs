//! The level of a log line: what the operator has to do about it.

use slog::Level;

use super::Report;
use crate::error::Failure;
use crate::transfer::Outcome;
use crate::wire::Direction;

/// The level of an ended transfer's line. docs/log.md has the table, and decision 19 the reasons.
pub(super) fn of_transfer(report: &Report) -> Level {
    match report.outcome {
        // The line about the limit is enough.
        Outcome::Failed(Failure::Busy) | Outcome::Outage(_) if report.limit.is_some() => Level::Debug,
        Outcome::Failed(_) if report.limit.is_some() => Level::Info,
        Outcome::Failed(failure) => of_failure(failure, &report.name),
        // The operator is ending the server.
        Outcome::Outage(Failure::ShuttingDown) => Level::Info,
        Outcome::Outage(_) => Level::Error,
        Outcome::Unanswered | Outcome::TimedOut => Level::Warning,
        // Before anything of the file has arrived, the client may not be reachable at all.
        Outcome::PeerGone if report.tally.octets > 0 => Level::Info,
        Outcome::PeerGone => Level::Warning,
        Outcome::Complete if is_truncated(report) => Level::Warning,
        Outcome::Complete
        | Outcome::Unconfirmed
        | Outcome::Declined { .. }
        | Outcome::PeerAborted { .. }
        | Outcome::Superseded => Level::Info,
    }
}

fn of_failure(failure: Failure, name: &str) -> Level {
    match failure {
        Failure::Io | Failure::Internal | Failure::Busy | Failure::DiskFull => Level::Error,
        Failure::NotFound if is_probe(name) => Level::Info,
        Failure::NotFound | Failure::Forbidden | Failure::NotRegular | Failure::Changed => Level::Warning,
        _ => Level::Info,
    }
}

/// Whether an upload differs from the size that its client announced.
pub(super) fn is_truncated(report: &Report) -> bool {
    report.direction == Direction::Write && report.differs_from_announced()
}

/// Whether the line of an upload shows the announced size.
pub(super) fn has_announced(report: &Report) -> bool {
    let is_written = matches!(report.outcome, Outcome::Complete | Outcome::Unconfirmed);
    is_truncated(report) && (is_written || report.tally.octets > 0)
}

/// Whether the name is one that boot loaders derive from their machine, and try until one exists:
/// from the hardware address (`01-88-99-aa-bb-cc-dd`), the UUID, or the address (`C0A8025B` to
/// `C`).
fn is_probe(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let (word, _) = last.split_once('.').filter(|(word, _)| !word.is_empty()).unwrap_or((last, ""));
    let word = last.strip_prefix("grub.cfg-").unwrap_or(word);
    let is_hex = word.bytes().all(|octet| matches!(octet, b'-' | b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F'));
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    let is_address = matches!(lengths[..], [1..=8]) && !word.bytes().any(|octet| octet.is_ascii_lowercase());
    let is_hardware_address = (6..=7).contains(&lengths.len()) && lengths.iter().all(|length| *length == 2);
    is_hex && (is_address || is_hardware_address || lengths == [8, 4, 4, 4, 12])
}

#[cfg(test)]
mod tests;
