//! The lives of one actor, from its creation to its final end.

use std::time::Duration;

use actix::dev::channel::{AddressReceiver, AddressSender};
use actix::{Actor, Addr, Context};
use actix_rt::ArbiterHandle;
use tokio::time::{Instant, timeout};

use super::net::{Net, Restart};
use super::restart::Restarts;
use super::restart_pauses::RestartPause;
use super::stopper::Orders;
use super::{Exit, Follows, RestartLimit};

/// Creates an actor on the arbiter where it will run.
pub(super) type Factory<A> = Box<dyn FnOnce(&mut Context<A>) -> A + Send>;

pub(super) struct Lives<A: Actor<Context = Context<A>>> {
    /// Publishes the actor's restart pauses. This is the first field, so that it is dropped before
    /// the mailbox: after that, another actor may get the same address.
    pub(super) restart_pause: RestartPause,
    pub(super) mailbox: (AddressSender<A>, AddressReceiver<A>),
    pub(super) factory: Factory<A>,
    pub(super) restart: Option<(RestartLimit, Restart<A>)>,
    pub(super) orders: Orders,
    /// Whether an order to stop drops the waiting messages.
    pub(super) leaves_mail: bool,
}

impl<A: Actor<Context = Context<A>>> Lives<A> {
    /// Starts the actor on `arbiter`. Its address can be used at once. `on_exit` is called at the
    /// exit of each life, with `Follows::End` once, also if the arbiter has ended or ends.
    pub(super) fn start<F>(self, arbiter: &ArbiterHandle, on_exit: F) -> Addr<A>
    where
        F: FnMut(Exit, Follows) + Send + 'static,
    {
        let address = Addr::new(self.mailbox.0.clone());
        let monitor = Monitor(Some(on_exit));
        arbiter.spawn_fn(move || self.begin(monitor));
        address
    }

    fn begin(self, mut monitor: Monitor<impl FnMut(Exit, Follows) + 'static>) {
        // The last binding is dropped first.
        let Self { mailbox: (sender, receiver), orders, leaves_mail, restart_pause, .. } = self;
        match Net::make(receiver, self.factory) {
            Err(exit) => monitor.ended(exit),
            Ok(net) => {
                let restart = self.restart.map(|(limit, restart)| (Restarts::new(limit), restart));
                let _address = restart.is_some().then(|| Addr::new(sender));
                let living = Living { restart_pause, net, orders, leaves_mail, restart, _address, monitor };
                actix::spawn(living.live());
            }
        }
    }
}

/// A running actor. If its arbiter ends, this is dropped field by field, the monitor last.
struct Living<A: Actor<Context = Context<A>>, F: FnMut(Exit, Follows)> {
    restart_pause: RestartPause,
    net: Net<A>,
    orders: Orders,
    leaves_mail: bool,
    restart: Option<(Restarts, Restart<A>)>,
    /// actix ends an actor whose address nobody has, and does not restart it, so a permanent actor
    /// keeps its own.
    _address: Option<Addr<A>>,
    monitor: Monitor<F>,
}
impl<A: Actor<Context = Context<A>>, F: FnMut(Exit, Follows)> Living<A, F> {
    async fn live(mut self) {
        let exit = self.lives().await;
        let exit = self.net.drop_actor(exit);
        self.monitor.ended(exit);
    }

    async fn lives(&mut self) -> Exit {
        let mut exit = self.life().await;
        while let Some((restarts, restart)) = &mut self.restart
            && !self.orders.given()
            && let Some(pause) = restarts.after_exit()
        {
            self.restart_pause.set(Some(Instant::now() + pause));
            self.monitor.restarts(exit, pause);
            let is_ordered = timeout(pause, self.orders.ordered()).await.is_ok();
            if is_ordered && self.leaves_mail {
                return Exit::Normal;
            }
            self.restart_pause.set(None);
            exit = match self.net.restart(*restart) {
                Ok(()) => self.life().await,
                Err(panic) => panic,
            };
        }
        exit
    }

    async fn life(&mut self) -> Exit {
        tokio::select! {
            biased;
            _ = self.orders.ordered() => self.net.stop(self.leaves_mail),
            exit = &mut self.net => return exit,
        }
        tokio::select! {
            biased;
            exit = &mut self.net => exit,
            () = self.orders.overdue() => Exit::Killed,
        }
    }
}

/// What is called at each exit. If it is dropped before the last one, the actor was killed.
pub(super) struct Monitor<F: FnMut(Exit, Follows)>(pub(super) Option<F>);

impl<F: FnMut(Exit, Follows)> Monitor<F> {
    fn restarts(&mut self, exit: Exit, after: Duration) {
        if let Some(on_exit) = &mut self.0 {
            on_exit(exit, Follows::Restart { after });
        }
    }

    pub(super) fn ended(&mut self, exit: Exit) {
        if let Some(mut on_exit) = self.0.take() {
            on_exit(exit, Follows::End);
        }
    }
}

impl<F: FnMut(Exit, Follows)> Drop for Monitor<F> {
    fn drop(&mut self) {
        self.ended(Exit::Killed);
    }
}
