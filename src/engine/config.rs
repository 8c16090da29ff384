//! What a server does with requests: the part of a service that may change while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Failure;
use crate::extend::{NegotiatorStep, OpcodeStep, RouteStep};
use crate::net::PortRange;
use crate::policy::{Access, OnOutage, OverLimit, Rules};
use crate::store::Store;
use crate::transfer::{Offer, OnAbort, Outcome, Timeouts};
use crate::wire::Direction;

/// What a server does with requests. A service exchanges its configuration as a whole. A request
/// gets the configuration that is current when it arrives, and its transfer keeps that one.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store for requests that no route answers.
    pub store: Arc<dyn Store>,
    /// The routes, which are asked first which file answers a request.
    pub routes: Vec<RouteStep>,
    /// The negotiators, which are asked about options besides the rules of the RFCs. The
    /// negotiators of the settings come first.
    pub negotiators: Vec<NegotiatorStep>,
    /// The extensions that answer opcodes other than TFTP's.
    pub opcodes: BTreeMap<u16, OpcodeStep>,
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
    /// The timeouts of transfers.
    pub timeouts: Timeouts,
    /// What happens to an upload whose sender stopped.
    pub on_abort: OnAbort,
    /// Ports that transfers use.
    pub ports: Option<PortRange>,
}

impl Config {
    /// Serves `store` with the default settings, and without extensions.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            routes: Vec::new(),
            negotiators: Vec::new(),
            opcodes: BTreeMap::new(),
            rules: Rules::default(),
            access: Access::default(),
            over_limit: OverLimit::default(),
            on_outage: OnOutage::default(),
            offer: Offer::default(),
            timeouts: Timeouts::default(),
            on_abort: OnAbort::default(),
            ports: None,
        }
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
}
