//! Assembly: the one room that knows everybody.

mod handle;
mod lifecycle;
mod server;
mod service_manager;
mod signals;
mod sockets;

use std::io;
use std::net::UdpSocket;

use slog::{Logger, warn};
use tokio::time::timeout;

pub use self::handle::ServerHandle;
pub use self::server::{Server, StartError};
use self::signals::Signals;
pub use self::sockets::passed_sockets;
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

/// Serves until a signal ends it: SIGTERM or SIGINT [drains](ServerHandle::drain), a second one stops, SIGHUP calls `reopen_log`, SIGUSR1
/// [dumps](ServerHandle::dump) the live transfers to the log. A service manager is kept informed (sd_notify). `sockets` are those that it has
/// [passed](passed_sockets): if there are any, no other is bound.
///
/// # Errors
/// [`RunError`].
pub fn run(
    settings: &Settings,
    sockets: Vec<UdpSocket>,
    log: &Logger,
    reopen_log: &dyn Fn() -> io::Result<()>,
) -> Result<(), RunError> {
    raise_open_files(log);
    let runtime = server::runtime().map_err(StartError::Runtime)?;
    let system = actix::System::with_tokio_rt(|| runtime);
    system.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Runtime)?;
        let mut server = Server::start_on(settings, sockets, log)?;
        let handle = server.handle();
        let informed = actix::spawn(service_manager::keep_informed(
            handle.stages(),
            server.arbiters(),
            server.status(),
            log.clone(),
        ));
        let ended = tokio::select! {
            ended = server.serve(reopen_log) => ended,
            never = signals.steer(&handle, settings.drain_timeout) => match never {},
        };
        // A manager that doesn't listen holds nothing up.
        let _ = timeout(limits::NOTIFY_WITHIN, informed).await;
        ended
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
