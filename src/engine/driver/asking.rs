//! A session's questions to extensions, some of which answer later.

use std::sync::Arc;

use crate::engine::driver::Driver;
use crate::engine::transfers::{Assignment, Destination};
use crate::error::Fault;
use crate::extend::{Found, Grant, Grants};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Which file answers the request.
    Routes,
    /// How the requested options are answered.
    Negotiators,
}

impl Driver {
    /// Leaves a question to the session, unless the session is asking already.
    pub(crate) fn question(&mut self, question: Question) {
        if !std::mem::replace(&mut self.deferred.asking, true) {
            self.deferred.question = Some(question);
        }
    }

    /// The routes answered which file to serve.
    pub(crate) fn on_routed(&mut self, routed: Result<Destination, Fault>) {
        self.deferred.asking = false;
        if self.shared.is_over() {
            return;
        }
        let opened = routed.and_then(|destination| {
            let opened = self.service.open_cached(&self.shared.assignment, &destination);
            let _ = self.shared.destination.set(destination);
            opened
        });
        match opened {
            Ok(opened) => opened.into_iter().for_each(|opened| self.shared.lock().set_opened(opened)),
            Err(fault) => return self.fail(fault),
        }
        self.open();
        self.read_cached();
    }

    /// The file is open. The transfer begins once the extensions have answered its options.
    pub(crate) fn begin(&mut self) {
        let Assignment { config, request, .. } = &self.shared.assignment;
        if request.options.is_empty() || config.negotiators.is_empty() || !config.offer.options {
            return self.agree(&Grants::default());
        }
        let asked = self.shared.assignment.asked(self.shared.local);
        if config.waits_for_negotiators(&asked) {
            return self.question(Question::Negotiators);
        }
        let granted = self.service.call_negotiators(config, &asked, &self.found());
        self.agree_to(granted);
    }

    pub(crate) fn found(&self) -> Found {
        // A file is opened only after its destination is known.
        let Destination { store, name, .. } = self.shared.destination.get().expect("the file is open");
        let state = self.shared.lock();
        let source = state.source.clone().map(|source| source as _);
        Found { store: Arc::clone(store), name: name.clone(), size: state.summary.size, source }
    }

    pub(crate) fn on_granted(&mut self, granted: Result<Vec<Grant>, Fault>) {
        self.deferred.asking = false;
        if self.shared.is_over() {
            return;
        }
        match granted {
            Ok(granted) => self.agree_to(granted),
            Err(fault) => return self.fail(fault),
        }
        self.read_upload();
        self.read_cached();
    }

    fn agree_to(&mut self, granted: Vec<Grant>) {
        let grants = Grants::new(&self.shared.assignment.request, granted);
        for why in &grants.wrong {
            self.service.misbehaved("negotiator", Some(self.shared.assignment.id), why);
        }
        self.agree(&grants);
    }
}
