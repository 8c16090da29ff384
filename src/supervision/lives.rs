//! The lives of one actor, from its creation to its final end.

use std::time::Duration;

use actix::dev::channel::{AddressReceiver, AddressSender};
use actix::{Actor, Addr, Context};
use actix_rt::ArbiterHandle;
use tokio::time::{Instant, timeout};

use super::mail::Mail;
use super::net::{Net, Restart};
use super::restart::Restarts;
use super::restart_pauses::RestartPause;
use super::stopper::Orders;
use super::{Exit, RestartLimit};

/// Creates an actor on the arbiter where it will run.
pub(super) type Factory<A> = Box<dyn FnOnce(&mut Context<A>) -> A + Send>;

pub(super) struct Lives<A: Actor<Context = Context<A>>> {
    /// Publishes the actor's restart pauses. This is the first field, so that it is dropped before
    /// the mailbox: after that, another actor may get the same address.
    pub(super) restart_pause: Option<RestartPause>,
    pub(super) mailbox: (AddressSender<A>, AddressReceiver<A>),
    pub(super) factory: Factory<A>,
    pub(super) restart: Option<(RestartLimit, Restart<A>)>,
    pub(super) orders: Orders,
    pub(super) mail: Mail,
}

pub(super) trait Witness: Send + 'static {
    /// The actor will be restarted after this pause.
    fn restarts(&mut self, exit: Exit, after: Duration);
    /// The actor has ended for good. Called once.
    fn ended(self, exit: Exit);
}

impl<A: Actor<Context = Context<A>>> Lives<A> {
    /// Starts the actor on `arbiter`. Its address can be used at once. The witness also hears if
    /// the arbiter has ended or ends.
    pub(super) fn start(self, arbiter: &ArbiterHandle, witness: impl Witness) -> Addr<A> {
        let address = Addr::new(self.mailbox.0.clone());
        let witness = Sworn(Some(witness));
        arbiter.spawn_fn(move || self.begin(witness));
        address
    }

    fn begin(self, mut witness: Sworn<impl Witness>) {
        let (sender, receiver) = self.mailbox;
        match Net::make(receiver, self.factory) {
            Err(exit) => witness.ended(exit),
            Ok(net) => {
                let restart = self.restart.map(|(limit, restart)| (Restarts::new(limit), restart));
                let known = restart.is_some().then(|| Addr::new(sender));
                let Self { orders, mail, restart_pause, .. } = self;
                let living = Living { net, orders, mail, restart_pause, restart, _known: known, witness };
                actix::spawn(living.live());
            }
        }
    }
}

/// A running actor. If its arbiter ends, this is dropped field by field, the witness last.
struct Living<A: Actor<Context = Context<A>>, W: Witness> {
    net: Net<A>,
    orders: Orders,
    mail: Mail,
    restart_pause: Option<RestartPause>,
    restart: Option<(Restarts, Restart<A>)>,
    /// actix ends an actor whose address nobody has, and does not restart it, so a permanent actor
    /// keeps its own.
    _known: Option<Addr<A>>,
    witness: Sworn<W>,
}

impl<A: Actor<Context = Context<A>>, W: Witness> Living<A, W> {
    async fn live(mut self) {
        let exit = self.lives().await;
        let exit = self.net.bury(exit);
        self.witness.ended(exit);
    }

    async fn lives(&mut self) -> Exit {
        let mut exit = self.life().await;
        while let Some((restarts, restart)) = &mut self.restart
            && !self.orders.given()
            && let Some(pause) = restarts.after_exit()
        {
            if let Some(restart_pause) = &self.restart_pause {
                restart_pause.set(Some(Instant::now() + pause));
            }
            self.witness.restarts(exit, pause);
            let is_ordered = timeout(pause, self.orders.ordered()).await.is_ok();
            if is_ordered && self.mail == Mail::Left {
                return Exit::Normal;
            }
            if let Some(restart_pause) = &self.restart_pause {
                restart_pause.set(None);
            }
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
            () = self.orders.ordered() => match self.mail {
                Mail::Finished => self.net.stop_when_read(),
                Mail::Left => self.net.stop(),
            },
            exit = &mut self.net => return exit,
        }
        tokio::select! {
            biased;
            exit = &mut self.net => exit,
            () = self.orders.overdue() => Exit::Killed,
        }
    }
}

/// A witness that always reports the end: dropped without a report, it reports the actor as killed.
struct Sworn<W: Witness>(Option<W>);

impl<W: Witness> Sworn<W> {
    fn restarts(&mut self, exit: Exit, after: Duration) {
        if let Some(witness) = &mut self.0 {
            witness.restarts(exit, after);
        }
    }

    fn ended(&mut self, exit: Exit) {
        if let Some(witness) = self.0.take() {
            witness.ended(exit);
        }
    }
}

impl<W: Witness> Drop for Sworn<W> {
    fn drop(&mut self) {
        self.ended(Exit::Killed);
    }
}
