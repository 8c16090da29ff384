//! What a start does besides serving: it logs what is served, and removes leftover uploads.

use std::fmt::Display;
use std::thread;

use slog::{Logger, info, warn};

use super::current::Current;
use crate::settings::Settings;
use crate::store::Directory;

/// Logs the settings that an operator may want to check.
pub(super) fn log_serving(settings: &Settings, directory: Option<&Directory>, log: &Logger) {
    let uploads = match (settings.read_only, settings.directory.overwrite) {
        (true, _) => "read-only",
        (false, false) => "new files",
        (false, true) => "overwrite",
    };
    // An extension's store has its own rules for uploads.
    let (root, uploads) = match directory {
        Some(directory) => (directory.path(), uploads),
        None => ("-".to_owned(), if settings.read_only { uploads } else { "-" }),
    };
    info!(log, "serving"; "root" => root, "uploads" => uploads, "version" => env!("CARGO_PKG_VERSION"));
}

/// Warns of running as root. Other servers change to an unprivileged user before they serve; this
/// one can't yet.
pub(super) fn warn_of_root(settings: &Settings, log: &Logger) {
    let uploads = if settings.read_only { "" } else { ", and uploads may go where only root may write" };
    warn!(
        log,
        "running as root: files that only root may read are served too{uploads}; \
        another user can serve port 69 with CAP_NET_BIND_SERVICE or a socket from systemd"
    );
}

/// Removes leftover uploads of a crash, while the server runs, if it takes uploads.
///
/// This has a thread of its own: dropping the `System` waits for threads of the runtime's pool, and
/// a huge tree may take long.
pub(super) fn sweep(current: &Current, log: &Logger) {
    let Some(directory) = current.directory().filter(|_| !current.settings().read_only) else { return };
    let log = log.clone();
    let failed = log.clone();
    let failed = move |why: &dyn Display| {
        warn!(failed, "can't look for leftover uploads"; "why" => %why);
    };
    let told = failed.clone();
    let work = move || match directory.sweep_stale() {
        Ok(sweep) => {
            if sweep.removed > 0 {
                info!(log, "removed leftover uploads"; "files" => sweep.removed);
            }
            if let Some(missed) = sweep.missed {
                warn!(log, "could not look everywhere for leftover uploads"; "why" => missed);
            }
        }
        Err(fault) => told(&fault),
    };
    if let Err(error) = thread::Builder::new().name("sweep".into()).spawn(work) {
        failed(&error);
    }
}
