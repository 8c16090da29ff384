//! Your own actor below a supervisor: `cargo run --example supervised`.
//!
//! The actor panics on a bad message, and is restarted at the same address. When it exceeds its
//! restart limit, its supervisor gives up.

use std::sync::mpsc;
use std::time::Duration;

use actix::prelude::*;
use stagecoach::supervision::{ChildReport, ChildSpec, Exit, Follows, RestartLimit, Supervisor};

/// Adds up the numbers that it gets as text.
#[derive(Default)]
struct Adder {
    sum: u64,
}

impl Actor for Adder {
    type Context = Context<Self>;
}

impl Supervised for Adder {
    /// The struct is the same after a restart.
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
        // The receiver may be gone.
        let _ = told.send(report.clone());
    });
    let limit = RestartLimit::new(2, Duration::from_secs(10));
    let adder = root.start_child(ChildSpec::permanent("adder", |_| Adder::default()).limit(limit));
    assert_eq!(adder.send(Add("40")).await, Ok(40));
    assert_eq!(adder.send(Add("2")).await, Ok(42));
    // That message is lost. The next one reaches the restarted actor at the same address.
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
