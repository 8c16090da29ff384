//! What all sessions of a server share. Nothing in it changes while the server runs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use slog::Logger;

use crate::chaos::{Chaos, Restarts};
use crate::engine::timed_call::timed;
use crate::engine::transfers::event::{RegistryLink, TransferEvent};
use crate::engine::window_memory::WindowMemory;
use crate::error::{Failure, Limit};
use crate::extend::{NegotiatorStep, OpcodeStep, RouteStep};
use crate::net::PortRange;
use crate::observe::{Fact, Observer, Report, TransferId};
use crate::policy::{Access, OnOutage, OverLimit, Rules};
use crate::store::Store;
use crate::supervision::{RestartLimit, caught, contained};
use crate::transfer::{Offer, OnAbort, Outcome, Timeouts};
use crate::wire::Direction;

/// What all sessions of a server share.
#[derive(Debug)]
pub struct Service {
    /// The store for requests that no route answers.
    pub store: Arc<dyn Store>,
    /// The routes, which are asked first which file answers a request.
    pub routes: Vec<RouteStep>,
    /// The negotiators, which are asked about options besides the rules of the RFCs. The
    /// negotiators of the settings come first.
    pub negotiators: Vec<NegotiatorStep>,
    /// The extensions that answer opcodes other than TFTP's.
    pub opcodes: BTreeMap<u16, OpcodeStep>,
    /// The observers, to which facts are reported.
    pub observers: Vec<Arc<dyn Observer>>,
    /// The rules that requests must fulfil.
    pub rules: Rules,
    /// Which addresses may read and write.
    pub access: Access,
    /// What happens to requests beyond a limit.
    pub over_limit: OverLimit,
    /// How a read is answered when the store can't tell whether the file exists.
    pub on_outage: OnOutage,
    /// Which of the requested options are granted.
    pub offer: Offer,
    /// Memory for windows.
    pub windows: Arc<WindowMemory>,
    /// The timeouts of transfers.
    pub timeouts: Timeouts,
    /// What happens to an upload whose sender stopped.
    pub on_abort: OnAbort,
    /// Transfers are served from the port that requests are sent to.
    pub single_port: bool,
    /// Ports that transfers use.
    pub ports: Option<PortRange>,
    /// The log of every packet, if there is one.
    pub packet_log: Option<Logger>,
    /// The number of the last transfer.
    pub last_transfer: AtomicU64,
    /// The address of the registry, to which transfers are reported.
    pub registry: RegistryLink,
    /// Faults that tests plan: none without the feature `chaos`.
    pub(crate) chaos: Chaos,
}

impl Service {
    /// Serves `store` with the default settings, and without extensions.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            routes: Vec::new(),
            negotiators: Vec::new(),
            opcodes: BTreeMap::new(),
            observers: Vec::new(),
            rules: Rules::default(),
            access: Access::default(),
            over_limit: OverLimit::default(),
            on_outage: OnOutage::default(),
            offer: Offer::default(),
            windows: Arc::default(),
            timeouts: Timeouts::default(),
            on_abort: OnAbort::default(),
            single_port: false,
            ports: None,
            packet_log: None,
            last_transfer: 0.into(),
            registry: RegistryLink::default(),
            chaos: Default::default(),
        }
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
        let Some(Restarts { max, within }) = self.chaos().restarts() else { return usual };
        RestartLimit { restarts_max: max, within: within.unwrap_or(usual.within), ..usual }
    }

    /// The outcome of a request that fails before it was answered. The client is sent an ERROR only
    /// for [`Outcome::Failed`].
    pub(crate) fn refusal(&self, direction: Direction, failure: Failure) -> Outcome {
        if self.on_outage.is_silent(direction, failure) {
            Outcome::Outage(failure)
        } else {
            Outcome::Failed(failure)
        }
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
                self.chaos().seam("observer").at("observe");
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
