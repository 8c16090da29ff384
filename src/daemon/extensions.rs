//! What makes a server besides its settings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;

use crate::actors::Config;
use crate::extend::{Asked, InterfaceMtu, Negotiate, NegotiatorStep, OpcodeStep, RouteStep, Served};
use crate::limits;
use crate::net::Mtu;
use crate::policy::Rules;
use crate::settings::Settings;
use crate::store::Store;
use crate::supervision::ChildSpec;

/// What makes a configuration together with settings and a store. A running server keeps it, to
/// make another configuration of other settings.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) wraps: Wraps,
    pub(super) routes: Vec<RouteStep>,
    pub(super) negotiators: Vec<NegotiatorStep>,
    pub(super) opcodes: BTreeMap<u16, OpcodeStep>,
    /// Answers for [`Mtu::OfInterface`], once settings have needed that.
    pub(super) interface_mtu: Option<Recipient<Negotiate>>,
}

/// Stores in front of the store.
#[derive(Default, Clone)]
pub(super) struct Wraps(pub(super) Vec<Wrap>);

pub(super) type Wrap = Arc<dyn Fn(&Asked<'_>, Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync>;

impl fmt::Debug for Wraps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wraps", self.0.len())
    }
}

impl Extensions {
    /// Whether these settings are the first that need the actor [`interface_mtu`].
    pub(super) fn needs_actor(&self, settings: &Settings) -> bool {
        settings.mtu == Mtu::OfInterface && self.interface_mtu.is_none()
    }

    /// What the server does with requests from now on.
    pub(super) fn config(&self, settings: &Settings, store: &Arc<dyn Store>) -> Config {
        let mut routes = self.routes.clone();
        routes.extend(self.wrapped(store));
        let mut negotiators = self.built_in_negotiators(settings);
        negotiators.extend(self.negotiators.iter().cloned());
        Config {
            routes,
            negotiators,
            opcodes: self.opcodes.clone(),
            rules: Rules {
                read_only: settings.read_only,
                strict: settings.strict,
                answer_broadcast: settings.answer_broadcast,
            },
            access: settings.access.clone(),
            over_limit: settings.over_limit,
            on_outage: settings.on_outage,
            offer: settings.offer,
            timeouts: settings.timeouts,
            on_abort: settings.on_abort,
            ports: settings.ports,
            ..Config::new(Arc::clone(store))
        }
    }

    /// The settings about options are negotiators, which are asked before all others.
    fn built_in_negotiators(&self, settings: &Settings) -> Vec<NegotiatorStep> {
        let mtu = match settings.mtu {
            Mtu::Unbounded => None,
            Mtu::OfInterface => self
                .interface_mtu
                .clone()
                .map(|actor| NegotiatorStep::asking(actor).for_option("blksize").for_option("blksize2")),
            octets @ Mtu::Octets(_) => Some(NegotiatorStep::new(octets)),
        };
        settings.refused_options.iter().cloned().map(NegotiatorStep::new).chain(mtu).collect()
    }

    /// A wrapped store is the last route.
    fn wrapped(&self, store: &Arc<dyn Store>) -> Option<RouteStep> {
        let (wraps, store) = (self.wraps.0.clone(), Arc::clone(store));
        (!wraps.is_empty()).then(|| {
            RouteStep::from_fn(move |asked| {
                let wrapped = wraps.iter().fold(Arc::clone(&store), |store, wrap| wrap(asked, store));
                Served::from_store(wrapped).into()
            })
        })
    }
}

/// The actor that answers for [`Mtu::OfInterface`]. It has no work to finish at its end.
pub(super) fn interface_mtu() -> ChildSpec<InterfaceMtu> {
    let spec = ChildSpec::permanent("interface mtu", |_| InterfaceMtu);
    spec.leaving_mail().stop_within(Duration::ZERO).mailbox(limits::MAILBOX_BUSY)
}
