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
        Outcome::PeerGone if has_begun(report) => Level::Info,
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

/// Whether anything of the file has arrived. Before that, the client may not be reachable at all.
fn has_begun(report: &Report) -> bool {
    report.tally.octets > 0
}

/// Whether an upload differs from the size that its client announced.
pub(super) fn is_truncated(report: &Report) -> bool {
    report.direction == Direction::Write && report.differs_from_announced()
}

/// Whether the line of an upload shows the announced size: only if all or a part of the upload was
/// written.
pub(super) fn has_announced(report: &Report) -> bool {
    let is_written = matches!(report.outcome, Outcome::Complete | Outcome::Unconfirmed);
    is_truncated(report) && (is_written || has_begun(report))
}

/// Whether the name is one that boot loaders derive from their machine. They ask for several such
/// names until one exists: the hardware address (`pxelinux.cfg/01-88-99-aa-bb-cc-dd`,
/// `grub.cfg-01-88-99-aa-bb-cc-dd`), the UUID, the address in hexadecimal with fewer and fewer
/// digits (`C0A8025B` to `C`), and with a suffix (`C0A8025B.img`).
fn is_probe(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let (word, _) = last.split_once('.').filter(|(word, _)| !word.is_empty()).unwrap_or((last, ""));
    let of_grub = last.strip_prefix("grub.cfg-").unwrap_or(word);
    is_hardware_address(of_grub) || is_uuid(of_grub) || is_hex_address(of_grub)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_hexdigit())
}

fn is_hex_address(word: &str) -> bool {
    (1..=8).contains(&word.len()) && word.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'))
}

fn is_hardware_address(word: &str) -> bool {
    (6..=7).contains(&word.split('-').count()) && word.split('-').all(|part| part.len() == 2 && is_hex(part))
}

fn is_uuid(word: &str) -> bool {
    word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && word.split('-').all(is_hex)
}

#[cfg(test)]
mod tests;
