//! The whole program `stagecoach` with all of its flags, which also reports each transfer to
//! another server, as a JSON line:
//! `INVENTORY=192.0.2.1:7000 cargo run --example inventory -- --root DIRECTORY`.
//!
//! The actor awaits the network without blocking a thread. Its handler returns an `AtomicResponse`,
//! so it handles one fact at a time. At the end all waiting facts are reported, within the thirty
//! seconds that the actor may take to stop. Futures of `ResponseFuture`, `ResponseActFuture` or
//! `ctx.spawn` would be dropped then.

use std::process::ExitCode;

use actix::prelude::*;
use serde_json::json;
use stagecoach::cli;
use stagecoach::extend::{ActorObserver, Observed};
use stagecoach::observe::Fact;
use stagecoach::supervision::{ChildSpec, RestartLimit};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

/// The most facts that may wait for the actor.
const BEHIND_MAX: usize = 10_000;
const STOP_WITHIN: Duration = Duration::from_secs(30);

struct Inventory {
    address: String,
}

impl Actor for Inventory {
    type Context = Context<Self>;
}

impl Supervised for Inventory {}

impl Handler<Observed> for Inventory {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, observed: Observed, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(fut::wrap_future(report(self.address.clone(), observed))))
    }
}

/// The future owns `observed`: if it is dropped, the fact is counted as lost.
async fn report(address: String, observed: Observed) {
    let Fact::Finished(report) = &*observed.fact else { return };
    let line = json!({ "peer": report.peer, "name": report.name, "octets": report.tally.octets });
    let reported = timeout(STOP_WITHIN, send(&address, format!("{line}\n"))).await;
    reported.expect("the inventory answers").expect("the inventory takes the line");
}

/// Sends a line, and waits until the other server has closed the connection.
async fn send(address: &str, line: String) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let mut octets = line.as_bytes();
    while !octets.is_empty() {
        stream.writable().await?;
        match stream.try_write(octets) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            written => octets = &octets[written?..],
        }
    }
    stream.readable().await
}

fn main() -> ExitCode {
    let address = std::env::var("INVENTORY").unwrap_or_else(|_| "127.0.0.1:7000".into());
    cli::main_extended(std::env::args_os(), move |mut builder| {
        let spec = ChildSpec::permanent("inventory", |_| Inventory { address });
        let spec = spec.limit(RestartLimit::endless()).mailbox(BEHIND_MAX).stop_within(STOP_WITHIN);
        let inventory = builder.start_child(spec);
        builder.observer(ActorObserver::new(inventory.recipient()))
    })
}
