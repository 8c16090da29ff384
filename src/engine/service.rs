//! What all sessions of a server share.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;
use slog::Logger;

use crate::chaos::Chaos;
use crate::engine::config::Config;
use crate::engine::timed_call::timed;
use crate::engine::transfers::event::{RegistryLink, TransferEvent};
use crate::engine::window_memory::WindowMemory;
use crate::error::Limit;
use crate::net::PortRange;
use crate::observe::{Fact, Observer, Report, TransferId};
use crate::supervision::{RestartLimit, caught, contained};

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
    /// The number of the last transfer.
    last_transfer: AtomicU64,
    /// The address of the registry, to which transfers are reported.
    pub registry: RegistryLink,
    /// Faults that tests plan: none without the feature `chaos`.
    pub(crate) chaos: Chaos,
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
            registry: RegistryLink::default(),
            chaos: Default::default(),
        }
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration. Transfers keep the one that they began with.
    pub fn set_config(&self, config: Config) {
        let fresh = Arc::new(config);
        // The old one is dropped after the lock, because a store's `Drop` may take long.
        let _old =
            std::mem::replace(&mut *self.config.write().unwrap_or_else(PoisonError::into_inner), fresh);
    }

    pub(crate) fn next_transfer(&self) -> TransferId {
        TransferId(self.last_transfer.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The faults that are planned for its actors.
    pub(crate) fn chaos(&self) -> &Chaos {
        &self.chaos
    }

    /// Has these faults happen.
    #[cfg(feature = "chaos")]
    pub fn set_chaos(&mut self, chaos: Chaos) {
        self.chaos = chaos;
    }

    /// The restart limit of permanent actors: `usual`, unless planned faults set another one.
    pub(crate) fn restart_limit(&self, usual: RestartLimit) -> RestartLimit {
        let Some((restarts_max, within)) = self.chaos().restarts() else { return usual };
        RestartLimit { restarts_max, within: within.unwrap_or(usual.within), ..usual }
    }

    /// Reports the end of a transfer to the observers and the registry.
    pub(crate) fn finish(&self, report: Report) {
        if let Some(limit) = report.limit {
            self.observe(&Fact::LimitReached { limit, peer: report.peer });
        }
        self.observe(&Fact::Finished(&report));
        self.registry.send(TransferEvent::Ended(Box::new(report)));
    }

    /// Reports a fact to the observers. If they block the thread for long, that is reported too.
    pub(crate) fn observe(&self, fact: &Fact<'_>) {
        let ((), slow) = timed(|| self.call_observers(fact));
        if let Some(why) = slow {
            self.call_observers(&Fact::Misbehaved { extension: "observer", transfer: None, why: &why });
        }
    }

    /// Has the observers write out what they have buffered.
    pub(crate) fn flush(&self) {
        for observer in &self.observers {
            contained(|| observer.flush());
        }
    }

    /// The number of facts that observers lost.
    pub(crate) fn lost_facts(&self) -> u64 {
        // An observer that panics here has lost an unknown number, and is skipped.
        self.observers.iter().filter_map(|observer| caught(|| observer.lost()).ok()).sum()
    }

    /// The observers that lost facts, with the number of lost facts, as text.
    pub(crate) fn losers(&self) -> String {
        let lost = |observer: &Arc<dyn Observer>| (observer.name().to_owned(), observer.lost());
        let losers = self.observers.iter().filter_map(|observer| caught(|| lost(observer)).ok());
        let losers = losers.filter(|(_, lost)| *lost > 0).map(|(name, lost)| format!("{name}: {lost}"));
        losers.collect::<Vec<_>>().join(", ")
    }

    /// Calls each observer. An observer that panics loses this fact, and the panic is reported to
    /// the others.
    fn call_observers(&self, fact: &Fact<'_>) {
        for (index, observer) in self.observers.iter().enumerate() {
            let called = caught(|| {
                self.chaos().seam("observer", "").at("observe");
                observer.observe(fact);
            });
            if let Err(panic) = called {
                let panic = &*panic;
                let crashed = Fact::Crashed { actor: "observer", transfer: None, panic };
                for (_, other) in self.observers.iter().enumerate().filter(|(other, _)| *other != index) {
                    // A second panic is contained and not reported.
                    contained(|| other.observe(&crashed));
                }
            }
        }
    }
}

/// The limit that kept a socket from being opened, if there is one.
pub(crate) fn limit_met(error: &io::Error, ports: Option<PortRange>) -> Option<Limit> {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Some(Limit::OpenFiles),
        _ if ports.is_some() && error.kind() == io::ErrorKind::AddrInUse => Some(Limit::PortRange),
        _ => None,
    }
}
