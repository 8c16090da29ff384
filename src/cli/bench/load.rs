//! Many transfers at once on one thread, each with a state machine and a socket.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::super::exchange::{Finished, Local, OnRefusal, Scratch, exchange_with};
use super::report::{Record, Report};
use super::work::Work;
use crate::error::{Failure, Fault};
use crate::limits;
use crate::store::Slab;
use crate::transfer::Timeouts;
use crate::wire::Request;

pub(super) struct Load<'a> {
    pub(super) server: SocketAddr,
    pub(super) work: Work,
    pub(super) timeouts: Timeouts,
    pub(super) payload: Payload,
    /// The request of the transfer with this number.
    pub(super) request: &'a dyn Fn(usize) -> Result<Request<'static>, String>,
}

impl Load<'_> {
    /// Runs all transfers, `at_once` of them at the same time.
    ///
    /// # Errors
    /// No runtime can be made. Failures of transfers are in the report.
    pub(super) fn run(&self, transfers: usize, at_once: usize) -> io::Result<Report> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (next, scratch) = (Cell::new(0), Scratch::default());
        let record = RefCell::new(Record::default());
        let began = Instant::now();
        // Unconstrained: all lanes are one task to tokio, whose budget is 128 operations a turn.
        // With ten thousand lanes, most polls would be wasted.
        runtime.block_on(tokio::task::unconstrained(async {
            let lanes: FuturesUnordered<_> = (0..at_once)
                .map(|_| async {
                    while next.get() < transfers {
                        let number = next.replace(next.get() + 1);
                        let finished = self.transfer(number, &scratch).await;
                        record.borrow_mut().add(self.work, finished);
                    }
                })
                .collect();
            lanes.collect::<()>().await;
        }));
        Ok(Report::new(self.work, self.server, at_once, began.elapsed(), record.into_inner()))
    }

    /// Runs one transfer. The error is the reason why it could not begin.
    async fn transfer(&self, number: usize, scratch: &Scratch) -> Result<Finished, String> {
        let (request, mut payload) = ((self.request)(number)?, self.payload.clone());
        // A load is for a server that is running: a refusal counts as a failure.
        let on_refusal = OnRefusal::End;
        let finished =
            exchange_with(self.server, request, self.timeouts, on_refusal, &mut payload, scratch).await;
        finished.map_err(|error| error.to_string())
    }
}

/// The local file of one transfer.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    what: What,
    /// Octets received or sent so far.
    done: u64,
}

#[derive(Debug, Clone)]
enum What {
    /// Any octets are right.
    Any,
    /// Exactly these octets are expected.
    Expected(Rc<[u8]>),
    /// A file of this size that repeats these octets.
    Generated { size: u64, pattern: Bytes },
}

impl Payload {
    pub(super) fn any() -> Self {
        Self { what: What::Any, done: 0 }
    }

    pub(super) fn expected(octets: Vec<u8>) -> Self {
        Self { what: What::Expected(octets.into()), done: 0 }
    }

    /// The same octets in every run, which no disk can compress.
    pub(super) fn generated(size: u64) -> Self {
        let mut pattern = vec![0; limits::SLAB_OCTETS];
        fastrand::Rng::with_seed(0).fill(&mut pattern);
        Self { what: What::Generated { size, pattern: pattern.into() }, done: 0 }
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
