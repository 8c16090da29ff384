//! Orders to stop.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::limits;

/// Stops one actor for good. It may be used on any thread, and its clones stop the same actor.
/// Dropping it does nothing.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<Instant>>);

impl Stopper {
    pub(super) fn new() -> (Self, Orders) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Orders(receiver))
    }

    /// Orders the stop, and returns at once. The actor's [`stopping`](actix::Actor::stopping) runs
    /// before any waiting message. To finish its work, the actor may return
    /// [`Running::Continue`](actix::Running::Continue), and call `ctx.stop()` later. After `within`
    /// (a day at most) it is terminated: nothing of it runs any more except its drop. A further
    /// order can only make the time shorter.
    pub fn stop(&self, within: Duration) {
        let by = Instant::now() + within.min(limits::STOP_WITHIN_MAX);
        self.0.send_if_modified(|order| {
            let nearer = order.is_none_or(|before| by < before);
            if nearer {
                *order = Some(by);
            }
            nearer
        });
    }

    pub(super) fn is_used(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// The receiving end of a [`Stopper`]: when the actor must have stopped, if at all.
#[derive(Debug, Clone)]
pub(super) struct Orders(watch::Receiver<Option<Instant>>);

impl Orders {
    pub(super) fn given(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for an order. Returns the time by which the actor must have stopped.
    pub(super) async fn ordered(&mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await.map(|order| *order) {
            Ok(Some(by)) => by,
            // No order can come any more.
            _ => pending().await,
        }
    }

    /// Waits until there is an order and its time is over.
    pub(super) async fn overdue(&mut self) {
        loop {
            let by = self.ordered().await;
            // A further order makes the time shorter.
            let Ok(Ok(())) = timeout_at(by, self.0.changed()).await else { return sleep_until(by).await };
        }
    }
}
