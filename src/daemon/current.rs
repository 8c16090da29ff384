//! The settings in effect, and what is served.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use slog::{Logger, info, warn};

use crate::settings::Settings;
use crate::store::{Directory, RootChange, RootError, Store};

/// The settings in effect and the served directory, which other threads read.
#[derive(Debug, Clone)]
pub(super) struct Current(Arc<RwLock<(Settings, Opened)>>);

impl Current {
    pub(super) fn new(settings: Settings, opened: Opened) -> Self {
        Self(Arc::new(RwLock::new((settings, opened))))
    }

    pub(super) fn settings(&self) -> Settings {
        self.read().0.clone()
    }

    /// The directory, unless the server has a store of its own.
    pub(super) fn directory(&self) -> Option<Arc<Directory>> {
        self.read().1.directory.clone()
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, (Settings, Opened)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, settings: Settings, opened: Opened) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (settings, opened);
    }
}

/// What a server serves, apart from extensions.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// The store, if it is the directory that the settings name.
    pub(super) directory: Option<Arc<Directory>>,
}

impl Opened {
    /// Opens the root. This may block.
    pub(super) fn root_of(settings: &Settings, log: &Logger) -> Result<Self, RootError> {
        let log = log.clone();
        let directory = Directory::open(&settings.root, settings.directory)?;
        let directory = Arc::new(directory.telling(move |change| log_root(&log, change)));
        Ok(Self { store: Arc::<Directory>::clone(&directory), directory: Some(directory) })
    }
}

/// Logs a change of the root while it is served.
fn log_root(log: &Logger, change: &RootChange<'_>) {
    match change {
        RootChange::Replaced { path } => {
            info!(log, "the root was replaced: serving the new one"; "root" => path);
        }
        RootChange::Unavailable { path, why } => {
            warn!(log, "the root's path names nothing that can be served: going on with the open directory";
                "root" => %path.display(), "why" => %why);
        }
    }
}
