//! A server's life after its start: serve, drain, end.

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
use super::ending::ExtensionActors;
use super::handle::{Order, Stage};
use super::reload::Reloads;
use super::server::Server;
use super::{RunError, ServerHandle};
use crate::actors::{List, Listener, Pause};
use crate::limits;
use crate::supervision::{Exit, Supervisor};

impl Server {
    /// The handle that controls the server while it [serves](Self::serve).
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until its [handle](Self::handle) orders a drain or a stop, or until a part of the
    /// server fails too often. Nothing is left running afterwards. [`ServerHandle::reload`] calls
    /// `reload` on a thread that serves no client, so it may block; its error is logged.
    ///
    /// The end takes at most 4 seconds, plus the time that the
    /// [specifications](crate::supervision::ChildSpec::stop_within) of extensions' actors allow,
    /// one after the other. The log names an actor that takes longer than a second.
    /// [`ServerHandle::stop_now`] ends the wait for these actors.
    ///
    /// # Errors
    /// [`RunError::Escalated`] says which part failed, and why.
    pub async fn serve(
        &mut self,
        reload: impl Fn() -> io::Result<()> + Send + 'static,
    ) -> Result<(), RunError> {
        let log_reloads = Reloads::of_log(reload, &self.log, self.reload_failure.clone());
        let root_reloads = Reloads::of_root(self.current.clone(), &self.log);
        let (mut draining, mut dumping) = (None, None);
        let (ended, extensions) = loop {
            tokio::select! {
                failure = next_failure(&self.supervisor, &mut self.failures) => {
                    break (Err(failure), ExtensionActors::Awaited);
                }
                () = drained(&mut draining) => break (Ok(()), ExtensionActors::Awaited),
                // Orders are carried out without awaiting anything: the next order may be to stop
                // at once.
                order = self.orders.recv() => match order {
                    Some(Order::Drain(within)) => self.drain(within, &mut draining),
                    Some(Order::Reload) => {
                        root_reloads.order();
                        log_reloads.order();
                    }
                    Some(Order::Dump) => self.dump(&mut dumping),
                    // `None` can't happen: the server holds a sender itself.
                    Some(Order::Stop) | None => break (Ok(()), ExtensionActors::Awaited),
                    Some(Order::StopNow) => break (Ok(()), ExtensionActors::Terminated),
                },
            }
        };
        if let Err(why) = &ended {
            error!(self.log, "giving up"; "why" => why);
        }
        self.end(ended.clone(), extensions).await;
        ended.map_err(RunError::Escalated)
    }

    /// Waits until a part of the server has failed too often. Returns which part, and why.
    pub async fn failed(&mut self) -> String {
        next_failure(&self.supervisor, &mut self.failures).await
    }

    /// Takes no further requests, ends every live transfer with an ERROR to its peer, then ends
    /// everything else.
    pub async fn stop(&mut self) {
        self.end(Ok(()), ExtensionActors::Awaited).await;
    }

    /// Begins to drain, or shortens a drain that has begun.
    fn drain(&self, within: Duration, draining: &mut Option<Draining>) {
        let within = within.min(limits::DRAIN_TIMEOUT_MAX);
        let deadline = Instant::now() + within;
        match draining {
            Some(before) => before.deadline = before.deadline.min(deadline),
            None => *draining = Some(Draining { all_over: Box::pin(self.all_over(within)), deadline }),
        }
    }

    /// Takes no further requests, and waits until no transfer is live.
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
            let extensions_within = supervisor.extensions_allowed(Duration::MAX);
            stage.send_replace(Stage::Draining { transfers, within, extensions_within });
            while timeout(limits::DRAIN_UNPROVEN_WITHIN, peer_table.all_over()).await.is_err() {
                peer_table.give_up_unproven();
            }
        }
    }

    /// Logs live transfers in a task of its own. If a list is already being written, that list
    /// answers this order too.
    fn dump(&self, dumping: &mut Option<JoinHandle<()>>) {
        if dumping.as_ref().is_some_and(|dumping| !dumping.is_finished()) {
            return;
        }
        self.log_lost_facts();
        let (registry, counters) = (self.registry.clone(), self.counters.tallied());
        let reasons = self.counters.by_reason();
        let log = self.log.clone();
        *dumping = Some(actix::spawn(async move {
            match timeout(limits::LIST_WITHIN, registry.send(List)).await {
                Ok(Ok(snapshot)) => dump(&log, &snapshot.live, counters, &reasons).await,
                _ => warn!(log, "the registry does not answer: live transfers can't be listed"),
            }
        }));
    }
}

/// Waits until the supervisor has ended by itself, or the arbiters fail too often.
async fn next_failure(supervisor: &Supervisor, failures: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::select! {
        exit = supervisor.ended() => match exit {
            Exit::GaveUp(why) => why,
            exit => format!("the server {exit}"),
        },
        Some(why) = failures.recv() => why,
    }
}

/// The state of a server that takes no further requests.
struct Draining {
    /// Resolves when every transfer has ended.
    all_over: Pin<Box<dyn Future<Output = ()>>>,
    deadline: Instant,
}

/// Waits until every transfer has ended or the deadline has passed; forever if the server doesn't
/// drain.
async fn drained(draining: &mut Option<Draining>) {
    match draining {
        Some(Draining { all_over, deadline }) => {
            // Both results mean that the wait is over.
            let _ = timeout_at(*deadline, all_over.as_mut()).await;
        }
        None => pending().await,
    }
}

/// Stops a listener from reading. A socket that the server bound is then closed, so that another
/// server can bind the address; a socket that a service manager passed keeps arriving requests for
/// the next server. Returns `false` if the listener does not answer in time: it then ends with the
/// process.
async fn pause(listener: &Addr<Listener>) -> bool {
    let paused = async {
        loop {
            // A listener that panics in its handler is restarted, and asked again.
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
