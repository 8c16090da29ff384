//! Transfers over links that lose, duplicate, reorder and delay packets.

#[path = "lossy_link/goals.rs"]
mod goals;
mod link;

use std::time::Duration;

use link::{Channel, Conditions, Delivery, Pace, Report, Rng, Setup, Simulation, for_each_seed};
use stagecoach::internals::transfer::{Offer, Outcome, Rollover, Timeouts};
use stagecoach::wire::{Direction, Mode};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Octets with many line ends.
fn file(rng: &mut Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| if rng.chance(100) { rng.one_of(b"\r\n") } else { rng.next() as u8 }).collect()
}

fn setup(rng: &mut Rng, direction: Direction, there: Conditions, back: Conditions) -> Setup {
    Setup {
        direction,
        mode: Mode::Octet,
        options: Vec::new(),
        file: Vec::new(),
        offer: Offer::default(),
        client_timeouts: Timeouts::default(),
        server_timeouts: Timeouts::default(),
        client_pace: Pace::default(),
        server_pace: Pace::default(),
        channels: [Channel::new(there, rng.fork()), Channel::new(back, rng.fork())],
        rng: rng.fork(),
    }
}

/// A random transfer of up to some hundred blocks.
fn any_setup(rng: &mut Rng, conditions: &mut dyn FnMut(&mut Rng) -> Conditions) -> Setup {
    let direction = rng.one_of(&[Direction::Read, Direction::Write]);
    let (there, back) = (conditions(rng), conditions(rng));
    let mut setup = setup(rng, direction, there, back);
    let mut blksize = 512;
    if rng.chance(700) {
        blksize = rng.one_of(&[8, 9, 100, 512, 1428, 8192, 65464]);
        setup.options.push(("blksize", blksize));
    }
    if rng.chance(600) {
        setup.options.push(("windowsize", rng.one_of(&[1, 2, 3, 4, 7, 16, 64])));
    }
    if rng.chance(300) {
        setup.options.push(("tsize", 0));
    }
    if rng.chance(200) {
        setup.options.push(("timeout", rng.one_of(&[1, 2])));
    }
    if rng.chance(300) {
        setup.mode = Mode::Netascii;
    }
    let blocks = rng.within(0..=if blksize > 8000 { 12 } else { 120 });
    let length = (blocks * blksize + rng.one_of(&[0, 0, 1, blksize - 1])) as usize;
    setup.file = file(rng, length);
    setup
}

fn any_pace(rng: &mut Rng) -> Pace {
    Pace {
        slab: ms(rng.one_of(&[0, 0, 1, 40, 900])),
        publish: ms(rng.one_of(&[0, 0, 5, 3000])),
        odd_pieces: rng.chance(500),
    }
}

/// A bad link on which every transfer still completes.
fn bad(rng: &mut Rng) -> Conditions {
    Conditions {
        loss: rng.one_of(&[0, 10, 50, 100]),
        burst: rng.one_of(&[0, 0, 5, 20]),
        burst_length: ms(rng.one_of(&[1, 30, 300])),
        duplicate: rng.one_of(&[0, 0, 20, 200]),
        reorder: rng.one_of(&[0, 0, 20, 100]),
        delay: ms(rng.one_of(&[0, 1, 10, 100])),
        jitter: ms(rng.one_of(&[0, 0, 1, 10, 50])),
        in_order: rng.chance(300),
    }
}

struct Ends {
    sender: Report,
    receiver: Report,
}

/// The end that sent the file and the end that received it. Of several sessions, the one with the
/// most progress.
fn ends(direction: Direction, client: Report, sessions: Vec<Report>) -> Ends {
    let rank = |report: &Report| (report.published, report.tally.octets, report.tally.blocks);
    let server = sessions.into_iter().max_by_key(rank).unwrap_or_default();
    match direction {
        Direction::Read => Ends { sender: server, receiver: client },
        Direction::Write => Ends { sender: client, receiver: server },
    }
}

/// What must hold on any link: no end claims more than it can know.
fn check_claims(ends: &Ends, file: &[u8]) {
    let Ends { sender, receiver } = ends;
    let arrived = receiver.outcome == Some(Outcome::Complete);
    assert_eq!(arrived, receiver.published, "{:?}", receiver.outcome);
    if arrived {
        assert!(receiver.stored == file, "the file arrived, but changed");
    }
    match &sender.outcome {
        Some(Outcome::Complete) => assert!(arrived, "the sender thinks that the file arrived"),
        Some(Outcome::Unconfirmed) => {}
        // A single block without an answer: the sender can't know whether the block or its ACK was
        // lost.
        Some(Outcome::Unanswered) if sender.data.len() == 1 => {}
        outcome => assert!(!arrived, "the file arrived, and its sender says {outcome:?}"),
    }
}

#[test]
fn every_file_arrives_over_a_bad_link() {
    let mut patient = Timeouts::default();
    (patient.unproven, patient.idle) = (ms(60_000), ms(60_000));
    for_each_seed("every_file_arrives_over_a_bad_link", 6000, |seed| {
        let mut rng = Rng::new(seed);
        let mut setup = any_setup(&mut rng, &mut bad);
        (setup.client_pace, setup.server_pace) = (any_pace(&mut rng), any_pace(&mut rng));
        let windowsize =
            setup.options.iter().find(|(name, _)| *name == "windowsize").map_or(1, |option| option.1);
        setup.client_timeouts = patient;
        // Each request gets three datagrams. If all three are lost, only the next session sends
        // another three. The timeouts are longer than usual, as the readers of some clients take
        // seconds.
        setup.server_timeouts = patient;
        setup.server_timeouts.unproven = ms(20_000);
        let (direction, file) = (setup.direction, setup.file.clone());
        let (client, sessions) = Simulation::new(setup).run();
        let ends = ends(direction, client, sessions);
        check_claims(&ends, &file);
        assert_eq!(ends.receiver.outcome, Some(Outcome::Complete), "sender: {:?}", ends.sender.outcome);
        // In the worst case each window delivers one block. A block may also have to wait for a
        // slow disk.
        let (blocks, sent) = (ends.sender.data.len() as u64, ends.sender.data_sent());
        assert!(sent <= 3 * windowsize * blocks + 20, "{sent} DATA for {blocks} blocks");
    });
}

/// RFC 7440 §4: a lost packet costs about one window.
#[test]
fn a_few_losses_cost_a_few_windows() {
    for_each_seed("a_few_losses_cost_a_few_windows", 100, |seed| {
        let mut rng = Rng::new(seed);
        let conditions = Conditions { loss: 20, delay: ms(5), in_order: true, ..Conditions::default() };
        let channels = [0, 1].map(|_| Channel::new(conditions.clone(), rng.fork()));
        let direction = rng.one_of(&[Direction::Read, Direction::Write]);
        let mut setup = long_setup(&mut rng, direction, 600, channels);
        let windowsize = rng.one_of(&[1, 4, 16]);
        setup.options.push(("windowsize", windowsize));
        let (client, sessions) = Simulation::new(setup).run();
        let Ends { sender, receiver } = ends(direction, client, sessions);
        assert_eq!(receiver.outcome, Some(Outcome::Complete));
        let most = 600 * 2 + 4 * windowsize;
        assert!(sender.data_sent() <= most, "{} DATA, window {windowsize}", sender.data_sent());
    });
}

/// Each end gives up by itself, and reports only what it can know.
#[test]
fn an_almost_dead_link_ends_every_transfer() {
    for_each_seed("an_almost_dead_link_ends_every_transfer", 1000, |seed| {
        let mut rng = Rng::new(seed);
        let mut terrible =
            |rng: &mut Rng| Conditions { loss: rng.one_of(&[300, 600, 900, 1000]), ..bad(rng) };
        let mut setup = any_setup(&mut rng, &mut terrible);
        (setup.client_pace, setup.server_pace) = (any_pace(&mut rng), any_pace(&mut rng));
        let (direction, file) = (setup.direction, setup.file.clone());
        let (client, sessions) = Simulation::new(setup).run();
        let stated = [Outcome::Complete, Outcome::Unconfirmed, Outcome::Unanswered, Outcome::TimedOut];
        assert!(stated.contains(client.outcome.as_ref().unwrap()), "{:?}", client.outcome);
        check_claims(&ends(direction, client, sessions), &file);
    });
}

/// A LAN without losses, with a jitter far below the round trip.
fn good(rng: &mut Rng) -> Conditions {
    let delay = ms(rng.one_of(&[1, 5, 50]));
    Conditions { delay, jitter: delay / 10, in_order: true, ..Conditions::default() }
}

/// LORE-14: a Pi 4 hangs when a block comes twice.
#[test]
fn nothing_is_sent_twice_over_a_good_link() {
    for_each_seed("nothing_is_sent_twice_over_a_good_link", 1000, |seed| {
        let mut rng = Rng::new(seed);
        let mut setup = any_setup(&mut rng, &mut good);
        let slab = rng.one_of(&[0, 1, 100]);
        let slow = Pace { slab: ms(slab), publish: ms(0), odd_pieces: slab < 2 && rng.chance(500) };
        match setup.direction {
            Direction::Read => setup.server_pace = slow,
            Direction::Write => setup.client_pace = slow,
        }
        let (direction, file) = (setup.direction, setup.file.clone());
        let (client, sessions) = Simulation::new(setup).run();
        assert_eq!(sessions.len(), 1);
        let Ends { sender, receiver } = ends(direction, client, sessions);
        assert_eq!(receiver.outcome, Some(Outcome::Complete));
        assert_eq!(sender.outcome, Some(Outcome::Complete));
        assert!(receiver.stored == file);
        assert!(sender.data.values().all(|&times| times == 1), "{:?}", sender.data);
        assert_eq!((sender.tally.repeats, receiver.tally.repeats), (0, 0));
    });
}

/// Sends `blocks` blocks of 8 octets over `channels`.
fn long_setup(rng: &mut Rng, direction: Direction, blocks: usize, channels: [Channel; 2]) -> Setup {
    let mut setup = setup(rng, direction, Conditions::default(), Conditions::default());
    setup.file = (0..blocks * 8 - 3).map(|at| (at / 8 * 31 + at) as u8).collect();
    setup.options = vec![("blksize", 8)];
    setup.channels = channels;
    setup
}

fn plain_channel(rng: &mut Rng) -> Channel {
    let conditions = Conditions { delay: ms(10), in_order: true, ..Conditions::default() };
    Channel::new(conditions, rng.fork())
}

/// The link duplicates every packet. R1123-01: no block is sent more often because of that (the
/// Sorcerer's Apprentice bug of RFC 1350). R7440-08: with windows, no block is sent more than
/// twice.
#[test]
fn doubled_packets_cause_no_repeats() {
    for_each_seed("doubled_packets_cause_no_repeats", 200, |seed| {
        let mut rng = Rng::new(seed);
        let jitter = ms(rng.one_of(&[0, 1]));
        let conditions =
            Conditions { duplicate: 1000, delay: ms(10), jitter, in_order: true, ..Conditions::default() };
        let channels = [0, 1].map(|_| Channel::new(conditions.clone(), rng.fork()));
        let direction = rng.one_of(&[Direction::Read, Direction::Write]);
        let mut setup = long_setup(&mut rng, direction, 300, channels);
        let windowsize = rng.one_of(&[1, 4, 16]);
        setup.options.push(("windowsize", windowsize));
        let (direction, file) = (setup.direction, setup.file.clone());
        let (client, sessions) = Simulation::new(setup).run();
        let ends = ends(direction, client, sessions);
        check_claims(&ends, &file);
        assert_eq!(ends.receiver.outcome, Some(Outcome::Complete));
        let most = if windowsize == 1 { 300 } else { 600 };
        assert!(ends.sender.data_sent() <= most, "{} DATA for 300 blocks", ends.sender.data_sent());
    });
}

/// R1123-01: one ACK is later than the sender waits. The sender repeats the blocks in flight, and
/// sends all later blocks once.
#[test]
fn one_late_ack_costs_one_window() {
    for (direction, windowsize) in
        [(Direction::Read, 1), (Direction::Write, 1), (Direction::Read, 8), (Direction::Write, 8)]
    {
        let mut rng = Rng::new(0);
        let late = Channel::new(Conditions { delay: ms(10), ..Conditions::default() }, rng.fork());
        let mut left = 1;
        let late = late.scripted(move |octets| {
            let is_the_one = octets[..] == [0, 4, 0, 96] && left == 1;
            left -= u32::from(is_the_one);
            if is_the_one { Delivery::Late(ms(300)) } else { Delivery::Normal }
        });
        let plain = plain_channel(&mut rng);
        let channels = if direction == Direction::Read { [late, plain] } else { [plain, late] };
        let mut setup = long_setup(&mut rng, direction, 400, channels);
        setup.options.push(("windowsize", windowsize));
        let (client, sessions) = Simulation::new(setup).run();
        let Ends { sender, receiver } = ends(direction, client, sessions);
        assert_eq!(receiver.outcome, Some(Outcome::Complete));
        let repeated: Vec<_> = sender.data.iter().filter(|(_, times)| **times > 1).collect();
        let window: Vec<_> = (97 - windowsize..=96).collect();
        assert_eq!(repeated.iter().map(|(position, _)| **position).collect::<Vec<_>>(), window);
        assert!(repeated.iter().all(|(_, times)| **times == 2), "{direction} {repeated:?}");
    }
}

/// LORE-01, R7440-16: block numbers wrap in both directions, to whichever number an end chose.
#[test]
fn a_long_file_arrives_whatever_follows_block_65535() {
    for_each_seed("a_long_file_arrives_whatever_follows_block_65535", 6, |seed| {
        let mut rng = Rng::new(seed);
        let direction = [Direction::Read, Direction::Write][seed as usize % 2];
        let conditions = Conditions { loss: 10, delay: ms(1), in_order: true, ..Conditions::default() };
        let channels = [0, 1].map(|_| Channel::new(conditions.clone(), rng.fork()));
        let mut setup = long_setup(&mut rng, direction, 70_000, channels);
        setup.options.push(("windowsize", 7));
        match seed / 2 % 3 {
            0 => {}
            rollover => setup.options.push(("rollover", rollover - 1)),
        }
        let file = setup.file.clone();
        let (client, sessions) = Simulation::new(setup).run();
        let ends = ends(direction, client, sessions);
        check_claims(&ends, &file);
        assert_eq!(ends.receiver.outcome, Some(Outcome::Complete));
        assert!(ends.sender.data_sent() < 80_000, "{} DATA for 70000 blocks", ends.sender.data_sent());
    });
}

/// LORE-01..-04 at the wrap itself, with no option but the block size: an upload may wrap to either
/// number.
#[test]
fn files_that_end_around_the_wrap_arrive() {
    for blocks in [65_534, 65_535, 65_536, 65_537] {
        for (direction, offered) in [
            (Direction::Read, Rollover::Zero),
            (Direction::Read, Rollover::One),
            (Direction::Write, Rollover::Zero),
            (Direction::Write, Rollover::One),
        ] {
            let mut rng = Rng::new(0);
            let channels = [0, 1].map(|_| plain_channel(&mut rng));
            let mut setup = long_setup(&mut rng, direction, blocks, channels);
            setup.offer.rollover = offered;
            let file = setup.file.clone();
            let (client, sessions) = Simulation::new(setup).run();
            let ends = ends(direction, client, sessions);
            check_claims(&ends, &file);
            assert_eq!(ends.receiver.outcome, Some(Outcome::Complete), "{direction} {blocks} {offered:?}");
            assert_eq!(ends.sender.data_sent(), blocks as u64);
        }
    }
}

/// R1350-25: the receiver of a file answers copies of the last block until the sender has got its
/// ACK.
#[test]
fn the_last_ack_may_be_lost_thrice() {
    for direction in [Direction::Read, Direction::Write] {
        let mut rng = Rng::new(0);
        let mut left = 3;
        let lossy = plain_channel(&mut rng).scripted(move |octets| {
            let is_lost = octets[..] == [0, 4, 0, 50] && left > 0;
            left -= u32::from(is_lost);
            if is_lost { Delivery::Lost } else { Delivery::Normal }
        });
        let plain = plain_channel(&mut rng);
        let channels = if direction == Direction::Read { [lossy, plain] } else { [plain, lossy] };
        let setup = long_setup(&mut rng, direction, 50, channels);
        let file = setup.file.clone();
        let (client, sessions) = Simulation::new(setup).run();
        let Ends { sender, receiver } = ends(direction, client, sessions);
        assert_eq!((sender.outcome, receiver.outcome), (Some(Outcome::Complete), Some(Outcome::Complete)));
        assert!(receiver.stored == file);
        assert_eq!(sender.data[&50], 4);
    }
}
