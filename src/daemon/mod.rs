//! Assembly: the one room that knows everybody.

mod server;
mod signals;

use std::io;

use slog::{Logger, error, info, warn};

pub use self::server::{Server, StartError};
use self::signals::{Signal, Signals};
use crate::limits;
use crate::settings::Settings;

/// Why a server could not start, or ended otherwise than it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It can't start: one sentence says why, and what would be right.
    #[error("{0}")]
    Start(#[from] StartError),
    /// A part of it failed more often than its supervisor puts up with.
    #[error("gave up after repeated failures: {0}")]
    Escalated(String),
}

/// Serves until SIGTERM or SIGINT. `reopen_log` is called on SIGHUP.
///
/// # Errors
/// [`RunError`].
pub fn run(
    settings: &Settings,
    log: &Logger,
    reopen_log: &dyn Fn() -> io::Result<()>,
) -> Result<(), RunError> {
    raise_open_files(log);
    let runtime = server::runtime().map_err(StartError::Runtime)?;
    let system = actix::System::with_tokio_rt(|| runtime);
    system.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Runtime)?;
        let mut server = Server::start(settings, log)?;
        loop {
            tokio::select! {
                failure = server.failed() => {
                    error!(log, "giving up"; "why" => &failure);
                    server.stop().await;
                    return Err(RunError::Escalated(failure));
                }
                signal = signals.next() => match signal {
                    Signal::Stop => {
                        info!(log, "stopping");
                        server.stop().await;
                        let counts = server.counters().tallied();
                        info!(log, "stopped"; "complete" => counts.complete, "failed" => counts.failed,
                            "refused" => counts.refused, "dropped" => counts.dropped, "octets" => counts.octets);
                        return Ok(());
                    }
                    Signal::ReopenLog => match reopen_log() {
                        Ok(()) => info!(log, "log reopened"),
                        Err(error) => warn!(log, "can't reopen the log file: going on with the old one"; "why" => %error),
                    },
                },
            }
        }
    })
}

/// Each transfer has a socket and a file: lets the process have as many as its hard limit allows.
fn raise_open_files(log: &Logger) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(limits::OPEN_FILES_WANTED).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        warn!(log, "can't raise the limit of open files"; "why" => %error);
    }
}
