//! The whole program `stagecoach` with all of its flags, and with an upload quota for each client:
//! `cargo run --example quota -- --root DIRECTORY --port 9069`.
//!
//! Signals work as in the program: SIGTERM drains, SIGHUP opens the log again, and systemd is
//! informed. `QUOTA_OCTETS` sets the quota of each client. Refused clients get the text in this
//! file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use stagecoach::cli;
use stagecoach::error::Fault;
use stagecoach::store::{CheckedSink, Layer, Layered, Name, Sink, SinkEnd};
use stagecoach::wire::ErrorCode;

/// The octets that one client may still upload.
#[derive(Debug, Clone)]
struct Quota {
    client: IpAddr,
    octets_max: u64,
    used: Arc<Mutex<HashMap<IpAddr, u64>>>,
}

impl Quota {
    fn take(&self, octets: u64) -> Result<(), Fault> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used.entry(self.client).or_default();
        if *used + octets > self.octets_max {
            let told = format!("{} of your {} octets are used", *used, self.octets_max);
            return Err(Fault::refusal(ErrorCode::DISK_FULL, &told));
        }
        *used += octets;
        Ok(())
    }

    /// Returns the octets of an upload that left nothing behind.
    fn give_back(&self, octets: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = used.get_mut(&self.client) {
            *used = used.saturating_sub(octets);
        }
    }
}

impl Layer for Quota {
    fn created(&self, _: &Name, sink: Box<dyn Sink>) -> Result<Box<dyn Sink>, Fault> {
        let (taking, giving_back) = (self.clone(), self.clone());
        let sink = CheckedSink::new(sink, move |octets| taking.take(octets.len() as u64));
        Ok(Box::new(sink.at_end(move |end, octets| {
            if end == SinkEnd::Dropped {
                giving_back.give_back(octets);
            }
        })))
    }
}

fn main() -> ExitCode {
    let octets_max = std::env::var("QUOTA_OCTETS").ok().and_then(|octets| octets.parse().ok());
    let (octets_max, used) = (octets_max.unwrap_or(100_000_000), Arc::default());
    cli::main_extended(std::env::args_os(), move |builder| {
        builder.wrap_store(move |asked, store| {
            let quota = Quota { client: asked.peer.ip(), octets_max, used: Arc::clone(&used) };
            Layered::new(quota, store)
        })
    })
}
