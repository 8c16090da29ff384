//! Many transfers at once on one thread, each with a state machine and a socket.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::super::exchange::{Finished, Local, OnRefusal, exchange};
use super::report::{Record, Report};
use super::{Bench, Work};
use crate::daemon::raise_open_files;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::Slab;

impl Bench {
    /// Runs all transfers, as many of them at the same time as the user wants. Failures of
    /// transfers are in the report.
    pub(super) fn put_load(&self, name: &[u8]) -> Result<Report, String> {
        let server = self.to.addresses()?[0];
        let what = match (self.work, &self.check) {
            (Work::Put, _) => What::generated(self.size()),
            (_, Some(path)) => {
                let octets = std::fs::read(path);
                let octets = octets.map_err(|error| format!("{} can't be read: {error}", path.display()))?;
                What::Expected(octets.into())
            }
            _ => What::Any,
        };
        // With fewer open files some transfers fail, and the report says why.
        let _ = raise_open_files();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("nothing can be sent from here: {error}"))?;
        let transfers = self.transfers.unwrap_or(1);
        let at_once = self.concurrency.unwrap_or(1).min(transfers);
        let began = Instant::now();
        // Unconstrained: all transfers are one task to tokio, whose budget is 128 operations a
        // turn. With ten thousand transfers at once, most polls would be wasted.
        let record = runtime.block_on(tokio::task::unconstrained(async {
            let transfers =
                stream::iter(0..transfers).map(|number| self.transfer(server, name, number, &what));
            let mut ended = pin!(transfers.buffer_unordered(at_once));
            let mut record = Record::default();
            while let Some(finished) = ended.next().await {
                record.add(self.work, finished);
            }
            record
        }));
        Ok(Report::new(self.work, server, at_once, began.elapsed(), record))
    }

    /// Runs one transfer. The error is the reason why it could not begin.
    async fn transfer(
        &self,
        server: SocketAddr,
        name: &[u8],
        number: usize,
        what: &What,
    ) -> Result<Finished, String> {
        let (request, timeouts) = (self.request(name, number)?, self.client.timeouts());
        let mut payload = Payload { what: what.clone(), done: 0 };
        // A load is for a server that is running: a refusal counts as a failure.
        let finished = exchange(server, request, timeouts, OnRefusal::End, &mut payload).await;
        finished.map_err(|error| error.to_string())
    }
}

/// The local file of one transfer.
struct Payload {
    what: What,
    /// Octets received or sent so far.
    done: u64,
}

/// What the file of each transfer is.
#[derive(Clone)]
enum What {
    /// Any octets are right.
    Any,
    /// Exactly these octets are expected.
    Expected(Rc<[u8]>),
    /// A file of this size that repeats these octets.
    Generated { size: u64, pattern: Bytes },
}

impl What {
    /// The same octets in every run, which no disk can compress.
    fn generated(size: u64) -> Self {
        let mut pattern = vec![0; limits::SLAB_OCTETS];
        fastrand::Rng::with_seed(0).fill(&mut pattern);
        Self::Generated { size, pattern: pattern.into() }
    }
}

fn differs() -> Fault {
    Fault::new(Failure::Io, "what came is not what --check has")
}

impl Local for Payload {
    fn fetch(&mut self, octets: usize) -> Result<Slab, Fault> {
        let What::Generated { size, pattern } = &self.what else { return Err(Failure::Internal.into()) };
        let left = usize::try_from(size - self.done).unwrap_or(usize::MAX);
        let octets = octets.min(left).min(pattern.len());
        self.done += octets as u64;
        Ok(Slab { bytes: pattern.slice(..octets), end: octets == left })
    }

    fn store(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if let What::Expected(all) = &self.what {
            let from = usize::try_from(self.done).unwrap_or(usize::MAX);
            if all.get(from..).is_none_or(|rest| !rest.starts_with(octets)) {
                return Err(differs());
            }
        }
        self.done += octets.len() as u64;
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Fault> {
        match &self.what {
            What::Expected(all) if self.done != all.len() as u64 => Err(differs()),
            _ => Ok(()),
        }
    }
}
