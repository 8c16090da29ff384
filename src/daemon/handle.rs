//! Controls a running server from other threads.

use std::time::Duration;

use actix::{Addr, Recipient};
use tokio::sync::{mpsc, watch};

use super::RunError;
use super::reconfigure::{Applied, Apply, ApplyError, Configurator};
use crate::settings::Settings;

/// Controls a [`Server`](super::Server) that [serves](super::Server::serve), from any thread.
/// Orders are carried out soon, not before the call returns: wait for the end with
/// [`ended`](Self::ended). Orders that are given before `serve` is called wait for that call;
/// without it, no order is carried out.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    configurator: Recipient<Apply>,
    orders: mpsc::UnboundedSender<Order>,
    stage: watch::Receiver<Stage>,
}

/// An order to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Drain(Duration),
    Stop,
    StopNow,
    Reload,
    Dump,
}

/// The stage of the server's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// The server takes no new requests; this many transfers have this long to end.
    Draining {
        transfers: usize,
        within: Duration,
        /// How long the actors of extensions may take afterwards.
        extensions_within: Duration,
    },
    /// Everything else is being stopped.
    Stopping {
        extensions_within: Duration,
    },
    /// The server has ended: as ordered, or for this reason.
    Ended(Result<(), String>),
}

impl ServerHandle {
    pub(super) fn new(
        orders: mpsc::UnboundedSender<Order>,
        stage: watch::Receiver<Stage>,
        configurator: Addr<Configurator>,
    ) -> Self {
        Self { configurator: configurator.recipient(), orders, stage }
    }

    /// Applies other settings while the server serves. A request that arrives from now on gets the
    /// new settings. Live transfers keep those that they began with, and their open files. Either
    /// all settings are applied or none, except for those that need a restart: they keep their old
    /// values and are [named](Applied::pending). Start from
    /// [`Server::settings`](super::Server::settings).
    ///
    /// Extensions stay. The directory is opened again if [`Settings::root`] or
    /// [`Settings::directory`] differs, within ten seconds.
    ///
    /// ```
    /// # use stagecoach::Stagecoach;
    /// # actix::System::new().block_on(async {
    /// let server = Stagecoach::builder().root("/").listen(([127, 0, 0, 1], 0).into()).start()?;
    /// let mut settings = server.settings();
    /// settings.read_only = true;
    /// settings.arbiters += 1;
    /// let applied = server.handle().apply(settings).await?;
    /// assert_eq!(applied.pending, ["arbiters"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ApplyError`]; in that case the old settings stay in effect.
    pub async fn apply(&self, settings: Settings) -> Result<Applied, ApplyError> {
        self.configurator.send(Apply(Box::new(settings))).await.unwrap_or(Err(ApplyError::Ended))
    }

    /// Takes no further requests, and ends when the live transfers have ended, or after `deadline`:
    /// then their peers get ERROR 0. A complete transfer that only answers repeats is not waited
    /// for. A deadline of zero stops the server at once. If this is called several times, the
    /// earliest deadline counts.
    ///
    /// The sockets that the server bound are closed first, so that another server can bind them
    /// while the transfers end. Sockets that were passed to the server stay open and unread until
    /// the end. In single-port mode the transfers need the sockets, which are closed at the end.
    pub fn drain(&self, deadline: Duration) {
        self.order(Order::Drain(deadline));
    }

    /// Takes no further requests, and ends every live transfer with ERROR 0 to its peer. Actors of
    /// extensions stop one after the other, each within the time of its
    /// [specification](crate::supervision::ChildSpec::stop_within).
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// As [`stop`](Self::stop), but terminates the actors of extensions: the one that the server is
    /// waiting for, and all after it. Facts that an observer has not handled by then are counted as
    /// [lost](super::Server::lost_facts). This also shortens an end that has already begun: the
    /// program calls it at the second SIGTERM or SIGINT.
    pub fn stop_now(&self) {
        self.order(Order::StopNow);
    }

    /// Calls the `reload` function of [`serve`](super::Server::serve), which reopens the log in the
    /// program. Also checks whether the root's path names another directory, and serves that
    /// directory then.
    pub fn reload(&self) {
        self.order(Order::Reload);
    }

    /// Logs a line for each live transfer, and one with the counters.
    pub fn dump(&self) {
        self.order(Order::Dump);
    }

    /// Waits until the server has ended.
    ///
    /// # Errors
    /// [`RunError::Escalated`] if the server ended without an order: a part of it failed too often,
    /// or its owner dropped it.
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
        // If the server is gone, it has ended already.
        let _ = self.orders.send(order);
    }
}
