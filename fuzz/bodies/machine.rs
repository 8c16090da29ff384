//! Feeds a sequence of inputs, which the octets choose, to one machine. The machine must not panic,
//! must always have a deadline, and must send only what the file has and the terms allow.

use std::time::Duration;

use bytes::Bytes;
use stagecoach::error::Failure;
use stagecoach::internals::transfer::{
    Action, Input, Machine, Moment, OnAbort, Opening, Outcome, Receiver, Rollover, Sender, Terms, Timeouts,
    Transmit,
};

/// Maximum number of actions after one input.
const ACTIONS_MAX: usize = 64;
/// Maximum number of blocks beyond the window, which ask a silent client for its position.
const BEYOND: u64 = 2;

/// Runs a sequence.
pub(crate) fn machine(octets: &[u8]) {
    let mut choices = Choices(octets);
    let mut terms = terms(&mut choices);
    let opening = match choices.below(3) {
        0 => Opening::Silent,
        1 => Opening::Oack(b"\0\x06tsize\x001\0".to_vec()),
        _ => Opening::Answered,
    };
    if opening == Opening::Silent {
        // Without an OACK the window is 1.
        terms.windowsize = 1;
    }
    let fixed = choices.below(8) == 0;
    let mut timeouts = Timeouts::default();
    timeouts.fixed = fixed;
    if choices.below(2) == 0 {
        let sender = Sender::new(terms, opening, timeouts).allowing(choices.below(4) as u32);
        Play::new(sender, terms, file(choices.below(70_000))).play(&mut choices);
    } else {
        let on_abort = if choices.below(2) == 0 { OnAbort::Discard } else { OnAbort::Keep };
        let receiver = Receiver::new(terms, opening, timeouts, on_abort).allowing(choices.below(4) as u32);
        Play::new(receiver, terms, Vec::new()).play(&mut choices);
    }
}

fn terms(choices: &mut Choices<'_>) -> Terms {
    Terms {
        blksize: 8 + choices.below(2000) as u16,
        windowsize: 1 + choices.below(20) as u16,
        interval: (choices.below(4) == 0).then(|| Duration::from_millis(10 + choices.below(5000) as u64)),
        rollover: if choices.below(2) == 0 { Rollover::Zero } else { Rollover::One },
        rollover_agreed: choices.below(2) == 0,
        netascii: choices.below(8) == 0,
    }
}

fn file(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// The octets as a source of decisions.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// A number below `limit`, or zero after the last octet.
    fn below(&mut self, limit: usize) -> usize {
        let (high, low) = (self.octet(), self.octet());
        usize::from(u16::from_be_bytes([high, low])) * limit / (usize::from(u16::MAX) + 1)
    }

    fn octet(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn take(&mut self, at_most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(at_most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// A machine, and its state as seen from outside.
struct Play<M> {
    machine: M,
    terms: Terms,
    file: Vec<u8>,
    now: Duration,
    deadline: Option<Moment>,
    wanted: Option<(u64, usize)>,
    unstored: usize,
    publishing: bool,
    finished: Option<Outcome>,
    closed: bool,
    /// Packets or blocks sent to a peer that has not answered.
    unproven: usize,
    /// Repeated requests.
    repeated: usize,
}

impl<M: Machine> Play<M> {
    fn new(machine: M, terms: Terms, file: Vec<u8>) -> Self {
        Self {
            machine,
            terms,
            file,
            now: Duration::from_secs(1),
            deadline: None,
            wanted: None,
            unstored: 0,
            publishing: false,
            finished: None,
            closed: false,
            unproven: 0,
            repeated: 0,
        }
    }

    fn play(mut self, choices: &mut Choices<'_>) {
        self.feed(Input::Start);
        while !choices.0.is_empty() {
            self.now += Duration::from_micros(choices.below(20_000) as u64);
            self.step(choices);
            assert!(
                self.machine.is_proven() || self.unproven <= 3 + self.repeated,
                "{} datagrams for a peer that never answered",
                self.unproven
            );
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..=6 => {
                let packet = self.packet(choices);
                let more = choices.below(8) == 0;
                self.feed(Input::Datagram { octets: &packet, more });
                if more {
                    self.feed(Input::Datagram { octets: &[], more: false });
                }
            }
            7 | 8 => {
                if let Some(deadline) = self.deadline {
                    self.now = self.now.max(deadline.since_epoch());
                }
                self.feed(Input::Deadline);
            }
            9 | 10 => self.read(choices),
            11 => {
                for _ in 0..std::mem::take(&mut self.unstored) {
                    self.feed(Input::Stored);
                }
                if std::mem::take(&mut self.publishing) {
                    self.feed(Input::Published);
                }
            }
            12 => {
                self.repeated += 1;
                self.feed(Input::Repeated);
            }
            13 => {
                self.wanted = None;
                self.feed(Input::Resumed);
            }
            14 => self.feed(if choices.below(2) == 0 { Input::Restrained } else { Input::GivenUp }),
            _ => match choices.below(12) {
                0 => self.feed(Input::PeerGone),
                1 => self.feed(Input::Failed(&Failure::Io.into())),
                2 => self.feed(Input::Superseded),
                _ => self.feed(Input::Deadline),
            },
        }
    }

    /// A packet of a peer: often a valid one, sometimes random octets.
    fn packet(&self, choices: &mut Choices<'_>) -> Vec<u8> {
        let block = match choices.below(4) {
            0 => choices.below(70_000) as u16,
            _ => choices.below(64) as u16,
        };
        let [high, low] = block.to_be_bytes();
        match choices.below(8) {
            0..=3 => vec![0, 4, high, low],
            4 | 5 => {
                let blksize = usize::from(self.terms.blksize);
                let length = if choices.below(4) == 0 { choices.below(blksize + 3) } else { blksize };
                [&[0, 3, high, low][..], &vec![block as u8; length]].concat()
            }
            6 => [&[0, 5, 0, low][..], choices.take(12)].concat(),
            _ => {
                let length = choices.below(20);
                choices.take(length).to_vec()
            }
        }
    }

    fn read(&mut self, choices: &mut Choices<'_>) {
        let Some((offset, octets)) = self.wanted.take() else { return };
        let offset = usize::try_from(offset).unwrap();
        assert!(offset <= self.file.len(), "nothing is behind the end");
        let octets = octets.min(self.file.len() - offset);
        let octets = if choices.below(4) == 0 { octets.min(1 + choices.below(70_000)) } else { octets };
        let bytes = Bytes::copy_from_slice(&self.file[offset..offset + octets]);
        let end = offset + octets == self.file.len();
        self.feed(Input::Slab { bytes, end });
    }

    fn feed(&mut self, input: Input<'_>) {
        let now = Moment::new(self.now);
        let is_resumed = matches!(input, Input::Resumed);
        if is_resumed {
            (self.finished, self.closed) = (None, false);
        }
        let mut drain = self.machine.handle(now, input);
        let proven = drain.is_proven();
        for count in 0.. {
            assert!(count < ACTIONS_MAX, "it never sleeps");
            let Some(action) = drain.next() else { break };
            match action {
                Action::Transmit(transmit) => {
                    let is_error = matches!(transmit, Transmit::Packet([0, 5, ..]));
                    self.unproven += usize::from(!proven && !is_error);
                    check(&transmit, &self.terms, &self.file);
                }
                Action::Want { offset, octets } => {
                    assert!(octets > 0 && self.wanted.is_none(), "one at a time");
                    self.wanted = Some((offset, octets));
                }
                Action::Store(slab) => {
                    assert!(!slab.is_empty());
                    self.unstored += 1;
                }
                Action::Publish | Action::PublishPartial => self.publishing = true,
                Action::Arm(deadline) => self.deadline = deadline,
                Action::Finished(outcome) => {
                    assert!(self.finished.is_none(), "once");
                    self.finished = Some(outcome);
                }
                Action::Close => {
                    assert!(!self.closed, "once");
                    self.closed = true;
                }
            }
        }
    }
}

/// Checks that a sent datagram is a packet, and that a DATA has the octets of the file.
fn check(transmit: &Transmit<'_>, terms: &Terms, file: &[u8]) {
    let blocks = match transmit {
        Transmit::Packet(packet) => return assert!(packet.len() >= 4 && matches!(packet[..2], [0, 4..=6])),
        Transmit::Blocks(blocks) => *blocks,
    };
    assert!(blocks.remaining() <= u64::from(terms.windowsize).max(BEYOND));
    if terms.netascii {
        return;
    }
    for (position, block) in (blocks.next_position()..).zip(blocks) {
        let from = usize::try_from(position - 1).unwrap() * usize::from(terms.blksize);
        let payload = block.payload().collect::<Vec<_>>().concat();
        let until = file.len().min(from + usize::from(terms.blksize));
        assert!(from <= file.len() && payload == file[from..until], "block {position}");
        let number = u16::from_be_bytes([block.header[2], block.header[3]]);
        assert_eq!(number, terms.rollover.wire_number(position));
    }
}
