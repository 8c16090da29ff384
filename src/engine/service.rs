//! What all sessions of a server share. Nothing in it changes while it serves.

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
    /// Where files are that no route has.
    pub store: Arc<dyn Store>,
    /// Who is asked first what answers a request.
    pub routes: Vec<RouteStep>,
    /// Who is asked about options, beside the rules of the RFCs: what the settings say of them first.
    pub negotiators: Vec<NegotiatorStep>,
    /// Who answers opcodes that aren't TFTP's.
    pub opcodes: BTreeMap<u16, OpcodeStep>,
    /// Who hears of what happens.
    pub observers: Vec<Arc<dyn Observer>>,
    /// What requests are let through.
    pub rules: Rules,
    /// Who may read and write.
    pub access: Access,
    /// What becomes of requests for which there is no place.
    pub over_limit: OverLimit,
    /// What a read gets when the store can't say whether the file is there.
    pub on_outage: OnOutage,
    /// What is granted of the options that are asked for.
    pub offer: Offer,
    /// Memory for windows.
    pub windows: Arc<WindowMemory>,
    /// How patient transfers are.
    pub timeouts: Timeouts,
    /// What becomes of an upload whose sender stopped.
    pub on_abort: OnAbort,
    /// Transfers are served from the port that requests are sent to.
    pub single_port: bool,
    /// Ports that transfers use.
    pub ports: Option<PortRange>,
    /// Where every packet is logged, if they are to be.
    pub packet_log: Option<Logger>,
    /// Number of the last transfer.
    pub last_transfer: AtomicU64,
    /// Where the registry hears of transfers.
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

    /// A number for a new transfer.
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

    /// What its permanent actors get instead of `usual`, where faults are planned.
    pub(crate) fn restart_limit(&self, usual: RestartLimit) -> RestartLimit {
        let Some(Restarts { max, within }) = self.chaos().restarts() else { return usual };
        RestartLimit { restarts_max: max, within: within.unwrap_or(usual.within), ..usual }
    }

    /// How a request ends that has had no answer yet: by an ERROR, if by [`Outcome::Failed`].
    pub(crate) fn refusal(&self, direction: Direction, failure: Failure) -> Outcome {
        if self.on_outage.is_silent(direction, failure) {
            Outcome::Outage(failure)
        } else {
            Outcome::Failed(failure)
        }
    }

    /// A transfer is over: tells everybody who wants to know.
    pub(crate) fn finish(&self, report: Report) {
        if let Some(limit) = report.limit {
            self.observe(&Fact::LimitReached { limit, peer: report.peer });
        }
        self.observe(&Fact::Finished(&report));
        self.registry.send(TransferEvent::Ended(Box::new(report)));
    }

    /// Tells the observers. If they keep the thread for long, they are told of that too.
    pub(crate) fn observe(&self, fact: &Fact<'_>) {
        let ((), kept_thread) = timed(|| self.tell(fact));
        if let Some(why) = kept_thread {
            self.tell(&Fact::Misbehaved { extension: "observer", transfer: None, why: &why });
        }
    }

    /// Has the observers say what they have kept back.
    pub(crate) fn flush(&self) {
        for observer in &self.observers {
            contained(|| observer.flush());
        }
    }

    /// Facts that observers did not hear.
    pub(crate) fn lost_facts(&self) -> u64 {
        // (What panics here is an observer that will panic again: it lost what nobody knows.)
        self.observers.iter().filter_map(|observer| caught(|| observer.lost()).ok()).sum()
    }

    /// The observers that did not hear all, with how many facts they lost, for people.
    pub(crate) fn losers(&self) -> String {
        let lost = |observer: &Arc<dyn Observer>| (observer.name().to_owned(), observer.lost());
        let losers = self.observers.iter().filter_map(|observer| caught(|| lost(observer)).ok());
        let losers = losers.filter(|(_, lost)| *lost > 0).map(|(name, lost)| format!("{name}: {lost}"));
        losers.collect::<Vec<_>>().join(", ")
    }

    /// One that panics loses this fact; the others hear that it did.
    fn tell(&self, fact: &Fact<'_>) {
        for (index, observer) in self.observers.iter().enumerate() {
            let told = caught(|| {
                self.chaos().seam("observer").at("observe");
                observer.observe(fact);
            });
            if let Err(panic) = told {
                let panic = &*panic;
                let crashed = Fact::Crashed { actor: "observer", transfer: None, panic };
                for (_, other) in self.observers.iter().enumerate().filter(|(other, _)| *other != index) {
                    // Whoever panics at that too can't be told about.
                    contained(|| other.observe(&crashed));
                }
            }
        }
    }
}

/// The limit that is in the way of a socket for a transfer.
pub(crate) fn limit_met(error: &io::Error, ports: Option<PortRange>) -> Option<Limit> {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Some(Limit::OpenFiles),
        _ if ports.is_some() && error.kind() == io::ErrorKind::AddrInUse => Some(Limit::PortRange),
        _ => None,
    }
}
