//! Reads a daemon's log: its panics, and the ends of the transfers in which actors panicked.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// The counts of a whole log.
#[derive(Debug, Default)]
pub(crate) struct CrashLog {
    /// Panics, by the actor that panicked.
    pub(crate) panics: BTreeMap<String, usize>,
    /// Panics of sessions, readers and writers, by transfer.
    hits: BTreeMap<u64, usize>,
    /// Sessions that replaced a session.
    pub(crate) replaced: usize,
    /// The transfers of each peer.
    transfers: HashMap<SocketAddr, Vec<u64>>,
    /// Completed uploads, by name.
    pub(crate) uploads: HashMap<String, usize>,
    /// Transfers with more than one report.
    pub(crate) reported_again: Vec<u64>,
    /// Lines that report lost log lines. With any such line the other counts are incomplete.
    pub(crate) lost_lines: Vec<String>,
}

impl CrashLog {
    pub(crate) fn of(log: &str) -> Self {
        let mut crash_log = Self::default();
        log.lines().for_each(|line| crash_log.read(line));
        crash_log
    }

    /// Panics in all transfers of a peer.
    pub(crate) fn hits(&self, peer: SocketAddr) -> usize {
        let transfers = self.transfers.get(&peer).into_iter().flatten();
        transfers.filter_map(|transfer| self.hits.get(transfer)).sum()
    }

    /// Transfers with a panic and without a report.
    pub(crate) fn unreported(&self) -> Vec<u64> {
        let reported: std::collections::HashSet<_> = self.transfers.values().flatten().collect();
        self.hits.keys().filter(|transfer| !reported.contains(transfer)).copied().collect()
    }

    /// Peers with more than one transfer: the listener forgot the first one, or the request arrived
    /// twice.
    pub(crate) fn peers_with_several(&self) -> usize {
        self.transfers.values().filter(|transfers| transfers.len() > 1).count()
    }

    pub(crate) fn panics_in(&self, actors: &[&str]) -> usize {
        actors.iter().filter_map(|actor| self.panics.get(*actor)).sum()
    }

    fn read(&mut self, line: &str) {
        if line.contains("logger dropped messages") || line.contains("lines of the log were lost") {
            self.lost_lines.push(line.to_owned());
        }
        // `2026-11-22T18:00:00.123Z INFO message, key: value, key: value`
        let Some(record) = line.splitn(3, ' ').nth(2) else { return };
        let (message, fields) = record.split_once(", ").unwrap_or((record, ""));
        let transfer = field(fields, "transfer").and_then(|id| id.parse::<u64>().ok());
        match (message, transfer) {
            ("session replaced", Some(_)) => self.replaced += 1,
            (message, transfer) if message.ends_with(" panicked") => {
                // `chaos at session.handle (src/...)`
                let text = field(fields, "panic").unwrap_or_default().trim_start_matches('"');
                let point = text.strip_prefix("chaos at ").unwrap_or(text);
                let actor = point.split('.').next().unwrap_or(point);
                *self.panics.entry(actor.to_owned()).or_default() += 1;
                if let Some(transfer) = transfer {
                    *self.hits.entry(transfer).or_default() += 1;
                }
            }
            (message, Some(transfer)) if message.starts_with("read ") || message.starts_with("write ") => {
                self.read_end(message, transfer, fields);
            }
            _ => {}
        }
    }

    fn read_end(&mut self, message: &str, transfer: u64, fields: &str) {
        let Some(peer) = field(fields, "peer").and_then(|peer| peer.parse().ok()) else { return };
        let transfers = self.transfers.entry(peer).or_default();
        if transfers.contains(&transfer) {
            self.reported_again.push(transfer);
        }
        transfers.push(transfer);
        if message == "write complete" {
            *self.uploads.entry(field(fields, "name").unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
}

/// The value of a field. Clients have no part in the fields before the wanted ones, so no client
/// can forge a field.
fn field<'a>(fields: &'a str, key: &str) -> Option<&'a str> {
    fields.split(", ").find_map(|field| field.strip_prefix(key)?.strip_prefix(": "))
}
