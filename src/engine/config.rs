//! What a server does with requests: the part of a service that may change while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::extend::{NegotiatorStep, OpcodeStep, RouteStep};
use crate::net::PortRange;
use crate::policy::{Access, OnOutage, OverLimit, Rules};
use crate::store::Store;
use crate::transfer::{Offer, OnAbort, Timeouts};

/// What a server does with requests. It is exchanged as a whole: a transfer keeps the configuration
/// that was current when its request arrived.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store for requests that no route answers.
    pub store: Arc<dyn Store>,
    /// The routes, which are asked first which file answers a request.
    pub routes: Vec<RouteStep>,
    /// The negotiators, which are asked about options; those of the settings come first.
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
}
