//! Goals for the duration of transfers over lossy links, and for the number of needless repeats.
//! The tests run in virtual time, with the same result on every machine.

use std::time::Duration;

use crate::link::{Channel, Conditions, Pace, Report, Rng, Setup, Simulation, for_each_seed};
use stagecoach::internals::transfer::{Offer, Outcome, Timeouts};
use stagecoach::wire::{Direction, Mode};

const BLKSIZE: u64 = 1428;
/// 4 MiB.
const FILE_OCTETS: usize = 4 << 20;

/// A transfer whose client stops at its end.
fn setup(
    rng: &mut Rng,
    direction: Direction,
    conditions: &Conditions,
    blksize: u64,
    windowsize: u64,
    octets: usize,
) -> Setup {
    let minute = Duration::from_secs(60);
    let mut patient = Timeouts::default();
    (patient.unproven, patient.idle) = (minute, minute);
    let mut client_timeouts = patient;
    client_timeouts.dally = Duration::ZERO;
    Setup {
        direction,
        mode: Mode::Octet,
        options: vec![("blksize", blksize), ("windowsize", windowsize)],
        file: (0..octets).map(|at| (at % 251) as u8).collect(),
        offer: Offer::default(),
        client_timeouts,
        server_timeouts: patient,
        client_pace: Pace::default(),
        server_pace: Pace::default(),
        channels: [0, 1].map(|_| Channel::new(conditions.clone(), rng.fork())),
        rng: rng.fork(),
    }
}

/// Losses in each direction, in permille, on a network with a round trip of 0.4 ms.
fn lossy(loss: u64) -> Conditions {
    Conditions { loss, delay: Duration::from_micros(200), in_order: true, ..Conditions::default() }
}

/// The sender's report, and the duration for the client.
fn play(direction: Direction, conditions: &Conditions, windowsize: u64, seed: u64) -> (Report, Duration) {
    let mut rng = Rng::new(seed);
    let setup = setup(&mut rng, direction, conditions, BLKSIZE, windowsize, FILE_OCTETS);
    let (client, sessions) = Simulation::new(setup).run();
    assert_eq!(client.outcome, Some(Outcome::Complete));
    let took = client.ended_at;
    let furthest = sessions.into_iter().max_by_key(|session| session.tally.octets).expect("a session");
    (if direction == Direction::Read { furthest } else { client }, took)
}

/// The mean duration of ten transfers.
fn mean(direction: Direction, loss: u64, windowsize: u64) -> Duration {
    (0..10).map(|seed| play(direction, &lossy(loss), windowsize, seed).1).sum::<Duration>() / 10
}

#[test]
fn lock_step_with_1_percent_loss_meets_its_goal() {
    let took = mean(Direction::Read, 10, 1);
    eprintln!("4 MiB, 1 % lost each way, lock-step: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// curl asks for 6 s, and for blocks of 512 octets.
#[test]
fn a_6_s_timeout_with_1_percent_loss_meets_its_goal() {
    let plays = (0..10).map(|seed| {
        let mut rng = Rng::new(seed);
        let mut setup = setup(&mut rng, Direction::Read, &lossy(10), 512, 1, FILE_OCTETS);
        setup.options = vec![("tsize", 0), ("blksize", 512), ("timeout", 6)];
        setup.client_timeouts.ack = Duration::from_secs(6);
        let (client, _) = Simulation::new(setup).run();
        assert_eq!(client.outcome, Some(Outcome::Complete));
        client.ended_at
    });
    let took = plays.sum::<Duration>() / 10;
    eprintln!("4 MiB, 1 % lost each way, lock-step, 6 s negotiated: {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn windows_with_5_percent_loss_meet_their_goal() {
    let took = mean(Direction::Read, 50, 16);
    eprintln!("4 MiB, 5 % lost each way, windows of 16: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn uploads_take_twice_as_long_as_downloads_at_most() {
    for (loss, windowsize) in [(10, 1), (10, 16), (50, 1), (50, 16)] {
        let [down, up] =
            [Direction::Read, Direction::Write].map(|direction| mean(direction, loss, windowsize));
        eprintln!("{loss} permille lost, windows of {windowsize}: down {down:?}, up {up:?}");
        assert!(up <= down * 2, "{loss} permille, windows of {windowsize}: {up:?} up, {down:?} down");
    }
}

/// The loss of the last packet of a window costs about one interval, which is little more than a
/// round trip.
#[test]
fn loss_at_a_windows_end_costs_tens_of_ms() {
    for direction in [Direction::Read, Direction::Write] {
        let (_, whole) = play(direction, &lossy(0), 16, 1);
        let (sender, took) = play(direction, &lossy(10), 16, 1);
        let windows_repeated = sender.tally.repeats / 16 + 1;
        let each = (took - whole) / u32::try_from(windows_repeated).expect("a few");
        assert!(each < Duration::from_millis(60), "{direction}: {each:?} for each of {windows_repeated}");
    }
}

/// LORE-14: a Pi 4 hangs when a block comes twice.
#[test]
fn a_million_blocks_without_loss_need_no_repeat() {
    let mut rng = Rng::new(1);
    let conditions =
        Conditions { delay: Duration::from_micros(100), in_order: true, ..Conditions::default() };
    let setup = setup(&mut rng, Direction::Read, &conditions, 8, 16, 8_000_000);
    let (client, sessions) = Simulation::new(setup).run();
    assert_eq!(client.outcome, Some(Outcome::Complete));
    assert_eq!(sessions.iter().map(|session| session.tally.repeats).sum::<u64>(), 0);
    assert_eq!(sessions[0].tally.blocks, 1_000_001);
}

#[test]
fn jitter_repeats_at_most_1_block_in_1000() {
    for windowsize in [1, 16] {
        let (mut blocks, mut repeats) = (0, 0);
        for_each_seed("jitter_repeats_at_most_1_block_in_1000", 10, |seed| {
            let mut rng = Rng::new(seed);
            let conditions = Conditions {
                delay: Duration::from_millis(1),
                jitter: Duration::from_millis(30),
                in_order: true,
                ..Conditions::default()
            };
            let setup = setup(&mut rng, Direction::Read, &conditions, 8, windowsize, 40_000);
            let (_, sessions) = Simulation::new(setup).run();
            blocks += sessions.iter().map(|session| session.tally.blocks).sum::<u64>();
            repeats += sessions.iter().map(|session| session.tally.repeats).sum::<u64>();
        });
        eprintln!("windows of {windowsize}: {repeats} of {blocks} blocks repeated");
        assert!(repeats * 1000 < blocks, "windows of {windowsize}: {repeats} of {blocks}");
    }
}
