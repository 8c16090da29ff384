//! The root of the tree of supervisors.

use std::sync::{Arc, OnceLock};

use crate::actors::{Service, Workers};
use crate::observe::Fact;
use crate::supervision::{Exit, Follows, Supervisor};

/// The root. It tells the observers of what ends, once there are any: extensions' actors may stand below it before there is a server.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) supervisor: Supervisor,
    server: Arc<OnceLock<(Arc<Service>, Arc<Workers>)>>,
}

impl Root {
    pub(super) fn start() -> Self {
        let server = Arc::new(OnceLock::<(Arc<Service>, Arc<Workers>)>::new());
        let told = Arc::clone(&server);
        let supervisor = Supervisor::start("server", move |report| {
            let Some((service, workers)) = told.get() else { return };
            if let Exit::Panicked(panic) = &report.exit {
                service.observe(&Fact::Crashed { actor: report.child, transfer: None, panic });
            }
            if report.follows == Follows::GiveUp {
                // What comes down now is meant to.
                workers.set_stopping();
            }
        });
        Self { supervisor, server }
    }

    /// There is a server.
    pub(super) fn into_supervisor(self, service: &Arc<Service>, workers: &Arc<Workers>) -> Supervisor {
        // (It is new, and has none yet.)
        let _ = self.server.set((Arc::clone(service), Arc::clone(workers)));
        self.supervisor
    }
}
