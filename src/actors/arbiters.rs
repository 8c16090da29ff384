//! The arbiters that sessions run on.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

use actix::{Addr, Arbiter, Recipient};
use actix_rt::ArbiterHandle;

use crate::actors::session_supervisor::{Ping, Serve, SessionSupervisor};
use crate::engine::heartbeat::Heartbeat;
use crate::engine::service::Service;
use crate::engine::transfers::bury::bury;
use crate::engine::transfers::session_table::{PendingRequest, SessionTable};
use crate::error::Failure;
use crate::limits;
use crate::observe::Fact;
use crate::supervision::{
    ChildSpec, Exit, Follows, Permanent, RestartLimit, Stopper, Supervisor, start_permanent,
};

/// The arbiters of a server, in the order of their numbers. Arbiters that fail are replaced by
/// others.
#[derive(Debug, Default)]
pub struct Workers {
    /// The restart limit of a supervisor of sessions, beyond which its arbiter is replaced too.
    limit: RestartLimit,
    /// The sessions on the thread of the listeners.
    local: OnceLock<Local>,
    list: RwLock<Vec<Arc<Worker>>>,
    /// The number of the last arbiter.
    last: AtomicU64,
    stopping: AtomicBool,
}

/// A supervisor of sessions on the thread of the listeners. For a short transfer the way to another
/// thread would cost more than the transfer.
#[derive(Debug)]
struct Local {
    supervisor: Addr<SessionSupervisor>,
    sessions: Arc<SessionTable>,
}

/// An arbiter, the supervisor on it, and what the two share.
#[derive(Debug)]
pub(super) struct Worker {
    /// Counted from 1 since the server started.
    pub(super) number: u64,
    pub(super) arbiter: ArbiterHandle,
    pub(super) supervisor: Addr<SessionSupervisor>,
    pub(super) stopper: Stopper,
    pub(super) sessions: Arc<SessionTable>,
    pub(super) heartbeat: Arc<Heartbeat>,
}

/// Reports that the supervisor of a [`Worker`] has ended.
#[derive(Debug, Clone, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerEnded {
    pub(super) number: u64,
    pub(super) exit: Exit,
}

impl Workers {
    /// No arbiters yet. An arbiter whose supervisor exceeds `limit` will be replaced.
    #[must_use]
    pub fn new(limit: RestartLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds `count` arbiters without sessions.
    ///
    /// # Errors
    /// When the operating system has no threads to give.
    pub(crate) fn start_all(
        &self,
        count: usize,
        service: &Arc<Service>,
        parent: &Recipient<WorkerEnded>,
    ) -> io::Result<()> {
        (0..count).try_for_each(|_| {
            self.start(start_arbiter()?, SessionTable::default(), service, parent);
            Ok(())
        })
    }

    /// Starts the supervisor of short transfers on this thread, as a child of `supervisor`.
    pub(crate) fn start_local(&self, service: &Arc<Service>, supervisor: &Supervisor) {
        let (sessions, heartbeat) = (Arc::<SessionTable>::default(), Arc::default());
        let (service, table) = (Arc::clone(service), Arc::clone(&sessions));
        let make = move |_: &mut _| SessionSupervisor::new(service, table, heartbeat);
        let supervisor = supervisor.start_child(
            ChildSpec::permanent("session supervisor", make)
                .leaving_mail()
                .limit(self.limit)
                .mailbox(limits::MAILBOX_BUSY)
                .stop_within(limits::STOP_WITHIN),
        );
        // A second supervisor would have nothing to do.
        let _ = self.local.set(Local { supervisor, sessions });
    }

    /// Assigns a request to the least busy arbiter, or to this thread if its transfer is short and
    /// few such transfers are running.
    ///
    /// `false` if no arbiter has room for it.
    pub(super) fn assign(&self, request: &Arc<PendingRequest>) -> bool {
        if request.is_short
            && let Some(local) = self.local.get()
            && local.sessions.load() < limits::LOCAL_TRANSFERS_MAX
            && send(&local.sessions, &local.supervisor, request)
        {
            return true;
        }
        let workers = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let least_busy = workers.iter().min_by_key(|worker| worker.sessions.load());
        // The least busy arbiter has no room only if a storm has filled all of them, or if it was
        // just given up: then any other one will do.
        let mut by_choice = least_busy.into_iter().chain(workers.iter());
        by_choice.any(|worker| send(&worker.sessions, &worker.supervisor, request))
    }

    /// The recipients of pings that show whether every arbiter is alive.
    #[must_use]
    pub fn alive(&self) -> Vec<Recipient<Ping>> {
        self.list().iter().map(|worker| worker.supervisor.clone().recipient()).collect()
    }

    pub(super) fn list(&self) -> Vec<Arc<Worker>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a supervisor on `arbiter` that takes over the entries of `sessions`.
    pub(super) fn start(
        &self,
        arbiter: ArbiterHandle,
        sessions: SessionTable,
        service: &Arc<Service>,
        parent: &Recipient<WorkerEnded>,
    ) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sessions, heartbeat) = (Arc::new(sessions), Arc::<Heartbeat>::default());
        let (service, parent) = (Arc::clone(service), parent.clone());
        let (table, beating, beat) = (Arc::clone(&sessions), Arc::clone(&heartbeat), Arc::clone(&heartbeat));
        let observers = Arc::clone(&service);
        let make = move |_: &mut _| SessionSupervisor::new(service, table, beating);
        let on_exit = move |exit: &Exit, follows| {
            if let Exit::Panicked(panic) = exit {
                observers.observe(&Fact::Crashed { actor: "session supervisor", transfer: None, panic });
            }
            if follows == Follows::End {
                beat.set_ended();
                parent.do_send(WorkerEnded { number, exit: exit.clone() });
            }
        };
        let Permanent { addr: supervisor, stopper } =
            start_permanent(&arbiter, self.limit, limits::MAILBOX_BUSY, make, on_exit);
        self.write().push(Arc::new(Worker { number, arbiter, supervisor, stopper, sessions, heartbeat }));
    }

    /// The end of an arbiter is intended from now on.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(local) = self.local.get() {
            local.sessions.set_stopping();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn remove(&self, number: u64) -> Option<Arc<Worker>> {
        let mut workers = self.write();
        let at = workers.iter().position(|worker| worker.number == number)?;
        Some(workers.remove(at))
    }

    /// Ends the arbiters at once, and their transfers on behalf of the sessions.
    pub(crate) fn end(&self, service: &Service) {
        let bury_all = |sessions: &SessionTable| {
            let (children, _) = sessions.close();
            for child in &children {
                bury(&child.shared, service, Failure::ShuttingDown, "it did not end in time");
            }
        };
        for worker in self.write().drain(..) {
            bury_all(&worker.sessions);
            worker.arbiter.stop();
        }
        self.local.get().into_iter().for_each(|local| bury_all(&local.sessions));
    }

    #[cfg(test)]
    pub(crate) fn stop_all(&self) {
        for worker in self.list() {
            worker.arbiter.stop();
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Worker>>> {
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a request to a supervisor, unless too many wait for it.
fn send(
    sessions: &SessionTable,
    supervisor: &Addr<SessionSupervisor>,
    request: &Arc<PendingRequest>,
) -> bool {
    let has_room = sessions.push_waiting(request);
    if has_room {
        // Not `try_send`: a full mailbox would leave the request waiting. The table bounds the
        // number of these messages.
        supervisor.do_send(Serve(Arc::clone(request)));
    }
    has_room
}

/// Starts a thread for sessions.
///
/// # Errors
/// When the operating system has no thread to give.
pub(super) fn start_arbiter() -> io::Result<ArbiterHandle> {
    Ok(Arbiter::try_with_tokio_rt(arbiter_runtime)?.handle())
}

/// The runtime of one arbiter.
///
/// # Errors
/// When the operating system refuses.
pub(crate) fn arbiter_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::BLOCKING_THREADS)
        .build()
}
