//! A receiver whose driver dies at any point resumes: octets are stored once, and published once.

use std::collections::VecDeque;

use super::*;
use crate::transfer::{Action, Moment, Transmit};
use crate::wire::Packet;

/// The point in the handling of an input at which the driver dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    Before,
    Taken,
    Sending,
    Sent,
}

#[derive(Clone)]
enum Event {
    Start,
    Data(u16),
    Stored,
    Published,
}

struct Peer<'a> {
    wire: &'a [u8],
    windowsize: u16,
    acked: Option<u16>,
    restarted: bool,
}

impl Peer<'_> {
    fn last(&self) -> u16 {
        (self.wire.len() / 8 + 1) as u16
    }

    fn payload(&self, block: u16) -> &[u8] {
        let from = (usize::from(block) - 1) * 8;
        &self.wire[from..self.wire.len().min(from + 8)]
    }

    fn window(&self) -> Vec<Event> {
        let acked = self.acked.unwrap_or(0);
        (acked + 1..=self.last().min(acked + self.windowsize)).map(Event::Data).collect()
    }

    /// RFC 7440: an equal ACK restarts the window once, except for a window of one block.
    fn take(&mut self, octets: &[u8]) -> Vec<Event> {
        let block = match Packet::decode(octets).unwrap() {
            Packet::Ack { block } => block,
            Packet::Oack(_) => 0,
            other => panic!("{other:?}"),
        };
        if self.acked.is_none_or(|acked| block > acked) {
            (self.acked, self.restarted) = (Some(block), false);
            self.window()
        } else if self.windowsize > 1 && Some(block) == self.acked && !self.restarted {
            self.restarted = true;
            self.window()
        } else {
            Vec::new()
        }
    }
}

/// Runs an upload whose driver dies at input `at`. Returns `false` if there was no such input.
fn run(terms: Terms, oack: bool, wire: &[u8], wanted: &[u8], at: usize, death: Death) -> bool {
    let opening = if oack { Opening::Oack(b"\0\x06blksize\x008\0".to_vec()) } else { Opening::Silent };
    let mut receiver = Receiver::new(terms, opening, Timeouts::default(), OnAbort::Discard);
    let case = format!("{terms:?}, dies {death:?} input {at}");
    let mut peer = Peer { wire, windowsize: terms.windowsize, acked: None, restarted: false };
    let (mut events, mut stored, mut published) = (VecDeque::from([Event::Start]), Vec::new(), 0);
    let (mut complete, mut died, mut stalls, mut acks) = (false, false, 0, Vec::new());
    for count in 0.. {
        let now = Moment::new(Duration::from_millis(count as u64));
        let event = match events.pop_front() {
            Some(event) => event,
            None if peer.acked == Some(peer.last()) => break,
            None => {
                // The client's own timer.
                stalls += 1;
                assert!(stalls <= 1, "stalled: {case}");
                events.extend(peer.window());
                continue;
            }
        };
        let data;
        let input = match event {
            Event::Start => Input::Start,
            Event::Stored => Input::Stored,
            Event::Published => Input::Published,
            Event::Data(block) => {
                data = Packet::Data { block, payload: peer.payload(block) }.to_bytes();
                Input::Datagram { octets: &data, more: false }
            }
        };
        let mut inputs = vec![input];
        if count == at {
            died = true;
            // The writer's answers are not lost: the new driver asks for them.
            if death == Death::Before && matches!(event, Event::Data(_) | Event::Start) {
                inputs.clear();
            } else if death == Death::Taken {
                let stored_before = receiver.committed.stored;
                receiver.take(now, inputs.remove(0));
                match event {
                    Event::Stored if receiver.committed.stored == stored_before => events.push_front(event),
                    Event::Published => events.push_front(event),
                    _ => {}
                }
            }
            inputs.push(Input::Resumed);
        }
        let cut_short = inputs.len() == 2;
        for (index, input) in inputs.into_iter().enumerate() {
            let cut = cut_short && index == 0;
            let mut drain = receiver.handle(now, input);
            while let Some(action) = drain.next() {
                match action {
                    Action::Store(bytes) => {
                        stored.extend_from_slice(&bytes);
                        events.push_back(Event::Stored);
                    }
                    Action::Publish => {
                        published += 1;
                        events.push_back(Event::Published);
                    }
                    Action::Transmit(Transmit::Packet(packet)) => {
                        if cut && death == Death::Sending {
                            break;
                        }
                        acks.push(packet.to_vec());
                        let answer = peer.take(packet);
                        events.extend(answer);
                        if cut && death == Death::Sent {
                            break;
                        }
                    }
                    Action::Finished(outcome) => complete |= outcome.is_success(),
                    _ => {}
                }
            }
        }
    }
    assert!(complete && published == 1, "published {published} times: {case}");
    assert!(stored == wanted, "another file: {case}");
    let times = |ack: &Vec<u8>| acks.iter().filter(|other| *other == ack).count();
    assert!(acks.iter().all(|ack| times(ack) <= 2), "{acks:?}: {case}");
    died
}

#[test]
fn a_receiver_resumed_anywhere_stores_all_octets_once() {
    let file = b"line\nand\rcr\r\n".repeat(8);
    let mut encoded = bytes::BytesMut::new();
    crate::wire::netascii::Encoder::default().encode(&file, &mut encoded);
    for (windowsize, netascii) in [(1, false), (4, false), (1, true), (4, true)] {
        let terms = Terms { netascii, ..terms(8, windowsize) };
        let wire = if netascii { &encoded[..] } else { &file[..] };
        for oack in [true, false] {
            if !oack && windowsize > 1 {
                continue;
            }
            for death in [Death::Before, Death::Taken, Death::Sending, Death::Sent] {
                let mut deaths = 0;
                while run(terms, oack, wire, &file, deaths, death) {
                    deaths += 1;
                }
                assert!(deaths > 10, "only {deaths} places to die at");
            }
        }
    }
}

#[test]
fn a_full_slab_is_not_lost_with_its_driver() {
    let oack = b"\0\x06blksize\x008\0".to_vec();
    let mut script = receiver(terms(60_000, 1), Opening::Oack(oack), OnAbort::Discard);
    script.start();
    assert_eq!(script.data(1, &[1; 60_000]), ["ACK 1"]);
    let second = Packet::Data { block: 2, payload: &[2; 60_000] }.to_bytes();
    script.machine.take(Moment::default(), Input::Datagram { octets: &second, more: false });
    assert_eq!(script.feed(Input::Resumed), ["ACK 1"]);
    assert_eq!(script.data(2, &[2; 60_000]), ["ACK 2"]);
    assert_eq!(script.data(3, &[]), ["publish", "ACK 3", "complete"]);
    assert!(script.stored == [[1; 60_000], [2; 60_000]].concat());
}

#[test]
fn a_file_is_whole_if_its_session_keeps_dying() {
    let mut script = receiver(terms(1428, 1), Opening::Silent, OnAbort::Discard);
    script.start();
    let file: Vec<u8> = (0..200 * 1428 + 100_u32).map(|at| (at % 251) as u8).collect();
    for (number, payload) in (1..).zip(file.chunks(1428)) {
        script.data(number, payload);
        script.feed(Input::Resumed);
    }
    assert!(script.stored == file);
}

#[test]
fn a_driver_that_dies_at_the_end_of_a_kept_upload_loses_no_outcome() {
    let mut script = receiver(Terms::default(), Opening::Silent, OnAbort::Keep);
    script.writes = false;
    script.start();
    script.data(1, &[1; 512]);
    assert_eq!(script.feed(Input::PeerGone), ["publish-partial"]);
    script.feed(Input::Stored);
    script.machine.take(Moment::default(), Input::Published);
    script.feed(Input::Resumed);
    assert_eq!(script.feed(Input::Published), ["peer-gone", "close"]);
}
