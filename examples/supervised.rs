//! An actor of your own below a supervisor: `cargo run --example supervised`.
//!
//! It panics on a bad message, comes back at its address, passes its restart limit; then its supervisor gives up.

use std::sync::mpsc;

use actix::prelude::*;
use stagecoach::supervision::{ChildReport, ChildSpec, Exit, Follows, RestartLimit, Supervisor};

/// Keeps the sum of the numbers that it is sent as text.
#[derive(Default)]
struct Adder {
    sum: u64,
}

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Supervised for Adder {
    /// Another life begins in the same struct.
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::default();
    }
}

#[derive(Message)]
#[rtype(u64)]
struct Add(&'static str);

impl Handler<Add> for Adder {
    type Result = u64;

    fn handle(&mut self, Add(text): Add, _: &mut Context<Self>) -> u64 {
        self.sum += text.parse::<u64>().expect("a number");
        self.sum
    }
}

async fn add_until_given_up(told: mpsc::Sender<ChildReport>) -> Exit {
    let root = Supervisor::start("root", move |report| {
        eprintln!("the {} {} ({:?})", report.child, report.exit, report.follows);
        // Nobody may listen any more.
        let _ = told.send(report.clone());
    });
    let limit = RestartLimit { restarts_max: 2, ..RestartLimit::default() };
    let adder = root.start_child(ChildSpec::permanent("adder", |_| Adder::default()).limit(limit));
    assert_eq!(adder.send(Add("40")).await, Ok(40));
    assert_eq!(adder.send(Add("2")).await, Ok(42));
    // That message is lost; the next finds another life at the same address.
    assert_eq!(adder.send(Add("many")).await, Err(MailboxError::Closed));
    assert_eq!(adder.send(Add("1")).await, Ok(1));
    for text in ["many", "more"] {
        adder.do_send(Add(text));
    }
    root.ended().await
}

fn main() {
    let (told, reports) = mpsc::channel();
    let exit = System::new().block_on(add_until_given_up(told));
    eprintln!("the root {exit}");
    assert!(matches!(&exit, Exit::GaveUp(why) if why.starts_with("the adder panicked: a number")), "{exit}");
    let follows: Vec<Follows> = reports.iter().map(|report: ChildReport| report.follows).collect();
    assert!(
        matches!(follows[..], [Follows::Restart { .. }, Follows::Restart { .. }, Follows::GiveUp]),
        "{follows:?}"
    );
}

#[cfg(test)]
#[test]
fn an_adder_comes_back_until_its_supervisor_gives_up() {
    main();
}
