use proptest::collection::vec;
use proptest::prelude::*;

use super::Client;
use crate::error::{Failure, Fault};
use crate::transfer::script::Script;
use crate::transfer::{Input, Machine, OnAbort, Opening, Receiver, Sender, Terms, Timeouts};
use crate::wire::{Direction, Mode, Options, Packet, Request, Text};

const NOTHING: [&str; 0] = [];

fn client(direction: Direction, pairs: &[(&'static str, u64)]) -> Script<Client> {
    let mut options = Options::new();
    for &(name, value) in pairs {
        options.push(Text::new(name.as_bytes()).unwrap(), value.into());
    }
    let request = Request::new(direction, Text::new(&b"f"[..]).unwrap(), Mode::Octet, options).unwrap();
    let mut script = Script::new(Client::new(request, Timeouts::default())).reading(vec![7; 20]);
    assert_eq!(script.start(), [direction.as_str()]);
    script
}

#[test]
fn a_read_without_options() {
    let mut script = client(Direction::Read, &[]);
    assert_eq!(script.machine.terms(), None);
    assert_eq!(script.data(1, &[1; 512]), ["ACK 1"]);
    assert_eq!(script.machine.terms(), Some(&Terms::default()));
    assert_eq!(script.data(2, b"x"), ["publish", "ACK 2", "complete"]);
    assert_eq!(script.data(2, b"x"), ["ACK 2"], "it dallies, like a server");
}

#[test]
fn a_read_of_one_block() {
    let mut script = client(Direction::Read, &[("blksize", 1428)]);
    assert_eq!(script.data(1, b"abc"), ["publish", "ACK 1", "complete"], "a server that knows no options");
    assert_eq!(script.stored, b"abc");
}

#[test]
fn r2347_09_a_read_with_options_begins_with_ack_0() {
    let mut script = client(Direction::Read, &[("blksize", 8), ("windowsize", 2)]);
    assert_eq!(script.datagram(b"\0\x06blksize\x008\0windowsize\x002\0"), ["ACK 0"]);
    script.now_ms += 1;
    assert_eq!(script.datagram(b"\0\x06blksize\x008\0windowsize\x002\0"), ["ACK 0"], "ACK 0 was lost");
    assert_eq!(script.data(1, &[1; 8]), NOTHING);
    assert_eq!(script.data(2, &[2; 8]), ["ACK 2"]);
    assert_eq!(
        script.datagram(b"\0\x06blksize\x008\0windowsize\x002\0"),
        NOTHING,
        "too late to mean anything"
    );
}

#[test]
fn a_write_with_and_without_options() {
    let mut script = client(Direction::Write, &[]);
    assert_eq!(script.ack(1), NOTHING);
    assert_eq!(script.ack(0), ["DATA 1"]);
    assert_eq!(script.ack(1), ["complete", "close"]);
    let mut script = client(Direction::Write, &[("blksize", 8)]);
    assert_eq!(script.datagram(b"\0\x06blksize\x008\0"), ["DATA 1"], "R2347-10: DATA 1 is the acceptance");
    assert_eq!(script.ack(1), ["DATA 2"]);
}

#[test]
fn r2347_03_an_unrequested_oack_is_refused_once() {
    for oack in [&b"\0\x06tsize\x005\0"[..], b"\0\x06blksize\x009\0", b"\0\x06blksize\0x\0"] {
        let mut script = client(Direction::Read, &[("blksize", 8)]);
        assert_eq!(script.datagram(oack), ["ERROR 8", "failed", "close"]);
        assert_eq!(script.datagram(oack), NOTHING);
        assert_eq!(script.deadline, None);
    }
}

#[test]
fn an_oack_after_the_end_is_not_answered() {
    let mut script = client(Direction::Read, &[("blksize", 8)]);
    script.datagram(b"\0\x06blksize\x008\0");
    assert_eq!(script.fail(Failure::DiskFull), ["ERROR 3", "failed", "close"]);
    assert_eq!(script.datagram(b"\0\x06blksize\x008\0"), NOTHING);
}

#[test]
fn a_request_is_repeated_and_given_up() {
    let mut script = client(Direction::Read, &[]);
    let said = script.wait_timed(60_000);
    let times: Vec<_> = said.iter().filter(|(_, said)| said == "read").map(|(at, _)| *at).collect();
    assert_eq!(times, [500, 1500, 3500, 7500, 12_500, 17_500]);
    assert_eq!(said[said.len() - 2..], [(20_000, "unanswered".into()), (20_000, "close".into())]);
    assert!(!script.machine.is_proven());
}

#[test]
fn a_refusal_before_the_first_answer_is_not_final() {
    let mut script = client(Direction::Write, &[]);
    assert_eq!(script.feed(Input::PeerGone), NOTHING);
    let repeats = [(500, "write".into()), (1500, "write".into())];
    assert_eq!(script.wait_timed(2000), repeats, "no sooner than to a silent server");
    assert_eq!(script.feed(Input::PeerGone), NOTHING);
    assert_eq!(script.ack(0), ["DATA 1"], "the device listens now");
    assert_eq!(script.ack(1), ["complete", "close"]);

    let mut script = client(Direction::Read, &[]);
    assert_eq!(script.feed(Input::PeerGone), NOTHING);
    let said = script.wait_timed(60_000);
    let (repeats, end) = said.split_at(said.len() - 2);
    assert_eq!(end, [(20_000, "peer-gone".into()), (20_000, "close".into())]);
    let each_second: Vec<_> = (0..20).map(|number| (500 + number * 1000, "read".into())).collect();
    assert_eq!(repeats, each_second, "a boot loader of a router listens for a few seconds");
}

#[test]
fn a_refusal_after_the_first_answer_ends_the_transfer() {
    let mut script = client(Direction::Read, &[]);
    assert_eq!(script.data(1, &[1; 512]), ["ACK 1"]);
    assert_eq!(script.feed(Input::PeerGone), ["peer-gone", "close"]);
}

#[test]
fn an_error_is_the_answer() {
    let mut script = client(Direction::Read, &[]);
    assert_eq!(script.datagram(b"\0\x05\0\x01File not found\0"), ["peer-aborted", "close"]);
    assert_eq!(script.data(1, b"abc"), NOTHING);
}

#[test]
fn what_is_no_answer_is_ignored() {
    let mut script = client(Direction::Read, &[]);
    let deadline = script.deadline;
    for stray in
        [&b""[..], b"\0\x04\0\0", b"\0\x03\0\x02abc", b"\0\x03\0\0abc", b"\0\x01f\0octet\0", b"\0\x09\0\0"]
    {
        assert_eq!(script.datagram(stray), NOTHING, "{stray:?}");
    }
    assert_eq!((script.machine.tally().ignored, script.deadline), (6, deadline));
}

#[test]
fn no_deadline_of_the_request_outlives_its_answer() {
    let mut script = client(Direction::Write, &[]);
    script.file = None;
    assert!(script.deadline.is_some());
    assert_eq!(script.ack(0), NOTHING, "the reader is at work");
    assert_eq!(script.deadline, None);
}

/// An input that may come at any time.
#[derive(Debug, Clone)]
enum Odd {
    Start,
    Datagram(Vec<u8>, bool),
    Deadline,
    Slab(usize, bool),
    Stored,
    Published,
    Repeated,
    PeerGone,
    Failed(Fault),
}

impl Odd {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Start => Input::Start,
            Self::Datagram(octets, more) => Input::Datagram { octets, more: *more },
            Self::Deadline => Input::Deadline,
            Self::Slab(length, end) => Input::Slab { bytes: vec![b'\n'; *length].into(), end: *end },
            Self::Stored => Input::Stored,
            Self::Published => Input::Published,
            Self::Repeated => Input::Repeated,
            Self::PeerGone => Input::PeerGone,
            Self::Failed(fault) => Input::Failed(fault),
        }
    }
}

fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![8 => 0..8_u16, 1 => any::<u16>()];
    let length = prop_oneof![6 => Just(8_usize), 1 => 0..10_usize];
    prop_oneof![
        4 => number.clone().prop_map(|block| Packet::Ack { block }.to_bytes()),
        6 => (number, length).prop_map(|(block, length)| {
            Packet::Data { block, payload: &[b'\r'; 10][..length] }.to_bytes()
        }),
        1 => Just(b"\0\x06blksize\x008\0windowsize\x003\0".to_vec()),
        1 => vec(any::<u8>(), 0..12),
        1 => Just(b"\0\x05\0\0\0".to_vec()),
    ]
}

fn any_input() -> impl Strategy<Value = Odd> {
    prop_oneof![
        20 => (any_datagram(), prop::bool::weighted(0.2)).prop_map(|(octets, more)| Odd::Datagram(octets, more)),
        6 => Just(Odd::Deadline),
        6 => (0..40_usize, prop::bool::weighted(0.1)).prop_map(|(length, end)| Odd::Slab(length, end)),
        4 => Just(Odd::Stored),
        1 => Just(Odd::Start),
        1 => Just(Odd::Published),
        1 => Just(Odd::Repeated),
        1 => prop_oneof![Just(Odd::PeerGone), Just(Odd::Failed(Failure::Io.into()))],
    ]
}

/// Feeds all inputs at any times, including jumps backwards and to the end of time. The script
/// checks that each drain ends.
fn feed<M: Machine>(machine: M, inputs: &[(u64, Odd)]) {
    let mut script = Script::new(machine);
    script.writes = false;
    for (after_ms, odd) in inputs {
        script.now_ms =
            if *after_ms == 0 { script.now_ms / 2 } else { script.now_ms.saturating_add(*after_ms) };
        // Whether or not the reader was asked.
        script.wanted = None;
        script.feed(odd.input());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_order_of_inputs_makes_a_machine_panic_or_spin(
        inputs in vec((prop_oneof![8 => 1..300_u64, 1 => Just(0), 1 => any::<u64>()], any_input()), 0..120),
        windowsize in 1..5_u16,
        netascii: bool,
        opening in 0..3,
        write: bool,
        keep: bool,
    ) {
        let terms = Terms { blksize: 8, windowsize, netascii, ..Terms::default() };
        let opening = match opening {
            0 => Opening::Silent,
            1 => Opening::Answered,
            _ => Opening::Oack(b"\0\x06blksize\x008\0".to_vec()),
        };
        let on_abort = if keep { OnAbort::Keep } else { OnAbort::Discard };
        feed(Sender::new(terms, opening.clone(), Timeouts::default()), &inputs);
        feed(Receiver::new(terms, opening, Timeouts::default(), on_abort), &inputs);
        let direction = if write { Direction::Write } else { Direction::Read };
        let mut options = Options::new();
        options.push(Text::new(&b"blksize"[..]).unwrap(), 8.into());
        options.push(Text::new(&b"windowsize"[..]).unwrap(), 5.into());
        let request = Request::new(direction, Text::new(&b"f"[..]).unwrap(), Mode::Octet, options).unwrap();
        feed(Client::new(request, Timeouts::default()), &inputs);
    }
}
