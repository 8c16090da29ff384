//! Scripts for tests of single machines: inputs, and their results in a few words.

use std::time::Duration;

use bytes::Bytes;

use super::{Action, Input, Machine, Moment, Transmit};
use crate::error::Failure;
use crate::wire::Packet;

/// A machine with its reader and writer, which answer at once unless switched off.
pub(super) struct Script<M> {
    pub(super) machine: M,
    pub(super) now_ms: u64,
    pub(super) deadline: Option<Moment>,
    /// The reader's file; without one, the reader never answers.
    pub(super) file: Option<Vec<u8>>,
    /// Most octets that the reader returns at once.
    pub(super) piece: usize,
    /// Whether the writer stores and publishes.
    pub(super) writes: bool,
    pub(super) stored: Vec<u8>,
    /// Octets that were requested and not answered.
    pub(super) wanted: Option<(u64, usize)>,
    /// Position and payload of every DATA sent.
    pub(super) payloads: Vec<(u64, Vec<u8>)>,
}

impl<M: Machine> Script<M> {
    pub(super) fn new(machine: M) -> Self {
        Self {
            machine,
            now_ms: 0,
            deadline: None,
            file: None,
            piece: usize::MAX,
            writes: true,
            stored: Vec::new(),
            wanted: None,
            payloads: Vec::new(),
        }
    }

    pub(super) fn reading(mut self, file: impl Into<Vec<u8>>) -> Self {
        self.file = Some(file.into());
        self
    }

    pub(super) fn start(&mut self) -> Vec<String> {
        self.feed(Input::Start)
    }

    pub(super) fn ack(&mut self, block: u16) -> Vec<String> {
        self.datagram(&Packet::Ack { block }.to_bytes())
    }

    pub(super) fn data(&mut self, block: u16, payload: &[u8]) -> Vec<String> {
        self.datagram(&Packet::Data { block, payload }.to_bytes())
    }

    pub(super) fn datagram(&mut self, octets: &[u8]) -> Vec<String> {
        self.feed(Input::Datagram { octets, more: false })
    }

    pub(super) fn datagram_before_more(&mut self, octets: &[u8]) -> Vec<String> {
        self.feed(Input::Datagram { octets, more: true })
    }

    pub(super) fn fail(&mut self, failure: Failure) -> Vec<String> {
        self.feed(Input::Failed(&failure.into()))
    }

    /// Advances the time, including deadlines. Returns the results with their times.
    pub(super) fn wait_timed(&mut self, wait_ms: u64) -> Vec<(u64, String)> {
        let until_ms = self.now_ms + wait_ms;
        let mut said = Vec::new();
        while let Some(deadline) = self.deadline.filter(|&it| it <= Moment::new(ms(until_ms))) {
            self.now_ms = self.now_ms.max(deadline.since_epoch().as_micros().div_ceil(1000) as u64);
            let came = self.feed(Input::Deadline);
            assert_ne!(self.deadline, Some(deadline), "a deadline that comes again at once");
            said.extend(came.into_iter().map(|it| (self.now_ms, it)));
        }
        self.now_ms = until_ms;
        said
    }

    pub(super) fn wait(&mut self, wait_ms: u64) -> Vec<String> {
        self.wait_timed(wait_ms).into_iter().map(|(_, said)| said).collect()
    }

    /// Feeds one input; returns the results, including those of the reader and the writer.
    pub(super) fn feed(&mut self, input: Input<'_>) -> Vec<String> {
        let mut said = Vec::new();
        let (mut stored, mut published) = (0, false);
        let mut drain = self.machine.handle(Moment::new(ms(self.now_ms)), input);
        let mut count = 0;
        while let Some(action) = drain.next() {
            count += 1;
            assert!(count <= 16, "a machine that never sleeps: {action:?}");
            match action {
                Action::Transmit(transmit) => said.push(transmitted(transmit, &mut self.payloads)),
                Action::Want { offset, octets } => {
                    assert_eq!(self.wanted, None, "one at a time");
                    self.wanted = Some((offset, octets));
                }
                Action::Store(bytes) => {
                    self.stored.extend_from_slice(&bytes);
                    stored += 1;
                }
                Action::Publish => {
                    said.push("publish".into());
                    published = true;
                }
                Action::PublishPartial => {
                    said.push("publish-partial".into());
                    published = true;
                }
                Action::Arm(deadline) => self.deadline = deadline,
                Action::Finished(outcome) => said.push(outcome.as_str().into()),
                Action::Close => said.push("close".into()),
            }
        }
        if self.writes {
            (0..stored).for_each(|_| said.extend(self.feed(Input::Stored)));
            if published {
                said.extend(self.feed(Input::Published));
            }
        }
        said.extend(self.read());
        said
    }

    /// The reader answers, if it has a file.
    pub(super) fn read(&mut self) -> Vec<String> {
        let (Some(file), Some((offset, octets))) = (&self.file, self.wanted) else { return Vec::new() };
        self.wanted = None;
        let offset = offset as usize;
        let until = file.len().min(offset + octets.min(self.piece));
        let (bytes, end) = (Bytes::copy_from_slice(&file[offset..until]), until == file.len());
        self.feed(Input::Slab { bytes, end })
    }

    /// Milliseconds until the deadline.
    pub(super) fn armed_in(&self) -> Option<u128> {
        self.deadline.map(|deadline| (deadline - Moment::new(ms(self.now_ms))).as_millis())
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn transmitted(transmit: Transmit<'_>, payloads: &mut Vec<(u64, Vec<u8>)>) -> String {
    match transmit {
        Transmit::Packet(octets) => match Packet::decode(octets).expect("a packet") {
            Packet::Request(request) => request.direction.to_string(),
            Packet::Data { block, .. } => panic!("DATA {block} that is no run of blocks"),
            Packet::Ack { block } => format!("ACK {block}"),
            Packet::Error { code, .. } => format!("ERROR {code}"),
            Packet::Oack(options) => format!("OACK {options}"),
        },
        Transmit::Blocks(blocks) => {
            let first =
                u16::from_be_bytes(blocks.clone().next().expect("a block").header[2..].try_into().unwrap());
            let (mut position, mut last) = (blocks.next_position(), first);
            for block in blocks {
                last = u16::from_be_bytes([block.header[2], block.header[3]]);
                payloads.push((position, block.payload().collect::<Vec<_>>().concat()));
                position += 1;
            }
            if first == last { format!("DATA {first}") } else { format!("DATA {first}-{last}") }
        }
    }
}
