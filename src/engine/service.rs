//! What all sessions of a server share.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Instant;

use actix::{Message, Recipient};
use rustix::io::Errno;
use slog::Logger;

use crate::chaos::Chaos;
use crate::engine::config::Config;
use crate::engine::messages::SessionAddr;
use crate::engine::transfers::{SharedTransfer, TransferState};
use crate::engine::window_memory::WindowMemory;
use crate::error::{Failure, Fault, Limit};
use crate::limits;
use crate::net::PortRange;
use crate::observe::{Fact, Observer, Report, TransferId};
use crate::supervision::{RestartLimit, caught, contained};
use crate::transfer::{Outcome, Transmit, error_packet};

/// What all sessions of a server share. Only the configuration changes while the server runs.
#[derive(Debug)]
pub struct Service {
    config: RwLock<Arc<Config>>,
    /// The observers, to which facts are reported.
    pub observers: Vec<Arc<dyn Observer>>,
    /// Memory for windows.
    pub windows: Arc<WindowMemory>,
    /// Transfers are served from the port that requests are sent to.
    pub single_port: bool,
    /// The log of every packet, if there is one.
    pub packet_log: Option<Logger>,
    last_transfer: AtomicU64,
    registry: OnceLock<Recipient<TransferEvent>>,
    /// Faults that tests plan: none without the feature `chaos`.
    pub(crate) chaos: Chaos,
}

/// An event of a transfer, for the registry.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum TransferEvent {
    /// A session serves the transfer, the first one or another.
    Began { shared: Weak<SharedTransfer>, session: SessionAddr },
    /// The outcome is known. A request that needed no session ends without `Began`.
    Ended(Box<Report>),
}

impl Service {
    /// A service without observers.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: RwLock::new(Arc::new(config)),
            observers: Vec::new(),
            windows: Arc::default(),
            single_port: false,
            packet_log: None,
            last_transfer: 0.into(),
            registry: OnceLock::new(),
            chaos: Default::default(),
        }
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration. Transfers keep the one that they began with.
    pub fn set_config(&self, config: Config) {
        let mut config = Arc::new(config);
        // The old one is dropped after the lock, because a store's `Drop` may take long.
        std::mem::swap(&mut config, &mut *self.config.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn next_transfer(&self) -> TransferId {
        TransferId(self.last_transfer.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Has these faults happen.
    #[cfg(feature = "chaos")]
    pub fn set_chaos(&mut self, chaos: Chaos) {
        self.chaos = chaos;
    }

    /// The restart limit of permanent actors: `usual`, unless planned faults set another one.
    pub(crate) fn restart_limit(&self, usual: RestartLimit) -> RestartLimit {
        let Some((restarts_max, within)) = self.chaos.restarts() else { return usual };
        RestartLimit { restarts_max, within: within.unwrap_or(usual.within), ..usual }
    }

    /// Transfers are reported to `registry`, which keeps its address when it starts again.
    pub(crate) fn set_registry(&self, registry: Recipient<TransferEvent>) {
        let _ = self.registry.set(registry);
    }

    pub(crate) fn tell_registry(&self, event: TransferEvent) {
        if let Some(registry) = self.registry.get() {
            // Not `try_send`: an end that is lost would leave a transfer live. The registry shares
            // the thread of the listeners, so the limit of transfers bounds these messages.
            registry.do_send(event);
        }
    }

    /// Reports the end of a transfer to the observers and the registry.
    pub(crate) fn finish(&self, report: Report) {
        if let Some(limit) = report.limit {
            self.observe(&Fact::LimitReached { limit, peer: report.peer });
        }
        self.observe(&Fact::Finished(Cow::Borrowed(&report)));
        self.tell_registry(TransferEvent::Ended(Box::new(report)));
    }

    /// Ends a transfer on behalf of its session, which died or hangs. The session can't send any
    /// more, and an unfinished upload is removed. A transfer that was reported already keeps its
    /// outcome.
    pub(crate) fn bury(&self, shared: &SharedTransfer, failure: Failure, why: &str) {
        shared.next_life();
        shared.upload.close(Fault::new(failure, why));
        shared.set_over();
        // A session that hangs would otherwise count in the peer table for as long as it hangs.
        shared.peer_state.release();
        let outcome = shared.failed(failure);
        let report = match shared.try_lock() {
            Some(mut state) => shared.report(&mut state, outcome),
            // A session that hangs may hold the lock.
            None => shared.report(&mut TransferState::default(), outcome),
        };
        let Some(mut report) = report else { return };
        report.detail = Some(why.into());
        // A request that was sent to many hosts gets no ERROR before the first block.
        let is_answered = shared.has_replied() || !shared.assignment.to_broadcast;
        if is_answered && matches!(report.outcome, Outcome::Failed(_)) {
            // If the packet can't be sent, there is nothing left to try.
            let _ = shared.link().send(report.peer, &Transmit::Packet(&error_packet(failure)));
        }
        self.finish(report);
        shared.peer_state.set_over();
    }

    /// Reports a fact to the observers. If they block the thread for long, that is reported too.
    pub(crate) fn observe(&self, fact: &Fact<'_>) {
        let ((), slow) = timed(|| self.call_observers(fact));
        if let Some(why) = slow {
            self.call_observers(&Fact::Misbehaved {
                extension: "observer",
                transfer: None,
                why: Cow::from(&why),
            });
        }
    }

    pub(crate) fn misbehaved(&self, extension: &'static str, transfer: Option<TransferId>, why: &str) {
        self.observe(&Fact::Misbehaved { extension, transfer, why: why.into() });
    }

    pub(crate) fn crashed(&self, actor: &'static str, transfer: Option<TransferId>, panic: &str) {
        self.observe(&Fact::Crashed { actor, transfer, panic: panic.into() });
    }

    /// Calls an extension. `None` if it panics, which is reported, as are calls that block the
    /// thread for long.
    pub(crate) fn call<T>(
        &self,
        extension: &'static str,
        transfer: Option<TransferId>,
        call: impl FnOnce() -> T,
    ) -> Option<T> {
        let (answer, slow) = timed(|| caught(call));
        if let Some(why) = slow {
            self.misbehaved(extension, transfer, &why);
        }
        answer.inspect_err(|panic| self.crashed(extension, transfer, panic)).ok()
    }

    /// Has the observers write out what they have buffered.
    pub(crate) fn flush(&self) {
        for observer in &self.observers {
            contained(|| observer.flush());
        }
    }

    pub(crate) fn lost_facts(&self) -> u64 {
        self.losses().map(|(_, lost)| lost).sum()
    }

    /// The observers that lost facts, and how many each.
    pub(crate) fn losers(&self) -> String {
        let losers = self.losses().filter(|(_, lost)| *lost > 0);
        losers.map(|(name, lost)| format!("{name}: {lost}")).collect::<Vec<_>>().join(", ")
    }

    /// An observer that panics here has lost an unknown number, and is skipped.
    fn losses(&self) -> impl Iterator<Item = (String, u64)> {
        let lost = |observer: &Arc<dyn Observer>| (observer.name().to_owned(), observer.lost());
        self.observers.iter().filter_map(move |observer| caught(|| lost(observer)).ok())
    }

    /// An observer that panics loses this fact, and the panic is reported to the others.
    fn call_observers(&self, fact: &Fact<'_>) {
        for (index, observer) in self.observers.iter().enumerate() {
            let called = caught(|| {
                self.chaos.seam("observer", "").at("observe");
                observer.observe(fact);
            });
            let Err(panic) = called else { continue };
            let crashed = Fact::Crashed { actor: "observer", transfer: None, panic: Cow::from(&panic) };
            for (_, other) in self.observers.iter().enumerate().filter(|(other, _)| *other != index) {
                // A second panic is not reported.
                contained(|| other.observe(&crashed));
            }
        }
    }
}

/// A message for the operator comes with the answer if the call blocked its thread for longer than
/// [`limits::EXTENSION_CALL_WITHIN`].
fn timed<T>(call: impl FnOnce() -> T) -> (T, Option<String>) {
    // The system clock, because virtual time stands still during a call.
    let began = Instant::now();
    let answer = call();
    let took = began.elapsed();
    let slow = (took > limits::EXTENSION_CALL_WITHIN).then(|| {
        format!("it kept a thread that serves for {} ms: who has to wait is an actor", took.as_millis())
    });
    (answer, slow)
}

/// The limit that kept a socket from being opened, if there is one.
pub(crate) fn limit_met(error: &io::Error, ports: Option<PortRange>) -> Option<Limit> {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Some(Limit::OpenFiles),
        _ if ports.is_some() && error.kind() == io::ErrorKind::AddrInUse => Some(Limit::PortRange),
        _ => None,
    }
}
