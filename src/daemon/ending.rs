//! How a server ends.

use std::pin::pin;
use std::time::Duration;

use slog::{info, warn};
use tokio::task::yield_now;
use tokio::time::{Instant, interval, sleep};

use super::handle::{Order, Stage};
use super::server::Server;
use crate::limits;

/// The log names an actor that takes longer than this to stop.
const AWAITED_NAMED_AFTER: Duration = Duration::from_secs(1);

/// What to do with the extensions' actors when the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtensionActors {
    /// Each has the time to stop that its specification gives it.
    Awaited,
    Terminated,
}

impl Server {
    pub(super) async fn end(&mut self, how: Result<(), String>, extensions: ExtensionActors) {
        info!(self.log, "stopping"; "transfers" => self.peer_table.unfinished());
        let each_max = match extensions {
            ExtensionActors::Awaited => Duration::MAX,
            ExtensionActors::Terminated => Duration::ZERO,
        };
        self.stage.send_replace(Stage::Stopping {
            extensions_within: self.supervisor.extensions_allowed(each_max),
        });
        self.workers.set_stopping();
        match extensions {
            ExtensionActors::Awaited => self.supervisor.stop(),
            ExtensionActors::Terminated => self.supervisor.stop_now(),
        }
        self.tree_ended().await;
        // An actor on this thread may still handle the last facts.
        yield_now().await;
        self.passed.clear();
        self.service.flush();
        let counts = self.counters.tallied();
        info!(self.log, "stopped"; "complete" => counts.complete, "failed" => counts.failed,
            "outages" => counts.outages, "refused" => counts.refused, "dropped" => counts.dropped,
            "crashed" => counts.crashed, "misbehaved" => counts.misbehaved, "limited" => counts.limited,
            "octets" => counts.octets);
        self.log_lost_facts();
        self.stage.send_replace(Stage::Ended(how));
    }

    /// Waits until all actors have stopped. The server's own actors share a time limit, after which
    /// they end with their arbiters. Each actor of an extension has the time in its specification,
    /// unless an order ends the waiting.
    async fn tree_ended(&mut self) {
        let mut ended = pin!(self.supervisor.ended());
        let mut own_overdue = pin!(sleep(limits::SERVER_STOP_WITHIN));
        let mut own_ended = false;
        let mut looks = interval(AWAITED_NAMED_AFTER / 4);
        let mut named = None;
        loop {
            tokio::select! {
                _ = &mut ended => break,
                () = &mut own_overdue, if !own_ended => {
                    own_ended = true;
                    self.workers.end(&self.service);
                }
                // Other orders have no effect any more.
                order = self.orders.recv() => if order == Some(Order::StopNow) {
                    info!(self.log, "the server no longer waits for actors of extensions");
                    self.supervisor.stop_now();
                },
                _ = looks.tick() => self.name_awaited(&mut named),
            }
        }
        if !own_ended {
            self.workers.end(&self.service);
        }
    }

    /// If the wait for an actor takes long, logs its name, once.
    fn name_awaited(&self, named: &mut Option<Instant>) {
        let Some((name, since)) = self.supervisor.awaited() else { return };
        if *named != Some(since) && since.elapsed() >= AWAITED_NAMED_AFTER {
            *named = Some(since);
            info!(self.log, "waiting for the {name} to stop");
        }
    }

    pub(super) fn log_lost_facts(&self) {
        let lost = self.lost_facts();
        if lost > 0 {
            warn!(self.log, "observers did not hear all facts: the observing actor needs a larger mailbox, or more time to stop";
                "lost" => lost, "by" => self.service.losers());
        }
    }
}
