use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slog::{Drain, Never, OwnedKVList, Record};
use tokio::time::interval;

use super::*;
use crate::observe::test_support::report;

#[derive(Clone, Default)]
struct Queue {
    waiting: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Drain for Queue {
    type Ok = ();
    type Err = Never;

    fn log(&self, _: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        self.all.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(waiting, Ordering::Relaxed);
        Ok(())
    }
}

/// A long but realistic line: a name of 1024 octets, partly escaped.
const LINE_OCTETS: usize = 2048;

#[test]
fn a_dump_of_all_transfers_fits_in_the_log_queue() {
    let queue = Queue::default();
    let transfer = |id| LiveTransfer { report: report(id), round_trip: None, windowsize: None };
    let live: Vec<_> = (1..=limits::TRANSFERS_MAX_DEFAULT as u64).map(transfer).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let emptied = queue.clone();
    runtime.block_on(async {
        tokio::spawn(async move {
            // The log's thread is slower on a busy machine.
            let mut ticks = interval(limits::LOG_REST * 2);
            loop {
                ticks.tick().await;
                emptied.waiting.store(0, Ordering::Relaxed);
            }
        });
        dump(&Logger::root(queue.clone(), o!()), &live, Tallied::default(), &[]).await;
    });
    assert_eq!(queue.all.load(Ordering::Relaxed), live.len() + 1);
    let most = queue.most.load(Ordering::Relaxed);
    assert!(most * LINE_OCTETS < limits::LOG_OCTETS_QUEUED / 2, "{most} lines at once");
}
