//! What a builder was given besides its settings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use slog::{Drain, Logger};

use super::Server;
use crate::actors::Service;
use crate::extend::{Asked, NegotiatorStep, OpcodeStep, RouteStep};
use crate::observe::Observer;
use crate::policy::Rules;
use crate::settings::Settings;
use crate::store::Store;

#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) routes: Vec<RouteStep>,
    pub(super) negotiators: Vec<NegotiatorStep>,
    pub(super) opcodes: BTreeMap<u16, OpcodeStep>,
    pub(super) observers: Vec<Arc<dyn Observer>>,
}

/// Stores in front of the store.
#[derive(Default)]
pub(super) struct Wraps(pub(super) Vec<Wrap>);

pub(super) type Wrap = Box<dyn Fn(&Asked<'_>, Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync>;

impl fmt::Debug for Wraps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wraps", self.0.len())
    }
}

/// Functions to call when the server has started.
#[derive(Default)]
pub(super) struct HearStart(pub(super) Vec<OnStart>);

type OnStart = Box<dyn FnOnce(&Server) + Send + Sync>;

impl fmt::Debug for HearStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} closures", self.0.len())
    }
}

/// The service that the server's actors share.
pub(super) fn service(
    settings: Settings,
    store: Arc<dyn Store>,
    extensions: Extensions,
    log: &Logger,
) -> Service {
    let Extensions { routes, negotiators, opcodes, observers } = extensions;
    Service {
        routes,
        negotiators,
        opcodes,
        observers,
        rules: Rules {
            read_only: settings.read_only,
            strict: settings.strict,
            answer_broadcast: settings.answer_broadcast,
        },
        access: settings.access,
        over_limit: settings.over_limit,
        on_outage: settings.on_outage,
        offer: settings.offer,
        timeouts: settings.timeouts,
        on_abort: settings.on_abort,
        single_port: settings.single_port,
        ports: settings.ports,
        packet_log: log.is_enabled(slog::Level::Trace).then(|| log.clone()),
        chaos: settings.chaos,
        ..Service::new(store)
    }
}
