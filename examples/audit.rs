//! Logs who read and wrote which file, as JSON lines:
//! `cargo run --example audit -- 127.0.0.1:9069 DIRECTORY AUDIT.jsonl`.
//!
//! The observer is an actor in the server's tree with its own thread: a slow disk blocks that
//! thread, but no transfer. If the actor panics because the disk is full, it is restarted each
//! time; lines are lost, but no transfer fails.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;

use actix::prelude::*;
use serde_json::json;
use stagecoach::Stagecoach;
use stagecoach::extend::{ActorObserver, Observed};
use stagecoach::observe::Fact;
use stagecoach::supervision::{ChildSpec, RestartLimit};

/// The most facts that may wait for the actor.
const BEHIND_MAX: usize = 10_000;

struct Audit {
    lines: File,
}

impl Actor for Audit {
    type Context = Context<Self>;
}

impl Supervised for Audit {}

impl Handler<Observed> for Audit {
    type Result = ();

    fn handle(&mut self, Observed { fact, .. }: Observed, _: &mut Self::Context) {
        let Fact::Finished(report) = &*fact else { return };
        let line = json!({
            "peer": report.peer, "what": report.direction.as_str(), "name": report.name,
            "octets": report.tally.octets, "outcome": report.outcome.to_string(),
        });
        writeln!(self.lines, "{line}").expect("the audit can be written");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().ok_or("where to listen?")?.parse()?;
    let root = args.next().ok_or("which directory?")?;
    let lines = OpenOptions::new().create(true).append(true).open(args.next().ok_or("which file?")?)?;
    System::new().block_on(async {
        let mut builder = Stagecoach::builder().listen(listen).root(root);
        let audit = ChildSpec::permanent("audit", |_| Audit { lines }).limit(RestartLimit::endless());
        let audit = builder.start_child(audit.mailbox(BEHIND_MAX));
        let mut server = builder.observer(ActorObserver::new(audit.recipient())).start()?;
        println!("listening on {}", server.addresses()[0]);
        server.serve(|| Ok(())).await?;
        Ok(())
    })
}
