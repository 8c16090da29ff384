//! A sender whose driver dies at any point resumes without a timer, and repeats everything once.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::transfer::{Action, Moment, Transmit};

/// The point in the handling of an input at which the driver dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    Before,
    Taken,
    Sending,
    Sent,
}

enum Event {
    Start,
    Ack(u16),
    Slab(u64, usize),
}

/// A client that acknowledges each window and every repeat of its last block.
#[derive(Default)]
struct Peer {
    content: Vec<u8>,
    received: u16,
    in_window: u16,
    times: HashMap<u16, u32>,
    oacks: u32,
}

impl Peer {
    fn take(&mut self, transmit: Transmit<'_>, terms: &Terms) -> Vec<u16> {
        let Transmit::Blocks(blocks) = transmit else {
            self.oacks += 1;
            return vec![0];
        };
        let mut acks = Vec::new();
        for block in blocks {
            let number = u16::from_be_bytes([block.header[2], block.header[3]]);
            *self.times.entry(number).or_default() += 1;
            if number == self.received + 1 {
                let payload: Vec<u8> = block.payload().collect::<Vec<_>>().concat();
                self.content.extend_from_slice(&payload);
                self.received = number;
                self.in_window += 1;
                if self.in_window == terms.windowsize || payload.len() < terms.blksize.into() {
                    self.in_window = 0;
                    acks.push(number);
                }
            } else if number == self.received {
                acks.push(number);
            }
        }
        acks
    }
}

/// Runs a transfer whose driver dies at input `at`. Returns `false` if there was no such input.
fn run(terms: Terms, oack: bool, file: &[u8], at: usize, death: Death) -> bool {
    let opening = if oack { Opening::Oack(b"\0\x06blksize\x008\0".to_vec()) } else { Opening::Silent };
    let mut sender = Sender::new(terms, opening, Timeouts::default());
    let (mut events, mut peer) = (VecDeque::from([Event::Start]), Peer::default());
    let (mut complete, mut died) = (false, false);
    for count in 0.. {
        let now = Moment::new(Duration::from_millis(count as u64 * 20));
        let Some(event) = events.pop_front() else { break };
        let ack;
        let input = match event {
            Event::Start => Input::Start,
            Event::Ack(block) => {
                ack = Packet::Ack { block }.to_bytes();
                Input::Datagram { octets: &ack, more: false }
            }
            Event::Slab(offset, octets) => {
                let from = usize::try_from(offset).unwrap();
                let until = file.len().min(from + octets.min(37));
                let bytes = Bytes::copy_from_slice(&file[from..until]);
                Input::Slab { bytes, end: until == file.len() }
            }
        };
        let dies = count == at;
        let mut inputs = vec![input];
        if dies {
            died = true;
            match death {
                Death::Before => inputs.clear(),
                Death::Taken => sender.take(now, inputs.remove(0)),
                Death::Sending | Death::Sent => {}
            }
            // The reader dies with its session.
            events.retain(|event| !matches!(event, Event::Slab(..)));
            inputs.push(Input::Resumed);
        }
        let cut_short = inputs.len() == 2;
        for (index, input) in inputs.into_iter().enumerate() {
            let mut drain = sender.handle(now, input);
            while let Some(action) = drain.next() {
                let cut = cut_short && index == 0;
                match action {
                    Action::Transmit(_) if cut && matches!(death, Death::Sending) => break,
                    Action::Transmit(transmit) => {
                        let acks = peer.take(transmit, &terms);
                        events.extend(acks.into_iter().map(Event::Ack));
                        if cut {
                            break;
                        }
                    }
                    Action::Want { .. } if cut => {}
                    Action::Want { offset, octets } => events.push_front(Event::Slab(offset, octets)),
                    Action::Finished(outcome) => complete |= outcome.is_success(),
                    Action::Close if cut => return true,
                    _ => {}
                }
            }
        }
    }
    let case = format!("{terms:?}, dies {death:?} input {at}");
    assert!(complete, "not complete: {case}");
    let mut wanted = bytes::BytesMut::new();
    if terms.netascii {
        crate::wire::netascii::Encoder::default().encode(file, &mut wanted);
    } else {
        wanted.extend_from_slice(file);
    }
    assert!(peer.content == wanted, "another file: {case}");
    assert!(peer.oacks <= 2, "{} OACKs: {case}", peer.oacks);
    assert!(peer.times.values().all(|&times| times <= 2), "{:?}: {case}", peer.times);
    died
}

#[test]
fn a_sender_resumed_anywhere_sends_the_same_file() {
    let text = b"line\nand\rcr\r\n".repeat(9);
    for (windowsize, netascii, length) in
        [(1, false, 100), (4, false, 100), (1, true, 100), (4, true, 97), (4, false, 96), (1, false, 0)]
    {
        let terms = Terms { netascii, ..terms(8, windowsize) };
        for oack in [true, false] {
            if !oack && windowsize > 1 {
                continue;
            }
            for death in [Death::Before, Death::Taken, Death::Sending, Death::Sent] {
                let mut deaths = 0;
                while run(terms, oack, &text[..length], deaths, death) {
                    deaths += 1;
                }
                assert!(deaths > 2, "only {deaths} places to die at");
            }
        }
    }
}

#[test]
fn d8_resuming_sends_unproven_peers_nothing_more() {
    let mut script = plain(&octets(1000));
    assert_eq!(script.start(), ["DATA 1"]);
    let mut sent = 1;
    for _ in 0..10 {
        script.wanted = None;
        sent += script.feed(Input::Resumed).len();
    }
    assert_eq!(sent, 3);
}
