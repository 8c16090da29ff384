//! A server inside another program: `cargo run --example embed -- DIRECTORY`.
//!
//! The library takes its logger as an argument and touches nothing global.

use std::time::Duration;

use slog::{Drain, Logger, o};
use stagecoach::daemon::Server;
use stagecoach::settings::Settings;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drain = slog_term::FullFormat::new(slog_term::PlainSyncDecorator::new(std::io::stderr())).build();
    let log = Logger::root(drain.fuse(), o!());

    let mut settings = Settings::default();
    settings.root = std::env::args_os().nth(1).unwrap_or_else(|| ".".into()).into();
    settings.read_only = true;

    actix::System::new().block_on(async {
        let mut server = Server::start(&settings, &log)?;
        let handle = server.handle();
        actix::spawn(async move {
            // Without that signal it serves for ever.
            if tokio::signal::ctrl_c().await.is_ok() {
                handle.drain(Duration::from_secs(10));
            }
        });
        server.serve(&|| Ok(())).await?;
        Ok(())
    })
}
