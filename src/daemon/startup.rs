//! What a start does beside the serving: the lines that say what is served, and the sweep.

use std::fmt::Display;
use std::sync::Arc;
use std::thread;

use slog::{Logger, info, warn};

use crate::settings::Settings;
use crate::store::{Directory, RootChange};

/// What the operator compares with what was meant.
pub(super) fn log_serving(settings: &Settings, directory: Option<&Directory>, log: &Logger) {
    let uploads = match (settings.read_only, settings.directory.overwrite) {
        (true, _) => "read-only",
        (false, false) => "new files",
        (false, true) => "overwrite",
    };
    // (A store of the extender's has rules of its own.)
    let (root, uploads) = match directory {
        Some(directory) => (directory.path(), uploads),
        None => ("-".to_owned(), if settings.read_only { uploads } else { "-" }),
    };
    info!(log, "serving"; "root" => root, "uploads" => uploads, "version" => env!("CARGO_PKG_VERSION"));
}

/// What becomes of the root while it is served.
pub(super) fn log_root(log: &Logger, change: &RootChange<'_>) {
    match change {
        RootChange::Replaced { path } => {
            info!(log, "the root was replaced: serving the new one"; "root" => path);
        }
        RootChange::Unavailable { path, why } => {
            warn!(log, "the root's path names nothing that can be served: going on with what is open";
                "root" => %path.display(), "why" => %why);
        }
    }
}

/// Other servers change to a user without rights before they serve. This one doesn't yet.
pub(super) fn warn_of_root(settings: &Settings, log: &Logger) {
    let uploads = if settings.read_only { "" } else { ", and uploads may go where only root may write" };
    warn!(
        log,
        "running as root: files that only root may read are served too{uploads}; \
        another user can serve port 69 with CAP_NET_BIND_SERVICE or a socket from systemd"
    );
}

/// Removes what a crash has left of uploads, beside the serving.
///
/// The thread is its own: one of the runtime's pool would be waited for when the `System` is
/// dropped, however long a huge tree takes.
pub(super) fn sweep(directory: Arc<Directory>, log: Logger) {
    let failed = log.clone();
    let failed = move |why: &dyn Display| {
        warn!(failed, "can't look for what was left of uploads"; "why" => %why);
    };
    let told = failed.clone();
    let work = move || match directory.sweep_stale() {
        Ok(sweep) => {
            if sweep.removed > 0 {
                info!(log, "removed what was left of uploads"; "files" => sweep.removed);
            }
            if let Some(missed) = sweep.missed {
                warn!(log, "could not look everywhere for what was left of uploads"; "why" => missed);
            }
        }
        Err(fault) => told(&fault),
    };
    if let Err(error) = thread::Builder::new().name("sweep".into()).spawn(work) {
        failed(&error);
    }
}
