//! What a session sends, and what leaves together with the packets of others.

use std::io;

use super::driver::Driver;
use crate::limits;
use crate::transfer::Transmit;

/// A packet that is ready, until it leaves together with those of other sessions.
#[derive(Debug)]
pub(in crate::actors) struct Departure {
    packet: [u8; limits::COPIED_OCTETS_MAX],
    /// How many of them; none, if there is no packet.
    octets: usize,
}

impl Departure {
    pub(in crate::actors) fn new() -> Box<Self> {
        Box::new(Self { packet: [0; limits::COPIED_OCTETS_MAX], octets: 0 })
    }

    pub(in crate::actors) fn is_empty(&self) -> bool {
        self.octets == 0
    }

    pub(in crate::actors) fn emptied(mut self: Box<Self>) -> Box<Self> {
        self.octets = 0;
        self
    }

    /// Takes the packet in, if it is one alone that has room. `false` if it has to be sent.
    fn take(&mut self, transmit: &Transmit<'_>) -> bool {
        if !self.is_empty() {
            return false;
        }
        match transmit {
            Transmit::Packet(packet) if packet.len() <= self.packet.len() => {
                self.packet[..packet.len()].copy_from_slice(packet);
                self.octets = packet.len();
            }
            Transmit::Blocks(blocks) if blocks.remaining() == 1 => {
                let mut blocks = *blocks;
                let Some(block) = blocks.next().filter(|block| block.packet_octets() <= self.packet.len())
                else {
                    return false;
                };
                self.octets = block.copy_to(&mut self.packet).len();
            }
            _ => {}
        }
        !self.is_empty()
    }
}

impl Driver {
    /// Has the packet leave that is ready, if one is.
    pub(in crate::actors) fn depart(&mut self) {
        if let Err(error) = self.send_departure() {
            self.lease.hold().summary.detail = Some(error.to_string().into());
        }
    }

    fn send_departure(&mut self) -> io::Result<()> {
        let Some(departure) = self.departure.as_mut().filter(|departure| !departure.is_empty()) else {
            return Ok(());
        };
        // (Whatever becomes of it, it isn't sent twice.)
        let octets = std::mem::take(&mut departure.octets);
        // Others had their turns since it was made ready: one of them may have hung, and the
        // arbiter been given up meanwhile.
        if !self.lease.is_life(self.life) || self.errands.has_panicked() {
            return Ok(());
        }
        self.chaos.seam("link").at("send");
        self.link.send(self.peer, &Transmit::Packet(&departure.packet[..octets]))
    }

    /// Sends to the peer, unless another session has taken this one's place. What can't be sent is like a lost packet: the machine will
    /// repeat it, and give up in time. The operator reads why.
    pub(super) fn send(&mut self, transmit: &Transmit<'_>) -> Result<(), Box<str>> {
        if !self.lease.is_life(self.life) {
            return Ok(());
        }
        self.log_sent(self.peer, transmit);
        self.lease.set_replied();
        self.awaits_answer = true;
        if let Transmit::Blocks(blocks) = transmit {
            self.ack = blocks.ack();
        }
        if self.departure.as_mut().is_some_and(|departure| departure.take(transmit)) {
            return Ok(());
        }
        let before = self.send_departure();
        self.chaos.seam("link").at("send");
        let sent = self.link.send(self.peer, transmit);
        before.and(sent).map_err(|error| error.to_string().into())
    }
}
