//! What steers a running server from elsewhere.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::RunError;

/// Steers a [`Server`](super::Server) that [serves](super::Server::serve), from any thread. What is
/// asked for happens soon, not before the call returns: wait for the end with
/// [`ended`](Self::ended). Orders that are given before `serve` is called wait for it: a server
/// that nobody `serve`s obeys none.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    orders: mpsc::UnboundedSender<Order>,
    stage: watch::Receiver<Stage>,
}

/// What a server is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Drain(Duration),
    Stop,
    StopNow,
    Reload,
    Dump,
}

/// How far a server's life is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// No new requests; so many transfers have so long to end.
    Draining {
        transfers: usize,
        within: Duration,
        /// What actors that were added may take afterwards.
        guests: Duration,
    },
    /// The rest is told to end.
    Stopping {
        guests: Duration,
    },
    /// Nothing runs any more; as it was told to, or why not.
    Ended(Result<(), String>),
}

impl ServerHandle {
    pub(super) fn new(orders: mpsc::UnboundedSender<Order>, stage: watch::Receiver<Stage>) -> Self {
        Self { orders, stage }
    }

    /// Takes no further request, and ends when the live transfers have, or after `deadline`: then their peers get ERROR 0. A transfer that is
    /// done and only answers repeats is not waited for. Zero stops at once; of several deadlines the first to come counts.
    ///
    /// The sockets that the server bound are closed first, so that another server can take its
    /// place while the transfers end; those that it was given stay open and unread until the end.
    /// In single-port mode the transfers need the sockets: they are closed at the end.
    pub fn drain(&self, deadline: Duration) {
        self.order(Order::Drain(deadline));
    }

    /// Takes no further request, and ends every live transfer with ERROR 0 to its peer. Actors that
    /// were added have the time that their [specifications](crate::supervision::ChildSpec::stop_within)
    /// give them, one after the other.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// As [`stop`](Self::stop), and actors that were added are terminated, the one that is waited
    /// for and those that follow. What an observer has not heard by then is counted
    /// ([`lost_facts`](super::Server::lost_facts)). It shortens an end that has begun, too: the
    /// program does it at the second SIGTERM or SIGINT.
    pub fn stop_now(&self) {
        self.order(Order::StopNow);
    }

    /// Calls what [`serve`](super::Server::serve) was given for it: opens the log anew. And looks
    /// whether the root's path names another directory, which is served then.
    pub fn reload(&self) {
        self.order(Order::Reload);
    }

    /// Writes a line to the log for each live transfer, and one with the counters.
    pub fn dump(&self) {
        self.order(Order::Dump);
    }

    /// Waits for the server's end.
    ///
    /// # Errors
    /// [`RunError::Escalated`] if it was not told to end: a part of it could not be kept alive, or its owner dropped it.
    pub async fn ended(&self) -> Result<(), RunError> {
        let mut stage = self.stage.clone();
        let ended = match stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await {
            Ok(stage) => stage.clone(),
            Err(_) => Stage::Ended(Err("the server was dropped while it served".into())),
        };
        match ended {
            Stage::Ended(Err(why)) => Err(RunError::Escalated(why)),
            _ => Ok(()),
        }
    }

    #[cfg(feature = "program")]
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }

    fn order(&self, order: Order) {
        // A server that is gone has ended already.
        let _ = self.orders.send(order);
    }
}
