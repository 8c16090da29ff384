//! The root of the supervision tree.

use std::sync::{Arc, OnceLock};

use crate::actors::{Service, Workers};
use crate::observe::Fact;
use crate::supervision::{Exit, Follows, Supervisor};

/// The root supervisor. It reports ended children to the observers once there is a server;
/// extensions' actors may run below it before that.
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
                service.observe(&Fact::Crashed { actor: report.child, transfer: None, panic: panic.into() });
            }
            if report.follows == Follows::GiveUp {
                // From now on, ends are intended.
                workers.set_stopping();
            }
        });
        Self { supervisor, server }
    }

    /// Sets the server whose observers get reports.
    pub(super) fn into_supervisor(self, service: &Arc<Service>, workers: &Arc<Workers>) -> Supervisor {
        // The cell is new and empty.
        let _ = self.server.set((Arc::clone(service), Arc::clone(workers)));
        self.supervisor
    }
}
