//! Signals to the daemon.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::ServerHandle;
use super::current::Current;

/// The signals that the daemon handles.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hang_up: Stream,
    user: Stream,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Turns signals into orders, forever. The first SIGTERM or SIGINT gives transfers, and then
    /// extensions' actors, time to end; the second does not.
    pub(super) async fn steer(&mut self, server: &ServerHandle, current: &Current) -> Infallible {
        let mut draining = false;
        loop {
            tokio::select! {
                Some(()) = async { tokio::select! {
                    it = self.terminate.recv() => it,
                    it = self.interrupt.recv() => it,
                } } => {
                    if std::mem::replace(&mut draining, true) {
                        server.stop_now();
                    } else {
                        server.drain(current.settings().drain_timeout);
                    }
                }
                Some(()) = self.hang_up.recv() => server.reload(),
                Some(()) = self.user.recv() => server.dump(),
                // tokio never ends these streams.
                else => std::future::pending().await,
            }
        }
    }
}
