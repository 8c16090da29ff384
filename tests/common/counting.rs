//! A client that transfers one file and counts every packet that it receives.

use std::collections::HashMap;
use std::time::Duration;

use super::engine::Case;
use super::raw::{Client, Packet, ack, data, rrq, wrq};

/// Silences in a row before a client gives up.
const STALLS_MAX: usize = 8;

/// What a client has to do.
pub(crate) struct Task<'a> {
    pub(crate) name: &'a str,
    pub(crate) case: Case,
    pub(crate) options: &'a [(&'static str, &'static str)],
    /// After this long without a packet, the client repeats its last packet.
    pub(crate) patience: Duration,
    /// Called once, after block 50 or so. The server waits for the client meanwhile.
    pub(crate) midway: Option<Box<dyn FnOnce() + 'a>>,
    /// The client sends the last block of an upload twice, before the ACK can arrive.
    pub(crate) last_repeated: bool,
}

impl<'a> Task<'a> {
    pub(crate) fn new(
        name: &'a str,
        case: Case,
        options: &'a [(&'static str, &'static str)],
        patience: Duration,
    ) -> Self {
        Self { name, case, options, patience, midway: None, last_repeated: false }
    }
}

/// What a client saw of a transfer.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The octets that the client read.
    pub(crate) content: Vec<u8>,
    /// How often each packet arrived.
    pub(crate) times: HashMap<String, usize>,
    /// How often the client's own timer expired.
    pub(crate) stalls: usize,
    pub(crate) end: End,
}

/// How a transfer ended for its client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The client gave up without an answer to its repeats.
    #[default]
    Silence,
    Complete,
    /// The server sent ERROR, from the transfer's port if it had answered from there before.
    Error {
        code: u16,
        text: String,
    },
}

impl Seen {
    /// The largest number of copies of one packet.
    pub(crate) fn most(&self) -> usize {
        self.times.values().copied().max().unwrap_or(0)
    }

    /// The number of packets that arrived more than once.
    pub(crate) fn again(&self) -> usize {
        self.times.values().filter(|&&times| times > 1).count()
    }

    /// A short summary for assertion messages.
    pub(crate) fn brief(&self) -> String {
        let again: Vec<_> = self.times.iter().filter(|(_, times)| **times > 1).collect();
        format!("{:?}, {} stalls, {} octets, again: {again:?}", self.end, self.stalls, self.content.len())
    }

    /// Counts and returns the next packet, or `None` at the end of the transfer. After a silence,
    /// `repeat` sends the last packet again.
    fn next(&mut self, client: &mut Client, patience: Duration, repeat: impl Fn(&Client)) -> Option<Packet> {
        for _ in 0..STALLS_MAX {
            if let Some((packet, from)) = client.receive(patience) {
                client.latch(from);
                *self.times.entry(packet.brief()).or_default() += 1;
                let Packet::Error { code, text } = packet else { return Some(packet) };
                self.end = End::Error { code, text };
                return None;
            }
            self.stalls += 1;
            repeat(client);
        }
        None
    }
}

/// Reads a file as RFC 1350 and RFC 7440 tell a client to.
pub(crate) fn read(client: &mut Client, mut task: Task<'_>) -> Seen {
    let mut said = rrq(task.name, task.case.mode(), task.options);
    client.send(&said);
    let (mut seen, mut received, mut in_window) = (Seen::default(), 0, 0);
    while let Some(packet) = seen.next(client, task.patience, |client| client.send(&said)) {
        let mut say = |client: &Client, packet: Vec<u8>| {
            client.send(&packet);
            said = packet;
        };
        match packet {
            Packet::Oack(_) => say(client, ack(0)),
            Packet::Data { block, payload } if block == received + 1 => {
                received = block;
                in_window += 1;
                seen.content.extend_from_slice(&payload);
                if in_window == task.case.windowsize || payload.len() < 512 {
                    in_window = 0;
                    if received >= 50
                        && let Some(midway) = task.midway.take()
                    {
                        midway();
                    }
                    say(client, ack(received));
                }
                if payload.len() < 512 {
                    seen.end = End::Complete;
                    break;
                }
            }
            Packet::Data { block, .. } if block == received => say(client, ack(received)),
            Packet::Data { .. } => {}
            other => panic!("{}: {other:?}", task.name),
        }
    }
    seen
}

/// Writes a file in the same way. `wire` has the octets as they go over the network.
pub(crate) fn write(client: &mut Client, mut task: Task<'_>, wire: &[u8]) -> Seen {
    let request = wrq(task.name, task.case.mode(), task.options);
    client.send(&request);
    let last = u16::try_from(wire.len() / 512 + 1).unwrap();
    let (mut seen, mut acked, mut restarted) = (Seen::default(), None, false);
    let (windowsize, last_repeated) = (task.case.windowsize, task.last_repeated);
    let window = |client: &Client, acked: u16| {
        for block in acked + 1..=last.min(acked + windowsize) {
            let from = (usize::from(block) - 1) * 512;
            client.send(&data(block, &wire[from..wire.len().min(from + 512)]));
            if block == last && last_repeated {
                std::thread::sleep(Duration::from_millis(30));
                client.send(&data(block, &wire[from..]));
            }
        }
    };
    while acked != Some(last) {
        let repeat =
            |client: &Client| acked.map_or_else(|| client.send(&request), |acked| window(client, acked));
        let Some(packet) = seen.next(client, task.patience, repeat) else { return seen };
        let block = match packet {
            Packet::Ack { block, .. } => block,
            Packet::Oack(_) => 0,
            other => panic!("{}: {other:?}", task.name),
        };
        if acked.is_none_or(|acked| block > acked) {
            (acked, restarted) = (Some(block), false);
            if block >= 50
                && let Some(midway) = task.midway.take()
            {
                midway();
            }
            window(client, block);
        } else if windowsize > 1 && acked == Some(block) && !restarted {
            restarted = true;
            window(client, block);
        }
    }
    seen.end = End::Complete;
    seen
}
