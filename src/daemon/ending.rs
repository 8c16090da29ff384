//! A server's end.

use std::pin::pin;
use std::time::Duration;

use slog::{info, warn};
use tokio::task::yield_now;
use tokio::time::{Instant, interval, sleep};

use super::handle::{Order, Stage};
use super::server::Server;
use crate::limits;

/// An actor that takes longer than this to stop is named in the log.
const AWAITED_NAMED_AFTER: Duration = Duration::from_secs(1);

/// What becomes of the actors that were added to a server that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guests {
    /// Each has the time that its specification gives it.
    Awaited,
    Terminated,
}

impl Server {
    pub(super) async fn end(&mut self, how: Result<(), String>, guests: Guests) {
        info!(self.log, "stopping"; "transfers" => self.peer_table.unfinished());
        let each_max = match guests {
            Guests::Awaited => Duration::MAX,
            Guests::Terminated => Duration::ZERO,
        };
        self.stage.send_replace(Stage::Stopping { guests: self.supervisor.guests_allowed(each_max) });
        self.workers.set_stopping();
        match guests {
            Guests::Awaited => self.supervisor.stop(),
            Guests::Terminated => self.supervisor.stop_now(),
        }
        self.tree_ended().await;
        // (An actor on this thread may still hear the last facts.)
        yield_now().await;
        self.passed.clear();
        self.service.flush();
        let counts = self.counters.tallied();
        info!(self.log, "stopped"; "complete" => counts.complete, "failed" => counts.failed,
            "outages" => counts.outages, "refused" => counts.refused, "dropped" => counts.dropped,
            "crashed" => counts.crashed, "misbehaved" => counts.misbehaved, "limited" => counts.limited,
            "octets" => counts.octets);
        self.tell_of_lost_facts();
        self.stage.send_replace(Stage::Ended(how));
    }

    /// Waits until the tree has come down. The server's own actors have a time for it together:
    /// those that are left end with their arbiters. Actors that were added have the time that their
    /// specifications give them, unless an order ends the waiting.
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
                // (What else is ordered comes too late.)
                order = self.orders.recv() => if order == Some(Order::StopNow) {
                    info!(self.log, "actors that were added are not waited for any longer");
                    self.supervisor.stop_now();
                },
                _ = looks.tick() => self.name_awaited(&mut named),
            }
        }
        if !own_ended {
            self.workers.end(&self.service);
        }
    }

    /// Names the actor that is waited for in the log, once, if it takes long.
    fn name_awaited(&self, named: &mut Option<Instant>) {
        let Some(awaited) = self.supervisor.awaited() else { return };
        let is_named = *named == Some(awaited.since);
        if !is_named && awaited.since.elapsed() >= AWAITED_NAMED_AFTER {
            *named = Some(awaited.since);
            info!(self.log, "waiting for the {} to stop", awaited.name);
        }
    }

    pub(super) fn tell_of_lost_facts(&self) {
        let lost = self.lost_facts();
        if lost > 0 {
            warn!(self.log, "observers did not hear all facts: an actor that hears them needs a larger mailbox, or more time to stop";
                "lost" => lost, "by" => self.service.losers());
        }
    }
}
