//! A client that does as it is told.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::{Held, Kit, SERVER};
use crate::limits;
use crate::net::{Link, MemoryLink};
use crate::transfer::Transmit;
use crate::wire::{Direction, Mode, Options, Packet, Request, Text, decimal};

/// After so long without a packet, there is none.
const QUIET: Duration = Duration::from_secs(600);

/// A client of a [`Kit`].
#[derive(Debug)]
pub struct KitClient<'k> {
    kit: &'k Kit,
    address: SocketAddr,
    line: Option<MemoryLink>,
    held: Vec<Held>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Got {
    /// The file.
    pub octets: Vec<u8>,
    /// What the server granted, in its order and spelling.
    pub options: Vec<(String, String)>,
}

/// Why a transfer did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KitError {
    /// By an ERROR of the server.
    #[error("ERROR {code}: {text}")]
    Refused {
        /// Its code.
        code: u16,
        /// Its text.
        text: String,
    },
    /// The server said nothing more.
    #[error("silence")]
    Silence,
    /// The server said something that has no place there.
    #[error("an unexpected packet: {0}")]
    Unexpected(String),
}

impl<'k> KitClient<'k> {
    pub(super) fn new(kit: &'k Kit, address: SocketAddr) -> Self {
        Self { kit, address, line: None, held: Vec::new() }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a datagram to the well-known port. What is [sent](Self::send) and [received](Self::next) from now on belongs to what comes of it.
    pub fn ask(&mut self, datagram: &[u8]) {
        let (line, held) = self.kit.take(self.address, datagram);
        self.line = Some(line);
        self.held.extend(held);
    }

    /// Sends a packet to the transfer.
    ///
    /// # Panics
    /// If nothing was [asked](Self::ask) for.
    pub fn send(&mut self, packet: &[u8]) {
        let line = self.line.as_mut().expect("somebody to send to");
        // (A transfer that is over hears nothing.)
        let _ = line.send(SERVER, &Transmit::Packet(packet));
    }

    /// The next packet of the transfer; `None` if none comes in ten minutes.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let line = self.line.as_mut()?;
        let mut buffer = vec![0; limits::DATAGRAM_OCTETS_MAX];
        loop {
            if let Ok(arrived) = line.receive(&mut buffer) {
                buffer.truncate(arrived.octets);
                return Some(buffer);
            }
            if timeout(QUIET, poll_fn(|cx| line.poll_event(cx))).await.is_err() {
                return None;
            }
            line.take_error();
        }
    }

    /// Reads a file in blocks of 512 octets.
    ///
    /// # Errors
    /// [`KitError`].
    pub async fn get(&mut self, name: &str) -> Result<Vec<u8>, KitError> {
        Ok(self.get_with(name, &[]).await?.octets)
    }

    /// Reads a file, and asks for options.
    ///
    /// # Errors
    /// [`KitError`].
    pub async fn get_with(&mut self, name: &str, options: &[(&str, &str)]) -> Result<Got, KitError> {
        self.ask(&request(Direction::Read, name, options));
        let (mut got, mut last, mut in_window) = (Got::default(), 0_u16, 0);
        loop {
            let datagram = self.next().await.ok_or(KitError::Silence)?;
            match Packet::decode(&datagram) {
                Ok(Packet::Oack(granted)) if last == 0 => {
                    let pairs = granted.iter().map(|(name, value)| (name.to_string(), value.to_string()));
                    got.options = pairs.collect();
                    self.acknowledge(0);
                }
                Ok(Packet::Data { block, payload }) if block == last.wrapping_add(1) => {
                    got.octets.extend_from_slice(payload);
                    (last, in_window) = (block, in_window + 1);
                    let is_end = payload.len() < got.number("blksize", limits::BLKSIZE_DEFAULT.into());
                    if is_end || in_window == got.number("windowsize", 1) {
                        in_window = 0;
                        self.acknowledge(block);
                    }
                    if is_end {
                        return Ok(got);
                    }
                }
                // Again, for what was lost: nothing is.
                Ok(Packet::Data { .. } | Packet::Oack(_)) => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Writes a file in blocks of 512 octets.
    ///
    /// # Errors
    /// [`KitError`].
    pub async fn put(&mut self, name: &str, octets: &[u8]) -> Result<(), KitError> {
        self.ask(&request(Direction::Write, name, &[]));
        self.expect_ack(0).await?;
        let blksize = usize::from(limits::BLKSIZE_DEFAULT);
        for index in 0..=octets.len() / blksize {
            let block = (index as u16).wrapping_add(1);
            let payload = &octets[index * blksize..octets.len().min((index + 1) * blksize)];
            self.send(&[&[0, 3], &block.to_be_bytes()[..], payload].concat());
            self.expect_ack(block).await?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, block: u16) {
        let [high, low] = block.to_be_bytes();
        self.send(&[0, 4, high, low]);
    }

    async fn expect_ack(&mut self, number: u16) -> Result<(), KitError> {
        let datagram = self.next().await.ok_or(KitError::Silence)?;
        match Packet::decode(&datagram) {
            Ok(Packet::Ack { block }) if block == number => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

impl Got {
    /// The value of an option that was granted.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    fn number(&self, name: &str, otherwise: usize) -> usize {
        self.option(name)
            .and_then(|value| decimal(value.as_bytes()))
            .map_or(otherwise, |value| value as usize)
    }
}

fn request(direction: Direction, name: &str, asked: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| Text::until_nul(text.as_bytes()).into_owned();
    let mut options = Options::new();
    for (name, value) in asked {
        options.push(text(name), text(value));
    }
    let request = Request::new(direction, text(name), Mode::Octet, options).expect("a name");
    Packet::Request(request).to_bytes()
}

fn unexpected(packet: &Result<Packet<'_>, crate::wire::DecodeError>) -> KitError {
    match packet {
        Ok(Packet::Error { code, message }) => KitError::Refused { code: code.0, text: message.to_string() },
        other => KitError::Unexpected(format!("{other:?}")),
    }
}
