//! The life of the serving program.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use slog::{Logger, warn};
use tokio::time::timeout;

use super::signals::Signals;
use super::system::ProgramSystem;
use super::watchdog::Watchdog;
use super::{Builder, RunError, StartError, service_manager};
use crate::actors::arbiter_runtime;
use crate::limits;
use crate::settings::Settings;

/// Serves until a signal ends it. SIGTERM or SIGINT [drains](super::ServerHandle::drain), a second
/// one [stops at once](super::ServerHandle::stop_now). SIGHUP calls `reopen_log`. SIGUSR1
/// [dumps](super::ServerHandle::dump) the live transfers to the log. The service manager is kept
/// informed (sd_notify). `sockets` are those that it has [passed](super::passed_sockets): if there
/// are any, the server binds no other.
///
/// `reopen_log` runs on a thread that serves no client, so it may block. The log and the service
/// manager's status report its failure.
///
/// The end takes at most the time to drain and 9 seconds, plus the time of
/// the extensions' actors. These stop one after the other: each has the time of its
/// [specification](crate::supervision::ChildSpec::stop_within) (5 seconds by default), and one more
/// second if it blocks its thread. The service manager is asked for the sum.
///
/// The end does not wait for a thread that hangs in a call to the disk or to the service manager.
///
/// The server has threads of its own. If the thread of its listeners is blocked for 10 seconds, the
/// call returns an error without waiting for that thread.
///
/// This needs the Cargo feature `program`, which is on by default.
///
/// # Errors
/// [`RunError`].
pub fn run(
    settings: Settings,
    sockets: Vec<UdpSocket>,
    log: &Logger,
    reopen_log: impl Fn() -> io::Result<()> + Send + 'static,
) -> Result<(), RunError> {
    run_extended(settings, sockets, log, reopen_log, |builder| builder)
}

/// The same with extensions: the [`Builder`] has the settings, the sockets and the log, and
/// `extend` adds to it. `extend` runs inside the server's actix `System`, so it may start actors.
/// [`cli::main_extended`](crate::cli::main_extended) does the same with the program's flags.
///
/// This needs the Cargo feature `program`, which is on by default.
///
/// # Errors
/// [`RunError`].
pub fn run_extended(
    settings: Settings,
    sockets: Vec<UdpSocket>,
    log: &Logger,
    reopen_log: impl Fn() -> io::Result<()> + Send + 'static,
    extend: impl FnOnce(Builder) -> Builder + Send + 'static,
) -> Result<(), RunError> {
    if let Err(error) = raise_open_files() {
        warn!(log, "can't raise the limit of open files"; "why" => %error);
    }
    let (watchdog, log) = (Watchdog::default(), log.clone());
    let beating = watchdog.clone();
    watchdog.watch(move || {
        let system = match arbiter_runtime() {
            Ok(runtime) => ProgramSystem::new(runtime),
            Err(error) => return (Err(StartError::Runtime(error).into()), None),
        };
        let builder = Builder::new().settings(settings).sockets(sockets).log(log.clone());
        let how = serve(&system.runner, || extend(builder), &log, reopen_log, beating);
        (how, Some(system))
    })
}

fn serve(
    system: &actix::SystemRunner,
    build: impl FnOnce() -> Builder,
    log: &Logger,
    reopen_log: impl Fn() -> io::Result<()> + Send + 'static,
    watchdog: Watchdog,
) -> Result<(), RunError> {
    system.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Runtime)?;
        let mut server = build().start()?;
        actix::spawn(watchdog.beat());
        let (handle, current) = (server.handle(), server.current.clone());
        let informed = actix::spawn(service_manager::keep_informed(
            handle.stages(),
            server.reload_failure.subscribe(),
            Arc::clone(&server.workers),
            server.status(),
            log.clone(),
        ));
        let ended = tokio::select! {
            ended = server.serve(reopen_log) => ended,
            never = signals.steer(&handle, &current) => match never {},
        };
        // A service manager that does not read must not delay the end.
        let _ = timeout(limits::NOTIFY_WITHIN, informed).await;
        ended
    })
}

/// Raises the limit of open files to the hard limit: each transfer has a socket and a file.
pub(crate) fn raise_open_files() -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(limits::OPEN_FILES_WANTED).max(soft);
    Ok(setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?)
}
