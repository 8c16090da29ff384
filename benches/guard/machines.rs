//! A sender and a receiver with an in-memory link between them.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use stagecoach::internals::limits::SLAB_OCTETS;
use stagecoach::internals::net::{Arrived, Link, MemoryLink};
use stagecoach::internals::transfer::{
    Action, Input, Machine, Moment, OnAbort, Opening, Receiver, Sender, Terms, Timeouts,
};

use super::{Case, counted, total};

/// Instructions of a whole transfer of `packets`.
pub(super) fn count(case: Case, packets: u64) -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let totals = directory.path().join("totals");
    let this = std::env::current_exe().expect("this program");
    let mut command = counted(this, &totals);
    let status = command.args(["--machines", case.name, &packets.to_string()]).status();
    assert!(status.expect("valgrind is installed").success(), "{}", case.name);
    total(&totals)
}

/// The transfer itself.
pub(super) fn run(case: Case, packets: u64) {
    let terms = Terms { blksize: case.blksize, windowsize: case.windowsize, ..Terms::default() };
    let timeouts = Timeouts::default();
    let [here, there] = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let (near, far) = MemoryLink::pair(here, there);
    let sender = Sender::new(terms, Opening::Answered, timeouts);
    let receiver = Receiver::new(terms, Opening::Answered, timeouts, OnAbort::Discard);
    let mut sending = End::new(sender, near, there, case.octets(packets));
    let mut receiving = End::new(receiver, far, here, 0);
    receiving.feed(Input::Start);
    sending.feed(Input::Start);
    while !sending.closed {
        receiving.receive_all();
        sending.receive_all();
    }
    assert_eq!(receiving.stored, case.octets(packets));
}

struct End<M> {
    machine: M,
    link: MemoryLink,
    peer: SocketAddr,
    /// Octets that are still to be read.
    left: u64,
    slab: Bytes,
    stored: u64,
    buffer: Vec<u8>,
    closed: bool,
}

/// The answer to a machine's action.
enum Answer {
    Slab(usize, bool),
    Stored,
    Published,
}

impl<M: Machine> End<M> {
    fn new(machine: M, link: MemoryLink, peer: SocketAddr, left: u64) -> Self {
        let (slab, buffer) = (vec![7; SLAB_OCTETS].into(), vec![0; 2048]);
        Self { machine, link, peer, left, slab, stored: 0, buffer, closed: false }
    }

    fn receive_all(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok(Arrived { octets, .. }) = self.link.receive(&mut buffer) {
            self.feed(Input::Datagram { octets: &buffer[..octets], more: false });
        }
        self.buffer = buffer;
    }

    fn feed(&mut self, input: Input<'_>) {
        let mut answer = self.step(input);
        while let Some(done) = answer {
            answer = self.step(match done {
                Answer::Slab(octets, end) => Input::Slab { bytes: self.slab.slice(..octets), end },
                Answer::Stored => Input::Stored,
                Answer::Published => Input::Published,
            });
        }
    }

    /// Gives the machine one input. A machine has at most one action to answer at a time, but for
    /// the last slab and its publication.
    fn step(&mut self, input: Input<'_>) -> Option<Answer> {
        let mut answer = None;
        let mut drain = self.machine.handle(Moment::default(), input);
        while let Some(action) = drain.next() {
            match action {
                Action::Transmit(transmit) => self.link.send(self.peer, &transmit).expect("room"),
                Action::Want { octets, .. } => {
                    let octets = octets.min(self.left as usize).min(SLAB_OCTETS);
                    self.left -= octets as u64;
                    answer = Some(Answer::Slab(octets, self.left == 0));
                }
                Action::Store(slab) => {
                    self.stored += slab.len() as u64;
                    answer = Some(Answer::Stored);
                }
                Action::Publish | Action::PublishPartial => answer = Some(Answer::Published),
                Action::Close => self.closed = true,
                Action::Arm(_) | Action::Finished(_) => {}
            }
        }
        answer
    }
}
