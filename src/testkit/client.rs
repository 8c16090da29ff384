//! A client for tests.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::limits;
use crate::testkit::{Kit, KitLink};
use crate::wire::{DecodeError, Options, Packet, decimal};

/// Ports of clients begin here.
pub(super) const FIRST_PORT: u16 = 2000;
/// How long the server has to handle a client's last packet before a test looks at the result.
const SETTLE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(600);
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// A client of a [`Kit`].
#[derive(Debug)]
pub struct KitClient<'k> {
    kit: &'k Kit,
    address: SocketAddr,
    link: Option<KitLink>,
    /// The last datagram to the well-known port.
    asked: Vec<u8>,
    /// The last packet to its transfer.
    sent: Option<Vec<u8>>,
    /// The percentage of packets that are lost, and what decides which.
    loses: Option<(u8, fastrand::Rng)>,
    /// Blocks of each file that it takes or sends at most.
    blocks_max: Option<u32>,
    patience: Duration,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Download {
    /// The file.
    pub octets: Vec<u8>,
    /// What the server granted, in its order and spelling.
    pub options: Vec<(String, String)>,
}

/// Why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// The server sent an ERROR.
    #[error("ERROR {code}: {text}")]
    Refused {
        /// The code of the ERROR.
        code: u16,
        /// The text of the ERROR.
        text: String,
    },
    /// The server sent nothing more.
    #[error("silence")]
    Silence,
    /// The server sent an unexpected packet.
    #[error("an unexpected packet: {0}")]
    Unexpected(String),
    /// The client left, as [planned](KitClient::leaving_after).
    #[error("the client left")]
    Left,
}

impl<'k> KitClient<'k> {
    pub(super) fn new(kit: &'k Kit, address: SocketAddr) -> Self {
        Self {
            kit,
            address,
            link: None,
            asked: Vec::new(),
            sent: None,
            loses: None,
            blocks_max: None,
            patience: PATIENCE,
        }
    }

    /// Of each hundred packets to and from the client's transfers, except requests, `percent` are
    /// lost. The seed decides which.
    ///
    /// # Panics
    /// If `percent` is 100 or more.
    #[must_use]
    pub fn losing(self, percent: u8, seed: u64) -> Self {
        assert!(percent < 100, "{percent} % of the packets are lost: let some arrive");
        Self { loses: Some((percent, fastrand::Rng::with_seed(seed))), ..self }
    }

    /// The client takes, or sends, this many blocks of each file, then falls silent.
    #[must_use]
    pub fn leaving_after(self, blocks: u32) -> Self {
        Self { blocks_max: Some(blocks), ..self }
    }

    /// How long the client waits for each packet of the server, in place of ten minutes, until it
    /// reports [silence](KitError::Silence). It repeats its last packet every second meanwhile.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Its address. The client uses another port for each file.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a datagram to the well-known port. From now on packets are [sent](Self::send) to, and
    /// [received](Self::next) from, the transfer that the datagram begins. Until the client has
    /// answered the server, the same request is a repeat.
    pub fn ask(&mut self, datagram: &[u8]) {
        self.asked = datagram.to_vec();
        if let Some(link) = self.kit.datagram(self.address, datagram) {
            (self.link, self.sent) = (Some(link), None);
        }
    }

    fn ask_anew(&mut self, opcode: u8, name: &str, options: &[(&str, &str)]) {
        assert!(!name.is_empty(), "a name");
        self.address.set_port(self.address.port().checked_add(1).unwrap_or(FIRST_PORT));
        let options = options.iter().flat_map(|(name, value)| [*name, *value]);
        let mut request = vec![0, opcode];
        for text in [name, "octet"].into_iter().chain(options) {
            request.extend_from_slice(text.as_bytes());
            request.push(0);
        }
        self.ask(&request);
    }

    /// Sends a packet to the transfer.
    ///
    /// # Panics
    /// If nothing was [asked](Self::ask) for.
    pub fn send(&mut self, packet: &[u8]) {
        self.sent = Some(packet.to_vec());
        let is_lost = self.is_lost();
        let link = self.link.as_mut().expect("a transfer to send to");
        if !is_lost {
            link.send(packet);
        }
    }

    /// The next packet of the transfer; `None` if the client's [`patience`](Self::patience) ends.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.next_within(self.patience).await
    }

    async fn next_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        loop {
            let link = self.link.as_mut()?;
            // A client does not see that a transfer is over: it waits.
            let arrival = async {
                match link.next().await {
                    Some(packet) => packet,
                    None => pending().await,
                }
            };
            let packet = timeout(time, arrival).await.ok()?;
            if !self.is_lost() {
                return Some(packet.octets);
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.loses.as_mut().is_some_and(|(percent, lots)| lots.u8(..100) < *percent)
    }

    /// The next packet; the client repeats its last one meanwhile.
    async fn reply(&mut self) -> Result<Vec<u8>, KitError> {
        let patience = self.patience;
        let reply = async {
            loop {
                if let Some(packet) = self.next_within(REPEAT_AFTER).await {
                    return packet;
                }
                match self.sent.clone() {
                    Some(last) => self.send(&last),
                    None => self.ask(&self.asked.clone()),
                }
            }
        };
        timeout(patience, reply).await.map_err(|_| KitError::Silence)
    }

    /// Reads a file in blocks of 512 octets.
    ///
    /// # Errors
    /// The server refused, sent an unexpected packet, or fell silent; or the client left.
    ///
    /// # Panics
    /// If `name` is empty: invalid requests are [asked](Self::ask) octet by octet.
    pub async fn get(&mut self, name: &str) -> Result<Vec<u8>, KitError> {
        Ok(self.get_with(name, &[]).await?.octets)
    }

    /// Reads a file, and asks for options. Errors and panics are those of [`get`](Self::get).
    pub async fn get_with(&mut self, name: &str, options: &[(&str, &str)]) -> Result<Download, KitError> {
        self.ask_anew(1, name, options);
        let mut reading = Reading::default();
        loop {
            let datagram = self.reply().await?;
            match Packet::decode(&datagram) {
                Ok(Packet::Oack(granted)) if reading.blocks == 0 => {
                    reading.download.options = pairs(&granted);
                }
                Ok(Packet::Data { block, payload }) if !reading.take(block, payload) => continue,
                Ok(Packet::Data { .. }) => {}
                other => return Err(unexpected(&other)),
            }
            if self.blocks_max.is_some_and(|most| reading.blocks >= most) {
                return Err(KitError::Left);
            }
            let [high, low] = (reading.blocks as u16).to_be_bytes();
            self.send(&[0, 4, high, low]);
            if reading.is_whole {
                self.dally().await;
                return Ok(reading.download);
            }
        }
    }

    /// The last ACK may be lost: then the last block comes again (RFC 1350 §6).
    async fn dally(&mut self) {
        sleep(SETTLE).await;
        while self.loses.is_some()
            && self.next_within(3 * REPEAT_AFTER).await.is_some()
            && let Some(last) = self.sent.clone()
        {
            self.send(&last);
        }
    }

    /// Writes a file in blocks of 512 octets. Errors and panics are those of [`get`](Self::get).
    pub async fn put(&mut self, name: &str, octets: &[u8]) -> Result<(), KitError> {
        self.put_with(name, octets, &[]).await.map(drop)
    }

    /// Writes a file, and asks for options. Returns those that the server granted. The client waits
    /// for an ACK of each block, whatever the window. Errors and panics are those of
    /// [`get`](Self::get).
    pub async fn put_with(
        &mut self,
        name: &str,
        octets: &[u8],
        options: &[(&str, &str)],
    ) -> Result<Vec<(String, String)>, KitError> {
        self.ask_anew(2, name, options);
        let datagram = self.reply().await?;
        let granted = match Packet::decode(&datagram) {
            Ok(Packet::Oack(granted)) => pairs(&granted),
            Ok(Packet::Ack { block: 0 }) => Vec::new(),
            other => return Err(unexpected(&other)),
        };
        let blksize = number(&granted, "blksize", limits::BLKSIZE_DEFAULT.into());
        for index in 0..=octets.len() / blksize {
            if self.blocks_max.is_some_and(|most| index as u64 >= most.into()) {
                return Err(KitError::Left);
            }
            let block = (index as u16).wrapping_add(1);
            let payload = &octets[index * blksize..octets.len().min((index + 1) * blksize)];
            self.send(&[&[0, 3], &block.to_be_bytes()[..], payload].concat());
            self.expect_ack(block).await?;
        }
        sleep(SETTLE).await;
        Ok(granted)
    }

    async fn expect_ack(&mut self, number: u16) -> Result<(), KitError> {
        loop {
            let datagram = self.reply().await?;
            match Packet::decode(&datagram) {
                Ok(Packet::Ack { block }) if block == number => return Ok(()),
                // What was answered before comes again, which means nothing (RFC 1123 §4.2.3.1).
                Ok(Packet::Ack { block }) if block == number.wrapping_sub(1) => {}
                Ok(Packet::Oack(_)) if number == 1 => {}
                other => return Err(unexpected(&other)),
            }
        }
    }
}

/// A file that is being read.
#[derive(Default)]
struct Reading {
    download: Download,
    /// Blocks that arrived.
    blocks: u32,
    /// Blocks that arrived and are not acknowledged.
    in_window: usize,
    /// A block after a gap was answered already.
    is_gap_answered: bool,
    is_whole: bool,
}

impl Reading {
    /// Takes a block. `true` if it is to be answered.
    fn take(&mut self, block: u16, payload: &[u8]) -> bool {
        let last = self.blocks as u16;
        if block != last.wrapping_add(1) {
            // The last block comes again if its ACK was lost, others follow a lost block: one
            // answer for a window is enough.
            self.in_window = 0;
            return block == last || !std::mem::replace(&mut self.is_gap_answered, true);
        }
        self.download.octets.extend_from_slice(payload);
        (self.blocks, self.in_window, self.is_gap_answered) = (self.blocks + 1, self.in_window + 1, false);
        let blksize = number(&self.download.options, "blksize", limits::BLKSIZE_DEFAULT.into());
        self.is_whole = payload.len() < blksize;
        let is_answered = self.is_whole || self.in_window == number(&self.download.options, "windowsize", 1);
        if is_answered {
            self.in_window = 0;
        }
        is_answered
    }
}

impl Download {
    /// The value of an option that was granted.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        value(&self.options, name)
    }
}

fn value<'o>(options: &'o [(String, String)], name: &str) -> Option<&'o str> {
    options.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

fn number(options: &[(String, String)], name: &str, otherwise: usize) -> usize {
    let value = value(options, name).and_then(|value| decimal(value.as_bytes()));
    value.map_or(otherwise, |value| value as usize)
}

fn pairs(options: &Options<'_>) -> Vec<(String, String)> {
    options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn unexpected(packet: &Result<Packet<'_>, DecodeError>) -> KitError {
    match packet {
        Ok(Packet::Error { code, message }) => KitError::Refused { code: code.0, text: message.to_string() },
        other => KitError::Unexpected(format!("{other:?}")),
    }
}
