//! Many clients of several behaviors at one server, over links that lose, duplicate, reorder and
//! delay packets, in virtual time. Everything follows from a seed. A failure prints the seed and
//! the command that replays it.

#[path = "../link/mod.rs"]
mod link;
mod network;
mod scripted_client;

use std::time::Duration;

use link::{Channel, Conditions, Pace, Rng, for_each_seed};
use network::{Host, Network};
use scripted_client::{Behavior, ClientOutcome, ScriptedClient};
use stagecoach::internals::limits;
use stagecoach::internals::transfer::{Outcome, Timeouts};

/// Runs of each of the four parts, which run side by side.
const RUNS: u64 = 25_000;

/// The links of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkQuality {
    /// Nothing is lost, duplicated or reordered.
    Perfect,
    Lossy,
    /// Some transfers will fail.
    VeryLossy,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn conditions(rng: &mut Rng, quality: LinkQuality, client: &ScriptedClient) -> Conditions {
    let delay = ms(rng.one_of(&[0, 1, 5, 20]));
    let calm = Conditions { delay, in_order: true, ..Conditions::default() };
    if quality == LinkQuality::Perfect {
        return calm;
    }
    let loss = if quality == LinkQuality::Lossy { [0, 5, 20, 50] } else { [100, 300, 600, 1000] };
    Conditions {
        loss: rng.one_of(&loss),
        burst: rng.one_of(&[0, 0, 5]),
        burst_length: ms(rng.one_of(&[1, 30, 300])),
        duplicate: if client.tolerates_duplicates() { rng.one_of(&[0, 0, 20, 200]) } else { 0 },
        reorder: rng.one_of(&[0, 0, 20, 100]),
        jitter: ms(rng.one_of(&[0, 0, 1, 10])),
        in_order: rng.chance(300),
        ..calm
    }
}

fn host(rng: &mut Rng, quality: LinkQuality) -> Host {
    let client =
        ScriptedClient::random("f".to_owned(), 40, &[8, 9, 100, 512, 512, 1428], &[1, 1, 2, 4, 7, 16], rng);
    let channels = [(); 2].map(|()| Channel::new(conditions(rng, quality, &client), rng.fork()));
    Host::new(client, channels, ms(rng.within(0..=500)))
}

fn simulate(seed: u64) {
    let mut rng = Rng::new(seed);
    let quality =
        rng.one_of(&[LinkQuality::Perfect, LinkQuality::Lossy, LinkQuality::Lossy, LinkQuality::VeryLossy]);
    let clients = rng.length(1..=6);
    let hosts = (0..clients).map(|_| host(&mut rng, quality)).collect();
    let pace = Pace {
        slab: ms(rng.one_of(&[0, 0, 1, 40])),
        publish: ms(rng.one_of(&[0, 0, 5])),
        odd_pieces: rng.chance(300),
    };
    let is_very_lossy = quality == LinkQuality::VeryLossy;
    let mut timeouts = Timeouts::default();
    timeouts.idle = ms(120_000);
    timeouts.fixed = !is_very_lossy && rng.chance(100);
    let forgeries = if rng.chance(200) { rng.length(1..=10) } else { 0 };
    let network = Network::new(hosts, timeouts, pace, if is_very_lossy { 12 } else { 3 }, rng.fork())
        .with_forgeries(forgeries);
    let (hosts, sessions) = network.run();
    for (index, host) in hosts.iter().enumerate() {
        let client = &host.client;
        let (behavior, request) = (client.behavior(), client.request());
        let reports: Vec<_> =
            sessions.iter().filter(|session| session.client == index).map(network::Session::report).collect();
        if behavior != Behavior::NeverAnswers {
            let ended = client.outcome.expect("a transfer that ended for its client");
            // A client that restarts can take a late packet of the old transfer for one of the new
            // transfer: the protocol does not prevent that. A client that repeats early gives up
            // before a burst of losses is over.
            let is_steady =
                !matches!(behavior, Behavior::Reboots | Behavior::RepeatsEarly | Behavior::HangsOnCopies);
            let is_fair = quality == LinkQuality::Perfect || (quality == LinkQuality::Lossy && is_steady);
            let is_certain = is_fair && forgeries == 0;
            // (A client that loses every copy of the last ACK can't know.)
            let is_there = !request.is_read && reports.iter().any(|report| report.published);
            assert!(
                !is_certain || ended == ClientOutcome::Complete || is_there,
                "{behavior:?}: {ended:?}, {reports:?}"
            );
        }
        if client.outcome == Some(ClientOutcome::Complete) && !request.is_read {
            let stored = reports.iter().any(|it| it.published && it.stored == *request.file);
            assert!(stored, "a client thinks that its file arrived");
        }
        for report in &reports {
            let outcome = report.outcome.as_ref().expect("a session without an outcome");
            assert!(!report.published || report.stored == *request.file, "the file arrived, but changed");
            assert!(*outcome != Outcome::Complete || request.is_read || report.published);
            if quality == LinkQuality::Perfect && forgeries == 0 && behavior.causes_no_repeats() {
                assert!(report.data.values().all(|times| *times == 1), "{behavior:?}: {:?}", report.data);
                assert!(report.tally.repeats == 0);
            }
            // LORE-14: nothing is lost here, so a block that comes again is one too many for some
            // devices. (After two repeats it may come sooner: both may have seemed to be needed,
            // because pauses ended by chance when the answers to them were due.)
            if quality == LinkQuality::Perfect && forgeries == 0 && behavior.pauses() {
                let soonest = report.soonest_copy.unwrap_or(Duration::MAX);
                assert!(soonest >= limits::REPEAT_FLOOR, "{behavior:?}: a copy after {soonest:?}");
            }
        }
    }
}

fn simulate_part(name: &str, part: u64) {
    for_each_seed(name, RUNS, |seed| simulate(seed * 4 + part));
}

#[test]
fn every_client_gets_its_file_1() {
    simulate_part("every_client_gets_its_file_1", 0);
}

#[test]
fn every_client_gets_its_file_2() {
    simulate_part("every_client_gets_its_file_2", 1);
}

#[test]
fn every_client_gets_its_file_3() {
    simulate_part("every_client_gets_its_file_3", 2);
}

#[test]
fn every_client_gets_its_file_4() {
    simulate_part("every_client_gets_its_file_4", 3);
}
