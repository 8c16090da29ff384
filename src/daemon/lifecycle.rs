//! A server's life after its start: serving, draining, the end.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures_util::future::join_all;
use slog::{error, info, warn};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::dump::dump;
use super::ending::Guests;
use super::handle::{Order, Stage};
use super::reload::Reloads;
use super::server::Server;
use super::{RunError, ServerHandle};
use crate::actors::{List, Listener, Pause};
use crate::limits;
use crate::supervision::{Exit, Supervisor};

impl Server {
    /// What steers it while it [serves](Self::serve).
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until its [handle](Self::handle) is told to drain or to stop, or until a part of it
    /// can't be kept alive; nothing is left running then. `reload` is called for
    /// [`ServerHandle::reload`], on a thread that serves nobody: it may wait. What it returns is
    /// logged if it is an error.
    ///
    /// The end takes 4 seconds ([`limits::SERVER_STOP_WITHIN`]) at most, and what the
    /// specifications of actors that were added
    /// [allow these](crate::supervision::ChildSpec::stop_within), one after the other. The log
    /// names an actor that takes longer than a second. [`ServerHandle::stop_now`] ends the waiting
    /// for them.
    ///
    /// # Errors
    /// [`RunError::Escalated`] says which part, and why.
    pub async fn serve(
        &mut self,
        reload: impl Fn() -> io::Result<()> + Send + 'static,
    ) -> Result<(), RunError> {
        let log_reloads = Reloads::of_log(reload, &self.log, self.reload_failure.clone());
        let root_reloads = Reloads::of_root(self.directory.clone(), &self.log);
        let (mut draining, mut dumping) = (None, None);
        let (ended, guests) = loop {
            tokio::select! {
                failure = next_failure(&self.supervisor, &mut self.failures) => {
                    break (Err(failure), Guests::Awaited);
                }
                () = drained(&mut draining) => break (Ok(()), Guests::Awaited),
                // (Nothing is awaited where an order is carried out: the next one may be to stop at
                // once.)
                order = self.orders.recv() => match order {
                    Some(Order::Drain(within)) => self.drain(within, &mut draining),
                    Some(Order::Reload) => {
                        root_reloads.order();
                        log_reloads.order();
                    }
                    Some(Order::Dump) => self.dump(&mut dumping),
                    // (The server holds a sender itself: there is an order.)
                    Some(Order::Stop) | None => break (Ok(()), Guests::Awaited),
                    Some(Order::StopNow) => break (Ok(()), Guests::Terminated),
                },
            }
        };
        if let Err(why) = &ended {
            error!(self.log, "giving up"; "why" => why);
        }
        self.end(ended.clone(), guests).await;
        ended.map_err(RunError::Escalated)
    }

    /// Waits until a part of the server can't be kept alive, and says which and why.
    pub async fn failed(&mut self) -> String {
        next_failure(&self.supervisor, &mut self.failures).await
    }

    /// Takes no further request, ends every live transfer with an ERROR to its peer, then everything else.
    pub async fn stop(&mut self) {
        self.end(Ok(()), Guests::Awaited).await;
    }

    /// Begins to drain, or lets it take no longer than this.
    fn drain(&self, within: Duration, draining: &mut Option<Draining>) {
        let within = within.min(limits::DRAIN_TIMEOUT_MAX);
        let deadline = Instant::now() + within;
        match draining {
            Some(before) => before.deadline = before.deadline.min(deadline),
            None => *draining = Some(Draining { all_over: Box::pin(self.all_over(within)), deadline }),
        }
    }

    /// Takes no further request, and waits until no transfer is live.
    fn all_over(&self, within: Duration) -> impl Future<Output = ()> + use<> {
        let (listeners, peer_table) = (self.listeners.clone(), Arc::clone(&self.peer_table));
        let (log, stage, supervisor) = (self.log.clone(), self.stage.clone(), self.supervisor.clone());
        let closes = self.passed.is_empty() && !self.service.single_port;
        async move {
            let paused = join_all(listeners.iter().map(pause)).await;
            let port = if closes && paused.into_iter().all(|paused| paused) { "free" } else { "kept" };
            let transfers = peer_table.unfinished();
            info!(log, "draining: no new requests"; "transfers" => transfers,
                "seconds" => within.as_secs_f64(), "port" => port);
            let guests = supervisor.guests_allowed(Duration::MAX);
            stage.send_replace(Stage::Draining { transfers, within, guests });
            while timeout(limits::DRAIN_UNPROVEN_WITHIN, peer_table.all_over()).await.is_err() {
                peer_table.give_up_unproven();
            }
        }
    }

    /// Logs what is live, beside the serving. While a list is being written, it is the answer to
    /// further orders too.
    fn dump(&self, dumping: &mut Option<JoinHandle<()>>) {
        if dumping.as_ref().is_some_and(|dumping| !dumping.is_finished()) {
            return;
        }
        self.tell_of_lost_facts();
        let (registry, counters) = (self.registry.clone(), self.counters.tallied());
        let reasons = self.counters.by_reason();
        let log = self.log.clone();
        *dumping = Some(actix::spawn(async move {
            match timeout(limits::LIST_WITHIN, registry.send(List)).await {
                Ok(Ok(snapshot)) => dump(&log, &snapshot.live, counters, &reasons).await,
                _ => warn!(log, "the registry does not answer: there is no list of live transfers"),
            }
        }));
    }
}

/// Waits until the tree has come down by itself, or the arbiters can't be kept alive.
async fn next_failure(supervisor: &Supervisor, failures: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::select! {
        exit = supervisor.ended() => match exit {
            Exit::GaveUp(why) => why,
            exit => format!("the server {exit}"),
        },
        Some(why) = failures.recv() => why,
    }
}

/// A server that takes no further request.
struct Draining {
    /// Every transfer is done.
    all_over: Pin<Box<dyn Future<Output = ()>>>,
    deadline: Instant,
}

/// Waits until every transfer is done, or the deadline has passed; for ever if nobody drains.
async fn drained(draining: &mut Option<Draining>) {
    match draining {
        Some(Draining { all_over, deadline }) => {
            // Both mean that nothing is waited for any longer.
            let _ = timeout_at(*deadline, all_over.as_mut()).await;
        }
        None => pending().await,
    }
}

/// Has a listener read no more. A socket that the server bound is closed then, so that another
/// server can bind the address; one that a service manager passed keeps what arrives for the next
/// server. `false` if the listener doesn't hear it in time: it ends with the process.
async fn pause(listener: &Addr<Listener>) -> bool {
    let paused = async {
        loop {
            // A listener that panics at it is started again, and asked again.
            match listener.send(Pause).await {
                Err(_) if listener.connected() => {}
                answer => return answer.is_ok(),
            }
        }
    };
    timeout(limits::STOP_WITHIN, paused).await.unwrap_or(false)
}

#[cfg(test)]
mod tests;
