//! A server inside another program, which serves until a board has read its image:
//! `cargo run --example embed -- 127.0.0.1:9069 DIRECTORY vmlinuz`
//!
//! The library takes its logger as an argument, changes no global state, and needs neither flags
//! nor signals.

use std::error::Error;
use std::time::Duration;

use slog::{Drain, Logger, o};
use stagecoach::Stagecoach;
use stagecoach::observe::Fact;
use stagecoach::settings::Settings;
use tokio::sync::mpsc::unbounded_channel;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, directory, image] = &args[..] else { return Err("where, what, until which file?".into()) };
    let drain = slog_term::FullFormat::new(slog_term::PlainSyncDecorator::new(std::io::stderr())).build();
    let log = Logger::root(drain.fuse(), o!());
    let mut settings = Settings::default();
    settings.read_only = true;
    let (image, (tell, mut told)) = (image.clone(), unbounded_channel());
    actix::System::new().block_on(async {
        let mut server = Stagecoach::builder()
            .settings(settings)
            .listen(listen.parse()?)
            .root(directory)
            .observer(move |fact: &Fact<'_>| {
                if let Fact::Finished(report) = fact
                    && report.outcome.is_success()
                    && report.name == image
                {
                    // After the first board, nobody receives this.
                    let _ = tell.send(format!("{} has {} octets", report.peer.ip(), report.tally.octets));
                }
            })
            .log(log)
            .start()?;
        println!("listening on {}", server.addresses()[0]);
        let handle = server.handle();
        actix::spawn(async move {
            if let Some(flashed) = told.recv().await {
                println!("{flashed}");
                handle.drain(Duration::from_secs(10));
            }
        });
        Ok(server.serve(|| Ok(())).await?)
    })
}
