//! One end: a machine, its reader and writer, and what must always hold of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stagecoach::internals::limits;
use stagecoach::internals::transfer::{
    Action, Input, Machine, Moment, Offer, OnAbort, Opening, Outcome, Receiver, Sender, Tally, Timeouts,
    Transmit, negotiate,
};
use stagecoach::wire::{Direction, Request};

use super::Rng;

/// How fast and how evenly an end's reader and writer work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// A slab takes up to this.
    pub(crate) slab: Duration,
    pub(crate) publish: Duration,
    /// Slabs come in pieces of any size, and the end of the file may come alone.
    pub(crate) odd_pieces: bool,
}

/// What one end did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) outcome: Option<Outcome>,
    /// What its writer was given.
    pub(crate) stored: Vec<u8>,
    pub(crate) published: bool,
    pub(crate) tally: Tally,
    /// DATA sent, by position in the file.
    pub(crate) data: BTreeMap<u64, u64>,
    /// Least time between two copies of one block, until the repeats are enough to prove losses.
    pub(crate) soonest_copy: Option<Duration>,
    pub(crate) acks: u64,
    /// Other packets: requests, OACKs, ERRORs.
    pub(crate) others: u64,
    pub(crate) ended_at: Duration,
}

impl Report {
    pub(crate) fn data_sent(&self) -> u64 {
        self.data.values().sum()
    }

    pub(crate) fn packets_sent(&self) -> u64 {
        self.data_sent() + self.acks + self.others
    }
}

/// What a reader or writer reports to its machine later.
#[derive(Debug)]
pub(crate) enum Completion {
    Slab { bytes: Bytes, end: bool },
    Stored,
    Published,
}

/// What an input causes: packets now, completions of the reader and writer later.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) packets: Vec<Vec<u8>>,
    pub(crate) completions: Vec<(Duration, Completion)>,
}

pub(crate) struct Endpoint {
    machine: Box<dyn Machine>,
    pub(crate) deadline: Option<Moment>,
    pub(crate) is_closed: bool,
    pub(crate) report: Report,
    file: Arc<[u8]>,
    /// The file as it goes on the wire.
    wire: Arc<[u8]>,
    pace: Pace,
    rng: Rng,
    read_until: usize,
    is_reading: bool,
    is_publishing: bool,
    writer_free_at: Duration,
    /// When each block was sent last.
    data_at: BTreeMap<u64, Duration>,
    /// How often blocks were sent again, and when last.
    repeats: u32,
    repeated_at: Duration,
}

/// No input may cause more actions than this.
const ACTIONS_MAX: usize = 16;

impl Endpoint {
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        file: Arc<[u8]>,
        wire: Arc<[u8]>,
        pace: Pace,
        rng: Rng,
    ) -> Self {
        Self {
            machine,
            deadline: None,
            is_closed: false,
            report: Report::default(),
            file,
            wire,
            pace,
            rng,
            read_until: 0,
            is_reading: false,
            is_publishing: false,
            writer_free_at: Duration::ZERO,
            data_at: BTreeMap::new(),
            repeats: 0,
            repeated_at: Duration::ZERO,
        }
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.machine.is_proven()
    }

    /// Octets that were read and not acknowledged.
    pub(crate) fn held(&self) -> usize {
        self.read_until.saturating_sub(self.report.tally.octets as usize)
    }

    pub(crate) fn on_completion(&mut self, now: Duration, completion: Completion) -> Effects {
        match completion {
            Completion::Slab { bytes, end } => {
                self.is_reading = false;
                self.take(now, Input::Slab { bytes, end })
            }
            Completion::Stored => self.take(now, Input::Stored),
            Completion::Published => {
                (self.is_publishing, self.report.published) = (false, true);
                self.take(now, Input::Published)
            }
        }
    }

    pub(crate) fn take(&mut self, now: Duration, input: Input<'_>) -> Effects {
        let mut effects = Effects::default();
        self.machine.take(Moment::new(now), input);
        for count in 0.. {
            assert!(count < ACTIONS_MAX, "a machine that never sleeps");
            // The machine is set aside while its action, which borrows from it, is carried out.
            let mut machine = std::mem::replace(&mut self.machine, Box::new(Absent));
            let action = machine.next_action();
            let is_done = action.is_none();
            if let Some(action) = action {
                self.carry_out(now, action, &mut effects);
            }
            self.machine = machine;
            if is_done {
                break;
            }
        }
        self.report.tally = self.machine.tally();
        effects
    }

    fn carry_out(&mut self, now: Duration, action: Action<'_>, effects: &mut Effects) {
        assert!(!self.is_closed, "{action:?} after the end");
        match action {
            Action::Transmit(transmit) => {
                assert!(!self.is_publishing, "a packet while the file is being published");
                self.send(now, transmit, effects);
            }
            Action::Want { offset, octets } => effects.completions.push(self.read(now, offset, octets)),
            Action::Store(bytes) => {
                assert!(!bytes.is_empty() && !self.report.published && !self.is_publishing);
                self.report.stored.extend_from_slice(&bytes);
                self.writer_free_at = self.writer_free_at.max(now) + self.up_to(self.pace.slab);
                effects.completions.push((self.writer_free_at, Completion::Stored));
            }
            Action::Publish => {
                assert!(!self.report.published && !self.is_publishing, "published twice");
                self.is_publishing = true;
                let published_at = self.writer_free_at.max(now) + self.pace.publish;
                effects.completions.push((published_at, Completion::Published));
            }
            Action::PublishPartial => panic!("nothing is kept of what isn't whole"),
            Action::Arm(deadline) => {
                assert!(deadline != self.deadline, "armed as it was");
                self.deadline = deadline;
            }
            Action::Finished(outcome) => {
                let before = self.report.outcome.replace(outcome);
                assert_eq!(before, None, "two outcomes");
            }
            Action::Close => {
                assert!(self.report.outcome.is_some(), "an end without an outcome");
                assert_eq!(self.deadline, None, "an end that leaves a deadline");
                self.is_closed = true;
                self.report.ended_at = now;
            }
        }
    }

    fn send(&mut self, now: Duration, transmit: Transmit<'_>, effects: &mut Effects) {
        match transmit {
            Transmit::Packet(octets) => {
                match octets[1] {
                    3 => panic!("DATA that is no run of blocks"),
                    4 => self.report.acks += 1,
                    _ => self.report.others += 1,
                }
                effects.packets.push(octets.to_vec());
            }
            Transmit::Blocks(blocks) => {
                assert!(blocks.remaining() > 0, "an empty run");
                let (blksize, mut position) = (blocks.blksize(), blocks.next_position());
                for block in blocks {
                    let payload = block.payload().collect::<Vec<_>>().concat();
                    let from = (position as usize - 1) * blksize;
                    let until = (from + blksize).min(self.wire.len());
                    assert_eq!(payload, self.wire[from..until], "block {position} has wrong content");
                    *self.report.data.entry(position).or_default() += 1;
                    if let Some(before) = self.data_at.insert(position, now) {
                        self.on_copy(now, before);
                    }
                    effects.packets.push([&block.header[..], &payload].concat());
                    position += 1;
                }
            }
        }
    }

    /// A block is sent again. Copies shortly after each other belong to one repeat.
    fn on_copy(&mut self, now: Duration, before: Duration) {
        let is_another = self.repeats == 0 || now - self.repeated_at >= limits::REPEAT_FLOOR / 2;
        self.repeats += u32::from(is_another);
        self.repeated_at = now;
        if self.repeats <= limits::LOSS_PROOFS {
            let soonest = self.report.soonest_copy.get_or_insert(Duration::MAX);
            *soonest = (*soonest).min(now - before);
        }
    }

    fn read(&mut self, now: Duration, offset: u64, octets: usize) -> (Duration, Completion) {
        assert!(!self.is_reading, "two slabs at once");
        assert_eq!(offset, self.read_until as u64, "a slab from elsewhere");
        assert!(octets > 0, "a slab of nothing");
        self.is_reading = true;
        let left = self.file.len() - self.read_until;
        let most = octets.min(left);
        let length = if self.pace.odd_pieces && most > 0 { self.rng.length(1..=most) } else { most };
        let bytes = Bytes::copy_from_slice(&self.file[self.read_until..self.read_until + length]);
        self.read_until += length;
        let sends_end_alone = self.pace.odd_pieces && length > 0 && self.rng.chance(500);
        let end = length == left && !sends_end_alone;
        (now + self.up_to(self.pace.slab), Completion::Slab { bytes, end })
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.rng.within(0..=most.as_nanos() as u64))
    }
}

/// Takes the place of a machine while its actions are carried out.
#[derive(Debug)]
struct Absent;

impl Machine for Absent {
    fn take(&mut self, _now: Moment, _input: Input<'_>) {
        unreachable!("its machine is being drained")
    }

    fn next_action(&mut self) -> Option<Action<'_>> {
        None
    }

    fn tally(&self) -> Tally {
        Tally::default()
    }

    fn is_proven(&self) -> bool {
        false
    }
}

/// The machine that serves a request with this offer. `size` is that of a file to read.
pub(crate) fn server_machine(
    request: &Request<'_>,
    size: u64,
    offer: &Offer,
    timeouts: Timeouts,
) -> Box<dyn Machine> {
    let is_read = request.direction == Direction::Read;
    let agreement = negotiate(request, offer, is_read.then_some(size)).unwrap();
    let opening = agreement.oack().map_or(Opening::Silent, Opening::Oack);
    let (terms, allowance) = (agreement.terms, agreement.allowance(request));
    if is_read {
        Box::new(Sender::new(terms, opening, timeouts).allowing(allowance))
    } else {
        Box::new(Receiver::new(terms, opening, timeouts, OnAbort::Discard).allowing(allowance))
    }
}
